import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.retrieval import RetrievalHitRate

from babelclip.errors import FormatError, ModelError
from babelclip.evaluation import (
    METRICS,
    RANKS,
    Base,
    Cost,
    Data,
    Results,
    Run,
    chance_scores,
    read_results,
)
from conftest import SHARED

from babelclip.evaluation import retrieval_scores, summarise, write_results  # isort: skip
from babelclip.evaluation import ranks
from babelclip.evaluation.ranks import count_standings

RETRIEVAL = SHARED / "golden" / "retrieval"


def random_set(num_images, texts_per_image, seed, *, levels=None):
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(num_images).repeat_interleave(texts_per_image)
    texts = torch.randn(len(owner), 6, generator=generator)
    images = torch.randn(num_images, 6, generator=generator)
    if levels:
        texts, images = (texts * levels).round() / levels, (images * levels).round() / levels
    return texts + 0.5 * images[owner], images, owner


def brute_force(texts, images, owner, k):
    """Sort everything, in both directions."""
    scores = torch.nn.functional.normalize(texts, dim=-1) @ torch.nn.functional.normalize(images, dim=-1).T
    to_image = (scores.argsort(1, descending=True)[:, :k] == owner[:, None]).any(1)
    to_text = (owner[scores.T.argsort(1, descending=True)[:, :k]] == torch.arange(len(images))[:, None]).any(1)
    return float(100 * to_image.double().mean()), float(100 * to_text.double().mean())


@pytest.mark.parametrize("block", [3, 2048])
@pytest.mark.parametrize(("num_images", "texts_per_image"), [(40, 1), (30, 5), (1, 1), (7, 2)])
def test_counting_equals_sorting(num_images, texts_per_image, block, monkeypatch):
    monkeypatch.setattr(ranks, "BLOCK", block)
    texts, images, owner = random_set(num_images, texts_per_image, seed=num_images)
    scores = retrieval_scores(texts, images, owner)
    for k in (1, 5, 10):
        to_image, to_text = brute_force(texts, images, owner, k)
        assert scores[f"img_r{k}"] == pytest.approx(to_image, abs=1e-9)
        assert scores[f"txt_r{k}"] == pytest.approx(to_text, abs=1e-9)
    assert scores["r_mean"] == pytest.approx(sum(scores[m] for m in METRICS[:6]) / 6)


def test_counting_equals_an_independent_library():
    texts, images, owner = random_set(50, 2, seed=3)
    cosine = torch.nn.functional.normalize(texts, dim=-1) @ torch.nn.functional.normalize(images, dim=-1).T
    relevant = owner[:, None] == torch.arange(50)
    scores = retrieval_scores(texts, images, owner)
    for k in (1, 5, 10):
        for name, preds, target in (("img", cosine, relevant), ("txt", cosine.T, relevant.T)):
            queries = torch.arange(len(preds))[:, None].expand_as(preds)
            expected = RetrievalHitRate(top_k=k)(preds.flatten(), target.flatten(), queries.flatten())
            assert scores[f"{name}_r{k}"] == pytest.approx(100 * float(expected), abs=1e-4)


def test_vectors_that_are_not_finite_are_an_error_and_not_a_perfect_score():
    texts, images = torch.randn(4, 3), torch.randn(4, 3)
    texts[2, 1] = torch.nan
    with pytest.raises(ModelError, match="1 of 4 text vectors are not finite"):
        retrieval_scores(texts, images, torch.arange(4))
    with pytest.raises(ModelError, match="4 of 4 picture vectors are not finite"):
        retrieval_scores(images, images / 0, torch.arange(4))


def test_a_collapsed_model_scores_chance_and_never_more():
    owner = torch.arange(40).repeat_interleave(torch.tensor([1, 2, 3, 4] * 10))
    texts, images = torch.ones(len(owner), 4), torch.ones(40, 4)
    scores = retrieval_scores(texts, images, owner)
    assert {metric: scores[metric] for metric in METRICS} == pytest.approx(chance_scores(owner, 40))


@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_ties_give_the_mean_over_all_orders(num_images, texts_per_image, seed):
    """Expected recall under random order of equal scores, against many random orders."""
    texts, images, owner = random_set(num_images, texts_per_image, seed, levels=1)
    # Four times 1 or -1: the length is 2 and every score exact, so that rounding breaks no tie.
    texts, images = (torch.where(vectors[:, :4] < 0, -1.0, 1.0) for vectors in (texts, images))
    _, to_text = count_standings(texts, images, owner)
    scores = (torch.nn.functional.normalize(texts, dim=-1) @ torch.nn.functional.normalize(images, dim=-1).T).T
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(num_images)
    for _ in range(400):
        order = torch.randperm(len(owner), generator=generator)
        best = order[scores[:, order].argsort(dim=1, descending=True, stable=True)[:, :1]]
        hits += (owner[best] == torch.arange(num_images)[:, None]).any(1)
    assert to_text.recall(1) == pytest.approx(float(100 * (hits / 400).mean()), abs=9)


@pytest.mark.skipif(not RETRIEVAL.is_dir(), reason=f"recorded reference runs are not at {RETRIEVAL}")
@pytest.mark.parametrize("name", ["equal2", "ragged"])
def test_scores_equal_the_recorded_ones(name):
    arrays = np.load(RETRIEVAL / f"{name}.npz")
    recorded = json.loads((RETRIEVAL / f"{name}.json").read_text())["clfm"]
    per_image = torch.from_numpy(arrays[next(key for key in arrays if "per_image" in key)]).long()
    texts, images = torch.from_numpy(arrays["text"]), torch.from_numpy(arrays["image"])
    scores = retrieval_scores(texts, images, torch.arange(len(images)).repeat_interleave(per_image))
    compared = [metric for metric in METRICS if metric in recorded]
    assert len(compared) >= 6
    for metric in compared:
        assert scores[metric] == pytest.approx(
            recorded[metric], abs=0.06 if recorded[metric] == round(recorded[metric], 1) else 1e-4
        )


def test_transfer_metrics_on_a_hand_made_table():
    a = [[50.0], [45.0, 60.0], [30.0, 62.0, 70.0]]
    found = summarise(a)
    assert found["AA"] == pytest.approx((30 + 62 + 70) / 3)
    assert found["F"] == pytest.approx(((50 - 30) + (60 - 62)) / 2)
    assert found["Fen"] == 20
    assert found["own"] == 60
    assert summarise([[40.0]]) == {"AA": 40, "F": 0, "Fen": 0, "own": 40, "BWT": 0}


def test_chance_is_exact():
    chance = chance_scores(torch.tensor([0, 0, 1, 2]), 3)
    assert chance["img_r1"] == pytest.approx(100 / 3)
    assert chance["txt_r1"] == pytest.approx(100 * (2 / 4 + 1 / 4 + 1 / 4) / 3)
    assert chance["img_r10"] == chance["txt_r10"] == 100


def make_results(**changes) -> Results:
    scores = {metric: [[50.0], [40.0, 60.0]] for metric in METRICS}
    run = {
        "method": "cll", "seed": 0, "order": ["en", "de"], "gallery": "test", "needs_language": False,
        "settings": {"seed": 0}, "scores": scores, "ranks": {rank: [[2.0], [3.0, 4.0]] for rank in RANKS},
        "before": {key: [10.0, 11.0] for key in METRICS}, "initial": {key: [10.0, 9.0] for key in METRICS},
        "intervals": {key: [(39.0, 41.0), (59.0, 61.0)] for key in METRICS}, "chance": dict.fromkeys(METRICS, 1.0),
        "summary": {metric: summarise(scores[metric]) | {"FWT": 2.0} for metric in METRICS},
        "new_tokens": [5, 6], "bytes_per_token": 4,
        "cost": Cost(train_s=1, eval_s=1, peak_mb=1, texts_per_s=1, scored_texts=9, encoded_texts=7),
    } | changes  # fmt: skip
    digest = "0" * 64
    return Results(version="0", code=digest, base=Base(name="b", fingerprint=digest),
                   data=Data(name="d", fingerprint=digest, counts={}), runs=[Run(**run)])  # fmt: skip


def test_results_come_back_and_equal_results_are_equal_bytes(tmp_path):
    results = make_results()
    write_results(results, tmp_path / "a.json")
    write_results(results, tmp_path / "b.json")
    assert read_results(tmp_path / "a.json") == results
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": ["en", "de", "fr"]}, "expected 1 to 3"),
        ({"summary": {m: {"AA": 1, "F": 1, "Fen": 1, "own": 1} for m in METRICS}}, "but the scores give"),
        ({"initial": {key: [10.0, 10.0] for key in METRICS}}, "'FWT'.* is 2.0, but the scores give 1.0"),
        ({"before": {key: [10.0] for key in METRICS}}, "has 1 entries, expected 2"),
        ({"new_tokens": [5]}, "new_tokens has 1 entries"),
        ({"ranks": {rank: [[2.0], [3.0, 0.5]] for rank in RANKS}}, "greater than or equal to 1"),
        ({"chance": {"img_r1": 1.0}}, "chance has the metrics"),
        ({"scores": {m: [[50.0], [40.0, 160.0]] for m in METRICS}}, "less than or equal to 100"),
    ],
)
def test_results_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_results(**change)


def test_a_damaged_results_file_is_named(tmp_path):
    file = tmp_path / "results.json"
    with pytest.raises(FormatError, match="there is no such file"):
        read_results(file)
    write_results(make_results(), file)
    text = file.read_text()
    file.write_text(text.replace('"version"', '"versoin"'))
    with pytest.raises(FormatError, match=r"results\.json: not a results file: version: Field required"):
        read_results(file)
    file.write_text(text.replace('"format": 2', '"format": 1'))
    with pytest.raises(FormatError, match="results format 1, this babelclip reads 2"):
        read_results(file)
    file.write_text(text[:100])
    with pytest.raises(FormatError, match=r"results\.json: not JSON"):
        read_results(file)
    doubled = json.loads(text)
    doubled["runs"] *= 2
    file.write_text(json.dumps(doubled))
    with pytest.raises(FormatError, match="two runs of method 'cll' with seed 0"):
        read_results(file)
