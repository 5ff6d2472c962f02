"""Losses against slow, obvious versions."""

import math

import pytest
import torch

from babelclip.objectives import contrastive, distillation, sigmoid


def obvious_contrastive(texts, images, image_ids, temperature):
    """Row by row in Python, float64."""

    def direction(queries, keys):
        total = 0.0
        for b, query in enumerate(queries):
            scores = [float(query @ key / (query.norm() * key.norm())) / temperature for key in keys]
            log_sum = math.log(sum(math.exp(score) for score in scores))
            positives = [j for j in range(len(keys)) if image_ids[j] == image_ids[b]]
            total -= sum(scores[j] - log_sum for j in positives) / len(positives)
        return total / len(queries)

    return (direction(texts, images) + direction(images, texts)) / 2


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [0, 0, 1, 2, 2], [7, 7, 7, 7, 7]])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrastive_equals_the_obvious_version(ids, temperature):
    generator = torch.Generator().manual_seed(0)
    texts, images = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    for i, image_id in enumerate(ids):
        images[i] = images[ids.index(image_id)]
    found = contrastive(texts, images, torch.tensor(ids), temperature)
    assert float(found) == pytest.approx(obvious_contrastive(texts, images, ids, temperature), abs=1e-12)


def test_with_different_images_it_is_the_ordinary_cross_entropy():
    texts, images = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    scores = torch.nn.functional.cosine_similarity(texts[:, None], images[None], dim=-1) / 0.1
    target = torch.arange(4)
    expected = (torch.nn.functional.cross_entropy(scores, target) +
                torch.nn.functional.cross_entropy(scores.T, target)) / 2  # fmt: skip
    torch.testing.assert_close(contrastive(texts, images, torch.arange(4), 0.1), expected)


def test_two_captions_of_one_image_have_the_analytic_loss():
    texts, images = torch.ones(2, 4), torch.ones(2, 4)
    assert float(contrastive(texts, images, torch.tensor([3, 3]), 0.07)) == pytest.approx(math.log(2))


def test_distillation_is_the_mean_over_all_entries_without_normalising():
    assert float(distillation(torch.full((3, 4), 2.0), torch.zeros(3, 4))) == 4.0


def obvious_sigmoid(texts, images, image_ids, scale, bias):
    """Pair by pair in Python, float64."""
    total = 0.0
    for i, text in enumerate(texts):
        for j, image in enumerate(images):
            logit = scale * float(text @ image / (text.norm() * image.norm())) + bias
            probability = 1 / (1 + math.exp(-logit))
            total -= math.log(probability if image_ids[i] == image_ids[j] else 1 - probability)
    return total / len(texts)


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [0, 0, 1, 2, 2], [7, 7, 7, 7, 7]])
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (1.0, 0.5)])
def test_sigmoid_equals_the_obvious_version(ids, scale, bias):
    texts, images = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sigmoid(texts, images, torch.tensor(ids), scale, bias)
    assert float(found) == pytest.approx(obvious_sigmoid(texts, images, ids, scale, bias), abs=1e-11)
