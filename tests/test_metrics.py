"""Both image->text protocols, medians, folds, intervals and transfer, against obvious versions of each."""

import itertools
import json
import math
import statistics

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall

from babelclip.errors import DataError, SettingError, UnknownNameError
from babelclip.evaluation import (
    CUTS,
    METRICS,
    RANKS,
    bootstrap_intervals,
    chance_scores,
    forward_transfer,
    ranks,
    retrieval_scores,
    summarise,
)
from babelclip.evaluation.ranks import Standing, count_standings
from conftest import SHARED

RETRIEVAL = SHARED / "golden" / "retrieval"


def ragged_set(num_images, seed, *, dim=8, noise=1.0, most=4):
    """One to `most` texts an image, in random order."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, most + 1, (num_images,), generator=generator)
    owner = torch.arange(num_images).repeat_interleave(sizes)
    owner = owner[torch.randperm(len(owner), generator=generator)]
    images = torch.randn(num_images, dim, generator=generator)
    return images[owner] + noise * torch.randn(len(owner), dim, generator=generator), images, owner


def tied_set(num_images, seed):
    """Four-dimensional signs: all cosines are multiples of 1/2 and exact, so many of them are equal."""
    texts, images, owner = ragged_set(num_images, seed, dim=4, noise=0.5)
    return texts.sign(), images.sign(), owner


def cosines(texts, images):
    return normalize(texts, dim=-1) @ normalize(images, dim=-1).T


def group_cosines(texts, images, owner):
    """(N, N) image by group."""
    scores = cosines(texts, images).T.tolist()
    own = owner.tolist()
    return torch.tensor(
        [[max(row[t] for t in range(len(own)) if own[t] == group) for group in range(len(images))] for row in scores]
    )


def positions(scores, right):
    """Place of the first right candidate, from 0, in every order of the equal ones. Loops over all of them."""
    best = max(scores[c] for c in right)
    above = sum(score > best for score in scores)
    among = sum(scores[c] == best for c in right)
    level = sum(score == best for score in scores)
    return [above + min(places) for places in itertools.combinations(range(level), among)]


def by_loops(scores, right_of):
    """R@k in percent for all cuts, then the median of the expected ranks."""
    found = [positions(row, right) for row, right in zip(scores.tolist(), right_of, strict=True)]
    recalls = [100 * statistics.mean(statistics.mean(p < k for p in places) for places in found) for k in CUTS]
    return [*recalls, statistics.median(1 + statistics.mean(places) for places in found)]


@pytest.mark.parametrize("make", [ragged_set, tied_set])
@pytest.mark.parametrize("num_images", [1, 7, 14, 25])
def test_counting_equals_loops_over_all_orders(make, num_images):
    texts, images, owner = make(num_images, seed=num_images)
    scores = retrieval_scores(texts, images, owner)
    assert tuple(scores) == (*METRICS, *RANKS)
    own_texts = [(owner == image).nonzero()[:, 0].tolist() for image in range(num_images)]
    expected = {
        "img": by_loops(cosines(texts, images), [[image] for image in owner.tolist()]),
        "txt": by_loops(cosines(texts, images).T, own_texts),
        "txt_group": by_loops(group_cosines(texts, images, owner), [[image] for image in range(num_images)]),
    }
    for direction, (r1, r5, r10, median) in expected.items():
        found = [scores[f"{direction}_{name}"] for name in ("r1", "r5", "r10", "medr")]
        assert found == pytest.approx([r1, r5, r10, median], abs=1e-9), direction
    means = {direction: statistics.mean(values[:3]) for direction, values in expected.items()}
    assert scores["r_mean"] == pytest.approx((means["img"] + means["txt"]) / 2)
    assert scores["ar"] == pytest.approx((means["img"] + means["txt_group"]) / 2)


def test_the_tied_sets_have_ties_in_all_three_rankings():
    to_image, to_text = count_standings(*tied_set(25, seed=25))
    assert all((standing.level > 0).float().mean() > 0.5 for standing in (to_image, to_text, to_text.groups))


def test_groups_are_counted_once_and_texts_each():
    """Both texts of image 1 beat the only text of image 0: rank 3 among the texts, 2 among the groups."""
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    _, to_text = count_standings(texts, images, torch.tensor([0, 1, 1]))
    assert to_text.ranks()[0] == 3
    assert to_text.groups.ranks()[0] == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_recalls_equal_those_of_an_independent_library(seed):
    texts, images, owner = ragged_set(40, seed)
    relevant = owner[:, None] == torch.arange(40)
    rankings = {
        "img": (cosines(texts, images), relevant, (RetrievalHitRate, RetrievalRecall)),
        "txt": (cosines(texts, images).T, relevant.T, (RetrievalHitRate,)),
        "txt_group": (group_cosines(texts, images, owner), torch.eye(40).bool(), (RetrievalHitRate, RetrievalRecall)),
    }
    scores = retrieval_scores(texts, images, owner)
    for direction, (preds, target, kinds) in rankings.items():
        queries = torch.arange(len(preds))[:, None].expand_as(preds)
        for k, kind in itertools.product(CUTS, kinds):
            expected = 100 * float(kind(top_k=k)(preds.flatten(), target.flatten(), queries.flatten()))
            assert scores[f"{direction}_r{k}"] == pytest.approx(expected, abs=1e-4), (direction, k, kind)


@pytest.mark.skipif(not RETRIEVAL.is_dir(), reason=f"recorded reference runs are not at {RETRIEVAL}")
@pytest.mark.parametrize("name", ["equal2", "ragged", "five_nfold"])
def test_group_scores_medians_and_folds_equal_the_recorded_ones(name):
    """Recorded from the authors' code: `mla` ranks groups, `clfm_nfold` averages five folds."""
    arrays, recorded = np.load(RETRIEVAL / f"{name}.npz"), json.loads((RETRIEVAL / f"{name}.json").read_text())
    owner = torch.arange(len(arrays["image"])).repeat_interleave(torch.from_numpy(arrays["captions_per_image"]))
    texts, images = torch.from_numpy(arrays["text"]), torch.from_numpy(arrays["image"])
    scores, mla = retrieval_scores(texts, images, owner), recorded["mla"]
    for direction, found in (("img", mla["T2V"]), ("txt_group", mla["V2T"])):
        assert [scores[f"{direction}_r{k}"] for k in CUTS] == pytest.approx([found[f"R{k}"] for k in CUTS], abs=1e-4)
        assert scores[f"{direction}_medr"] == found["MedianR"]
    assert scores["ar"] == pytest.approx(mla["AR"], abs=1e-4)
    if "clfm_nfold" in recorded:
        folded = retrieval_scores(texts, images, owner, folds=5)
        compared = {key.removeprefix("5fold_"): value for key, value in recorded["clfm_nfold"].items()}
        for metric in METRICS[:7]:
            assert folded[metric] == pytest.approx(compared[metric], abs=0.06), metric


@pytest.mark.parametrize("block", [1, 3, 64, 300])
def test_results_do_not_depend_on_the_block_and_no_block_is_larger(block, monkeypatch):
    vectors = tied_set(60, seed=4)
    expected, expected_interval = retrieval_scores(*vectors), bootstrap_intervals(*vectors, repeats=200)["txt_group_r5"]
    sizes, form = {}, ranks._Laid.scores

    def watched(self, block, tile):
        scores = form(self, block, tile)
        sizes[block, tile] = scores.shape
        return scores

    monkeypatch.setattr(ranks, "BLOCK", block)
    monkeypatch.setattr(ranks._Laid, "scores", watched)
    assert retrieval_scores(*vectors) == expected
    assert all(rows * columns <= block for rows, columns in sizes.values())
    assert sum(rows * columns for rows, columns in sizes.values()) == len(vectors[0]) * len(vectors[1])
    assert bootstrap_intervals(*vectors, repeats=200)["txt_group_r5"] == pytest.approx(expected_interval, abs=5)


@pytest.mark.parametrize("block", [400, ranks.BLOCK])
def test_one_picture_may_have_very_many_texts(block, monkeypatch):
    """Its texts lie in tiles of their own, and nothing is laid out larger because of them."""
    chance = torch.Generator().manual_seed(3)
    owner = torch.cat([torch.arange(50), torch.full((700,), 20), torch.full((90,), 3)])
    owner = owner[torch.randperm(len(owner), generator=chance)]
    texts, images = torch.randn(len(owner), 5, generator=chance), torch.randn(50, 5, generator=chance)
    texts += images[owner]  # so that few of the other texts of a picture beat the right one
    own = [(owner == image).nonzero()[:, 0].tolist() for image in range(50)]
    expected = {
        "txt": by_loops(cosines(texts, images).T, own),
        "txt_group": by_loops(group_cosines(texts, images, owner), [[image] for image in range(50)]),
        "img": by_loops(cosines(texts, images), [[image] for image in owner.tolist()]),
    }
    laid, out = [], ranks._Laid.out
    monkeypatch.setattr(ranks, "BLOCK", block)
    monkeypatch.setattr(ranks._Laid, "out", lambda *vectors: laid.append(out(*vectors)) or laid[-1])
    scores = retrieval_scores(texts, images, owner)
    for direction, values in expected.items():
        found = [scores[f"{direction}_{name}"] for name in ("r1", "r5", "r10", "medr")]
        assert found == pytest.approx(values, abs=1e-9), direction
    assert laid[0].texts.shape[0] * laid[0].texts.shape[1] <= 2 * len(owner) + block


@pytest.mark.parametrize("block", [2_000, ranks.BLOCK])
def test_equal_vectors_tie_wherever_they_stand(block, monkeypatch):
    """Scores of long vectors are not exact, but those of equal vectors are equal, in whatever block they are formed."""
    monkeypatch.setattr(ranks, "BLOCK", block)
    chance = torch.Generator().manual_seed(0)
    kinds = torch.randn(12, 333, generator=chance)
    kind_of_image, owner = torch.arange(12).repeat(50), torch.arange(600).repeat_interleave(2)
    texts = kinds[kind_of_image[owner]] + torch.randn(12, 333, generator=chance)[kind_of_image[owner]]
    order = torch.randperm(len(owner), generator=chance)
    to_image, to_text = count_standings(texts[order], kinds[kind_of_image], owner[order])
    assert to_image.level.tolist() == [49] * 1200
    assert to_text.level.tolist() == [98] * 600
    assert to_text.right.tolist() == [2] * 600
    assert to_text.groups.level.tolist() == [49] * 600


def test_expected_ranks_and_their_median():
    standing = Standing(torch.tensor([0, 2, 0, 7]), torch.tensor([0, 0, 3, 4]), torch.tensor([1, 2, 2, 1]))
    assert standing.ranks().tolist() == [1, 3, 2, 10]
    assert standing.median_rank() == 2.5
    assert Standing(torch.tensor([6, 0, 3]), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])).median_rank() == 4


def test_a_picture_without_a_text_and_a_text_without_a_picture_are_errors():
    vectors = torch.randn(4, 3)
    with pytest.raises(DataError, match="1 of 4 pictures have no text"):
        retrieval_scores(vectors, vectors, torch.tensor([0, 1, 3, 3]))
    for call in (retrieval_scores, bootstrap_intervals):
        with pytest.raises(DataError, match="1 of 4 texts belong to none of the 4 pictures"):
            call(vectors, vectors, torch.tensor([0, 1, 2, 4]))
    with pytest.raises(DataError, match="Number the pictures from 0 to 2"):
        chance_scores(torch.tensor([0, 1, 2, -1]), 3)


def test_folds_are_the_mean_of_folds_made_by_hand():
    texts, images, owner = ragged_set(60, seed=5)
    parts = []
    for start in range(0, 60, 12):
        mine = [t for t in range(len(owner)) if start <= owner[t] < start + 12]
        parts.append((texts[mine], images[start : start + 12], owner[mine] - start))
    by_hand = [retrieval_scores(*part) for part in parts]
    scores = retrieval_scores(texts, images, owner, folds=5)
    assert scores == pytest.approx({key: statistics.mean(part[key] for part in by_hand) for key in (*METRICS, *RANKS)})
    assert scores["img_r1"] > retrieval_scores(texts, images, owner)["img_r1"]
    chance = [chance_scores(part[2], 12) for part in parts]
    expected = {key: statistics.mean(part[key] for part in chance) for key in METRICS}
    assert chance_scores(owner, 60, folds=5) == pytest.approx(expected)
    assert retrieval_scores(texts, images, owner, folds=1) == retrieval_scores(texts, images, owner)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (7, r"20 pictures cannot be cut into folds=7 equal parts. Choose folds=5, or leave out 6 pictures, so that 14"),
        (30, r"20 pictures cannot be cut into folds=30 equal parts. Choose folds=20\.$"),
        (0, "folds is 0. It must be at least 1"),
    ],
)
def test_folds_that_do_not_fit_are_an_error(folds, message):
    texts, images, owner = ragged_set(20, seed=6)
    for call in (retrieval_scores, bootstrap_intervals):
        with pytest.raises(SettingError, match=message):
            call(texts, images, owner, folds=folds)
    with pytest.raises(SettingError, match=message):
        chance_scores(owner, 20, folds=folds)


def test_chance_covers_all_metrics_and_equals_the_mean_over_random_vectors():
    sizes = torch.tensor([1, 1, 1, 2, 2, 3, 5, 9, 1, 1, 1, 6])
    owner = torch.arange(12).repeat_interleave(sizes)
    chance = chance_scores(owner, 12)
    assert tuple(chance) == METRICS
    assert [chance[f"txt_group_r{k}"] for k in CUTS] == pytest.approx([100 * k / 12 for k in CUTS])
    generator = torch.Generator().manual_seed(0)
    drawn = [
        retrieval_scores(
            torch.randn(33, 24, generator=generator), torch.randn(12, 24, generator=generator), owner
        )
        for _ in range(500)
    ]  # fmt: skip
    for metric in METRICS:
        assert chance[metric] == pytest.approx(statistics.mean(scores[metric] for scores in drawn), abs=2), metric


def test_intervals_are_repeatable_and_hold_the_score():
    vectors = ragged_set(80, seed=7)
    scores, intervals = retrieval_scores(*vectors), bootstrap_intervals(*vectors)
    assert tuple(intervals) == METRICS
    assert bootstrap_intervals(*vectors) == intervals
    assert bootstrap_intervals(*vectors, seed=1) != intervals
    for metric, (low, high) in intervals.items():
        assert 0 <= low < scores[metric] < high <= 100, metric
    wide, narrow = (bootstrap_intervals(*vectors, level=level)["r_mean"] for level in (0.99, 0.5))
    assert wide[0] < intervals["r_mean"][0] < narrow[0] < narrow[1] < intervals["r_mean"][1] < wide[1]


def test_a_perfect_model_has_no_interval_whatever_is_drawn():
    """Drawn hits are divided by the drawn texts, of which each image has another number."""
    texts, images, owner = ragged_set(60, seed=10, dim=32, noise=0)
    assert set(bootstrap_intervals(texts, images, owner).values()) == {(100.0, 100.0)}


def test_intervals_average_folds():
    vectors = ragged_set(80, seed=8, noise=2)
    scores, intervals = retrieval_scores(*vectors, folds=4), bootstrap_intervals(*vectors, folds=4)
    for metric, (low, high) in intervals.items():
        assert low < scores[metric] < high, metric
        assert (low + high) / 2 == pytest.approx(scores[metric], abs=1.5), metric


def width(interval):
    return interval[1] - interval[0]


@pytest.mark.parametrize("copies", [1, 5])
def test_the_width_is_that_of_a_binomial_share_and_copies_of_texts_do_not_narrow_it(copies):
    """Five equal texts an image are no more evidence than one."""
    widths = []
    for num_images in (200, 800):
        generator = torch.Generator().manual_seed(num_images)
        images = torch.randn(num_images, 16, generator=generator)
        texts = images + 1.2 * torch.randn(num_images, 16, generator=generator)
        vectors = texts.repeat(copies, 1), images, torch.arange(num_images).repeat(copies)
        scores = retrieval_scores(*vectors)
        intervals = bootstrap_intervals(*vectors, repeats=4000)
        for metric in ("img_r1", "img_r5", "txt_group_r1", "txt_group_r5"):
            share = scores[metric] / 100
            error = 100 * math.sqrt(share * (1 - share) / num_images)
            assert 0.1 < share < 0.9
            assert width(intervals[metric]) == pytest.approx(2 * 1.96 * error, rel=0.08), metric
        widths.append(width(intervals["img_r1"]))
    assert widths[1] < 0.7 * widths[0]


@pytest.mark.parametrize(
    ("setting", "message"), [({"repeats": 0}, "repeats is 0"), ({"level": 1.0}, "level is 1.0"), ({"level": 0}, "0.95")]
)
def test_settings_of_intervals_that_cannot_work_are_errors(setting, message):
    with pytest.raises(SettingError, match=message):
        bootstrap_intervals(*ragged_set(5, seed=9), **setting)


TABLE = [[50.0], [45.0, 60.0], [30.0, 66.0, 70.0]]


def test_transfer_metrics_of_a_table_with_and_without_the_missing_english_entry():
    assert summarise(TABLE) == pytest.approx({
        "AA": (30 + 66 + 70) / 3, "F": ((50 - 30) + (60 - 66)) / 2, "Fen": 50 - 30, "own": (50 + 60 + 70) / 3,
        "BWT": ((30 - 50) + (66 - 60)) / 2,
    })  # fmt: skip
    expected = summarise(TABLE) | {"F": ((45 - 30) + (60 - 66)) / 2, "Fen": 45 - 30}
    assert summarise(TABLE, variant="published-coco") == pytest.approx(expected)
    assert TABLE[0] == [50.0]


def test_backward_transfer_starts_at_the_own_score_and_forgetting_at_the_best():
    summary = summarise([[50.0], [58.0, 60.0], [55.0, 61.0, 70.0]])
    assert summary["BWT"] == pytest.approx(((55 - 50) + (61 - 60)) / 2)
    assert summary["F"] == pytest.approx(((58 - 55) + (60 - 61)) / 2)


def test_the_published_hole_after_two_tasks_is_the_negative_score():
    """F_2 = Fen_2 = -50.8 in the published tables."""
    summary = summarise([[55.0], [50.8, 40.0]], variant="published-coco")
    assert (summary["F"], summary["Fen"]) == pytest.approx((-50.8, -50.8))


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"unknown variant 'published'.*Known: paper, published-coco"):
        summarise(TABLE, variant="published")


def test_forward_transfer_starts_at_the_second_language():
    assert forward_transfer([99, 12, 7], [1, 10, 9]) == pytest.approx(((12 - 10) + (7 - 9)) / 2)
    assert forward_transfer([99, 12, 9], [1, 10, 3]) == pytest.approx((2 + 6) / 2)
    assert forward_transfer([40], [30]) == 0
    assert forward_transfer([], []) == 0
    with pytest.raises(SettingError, match="before has 3 scores and initial has 2"):
        forward_transfer([1, 2, 3], [1, 2])


@pytest.mark.parametrize("variant", ["paper", "published-coco"])
def test_nothing_is_transferred_after_one_task(variant):
    assert summarise([[40.0]], variant) == {"AA": 40, "F": 0, "Fen": 0, "own": 40, "BWT": 0}
