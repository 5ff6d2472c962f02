"""Tables of runs that differ in order, seeds and gallery: what stands beside what."""

import re

import pytest

from babelclip.evaluation import SEEN, read_results, summarise_run
from babelclip.report.page import write_page
from babelclip.report.sheets import compare_sheet, methods_sheet, published_sheet, summary_sheet


@pytest.fixture(scope="module")
def results(request):
    return read_results(request.config.rootpath / "bench" / "results" / "demo.json")


@pytest.fixture(scope="module")
def runs(results):
    """Three seeds of ``cll`` and of ``cll+teir``."""
    return [run for run in results.runs if run.method in {"cll", "cll+teir"}]


def backwards(runs):
    """The same figures under the other order of languages."""
    return [run.model_copy(update={"order": run.order[::-1]}) for run in runs]


def aa(runs):
    return sum(run.summary["img_r10"]["AA"] for run in runs) / len(runs)


def of(runs, method):
    return [run for run in runs if run.method == method]


def test_methods_are_compared_within_an_order(runs):
    rows = methods_sheet([*runs, *backwards(runs)], "img_r10").rows
    assert [row[:2] for row in rows] == [
        ("cll+teir, order 1", "cll, order 1"), ("cll+teir, order 2", "cll, order 2")
    ]  # fmt: skip


def test_methods_are_compared_on_the_seeds_that_both_have(runs):
    first = [run for run in runs if run.method == "cll" or run.seed == 0]
    (row,) = methods_sheet(first, "img_r10").rows
    plain, teir = ([run for run in of(runs, method) if run.seed == 0] for method in ("cll", "cll+teir"))
    assert row[3:6] == (f"{aa(teir):.1f}", f"{aa(plain):.1f}", f"{aa(teir) - aa(plain):+.1f}")
    assert aa(plain) != pytest.approx(aa(of(runs, "cll")), abs=0.05), "seed 0 alone differs from the mean"
    assert summary_sheet(first).title.endswith("standard deviation of 1 to 3 seeds")
    assert summary_sheet(runs).title.endswith("standard deviation of 3 seeds")
    other = [run for run in runs if (run.method, run.seed) in {("cll", 0), ("cll+teir", 1)}]
    assert methods_sheet(other, "img_r10").rows == [("cll+teir", "cll", "0", "-", "-", "-", "-")]


def test_two_results_are_compared_order_by_order(runs):
    both = [*runs, *backwards(runs)]
    turned = [*backwards(runs), *runs]
    rows = compare_sheet(both, turned, "img_r10", ("ours", "theirs")).rows
    assert [row[:2] for row in rows] == [
        ("cll, order 1", "cll, order 2"), ("cll+teir, order 1", "cll+teir, order 2"),
        ("cll, order 2", "cll, order 1"), ("cll+teir, order 2", "cll+teir, order 1"),
    ]  # fmt: skip
    assert {row[5] for row in rows} == {"+0.0"}
    (row,) = compare_sheet(of(runs, "cll"), both, "img_r10", ("ours", "theirs")).rows
    assert row[:2] == ("cll", "cll, order 1")
    lonely = compare_sheet(of(runs, "cll"), [run.model_copy(update={"method": "cll+er"}) for run in both], "img_r10",
                           ("ours", "theirs")).rows  # fmt: skip
    assert lonely[0][:2] == ("cll", "cll+er, order 1"), "the only method that there is"
    (nothing,) = compare_sheet([of(runs, "cll")[0].model_copy(update={"method": "cll+er"})], runs, "img_r10",
                               ("ours", "theirs")).rows  # fmt: skip
    assert nothing == ("cll+er", "no such method and order", "0", "-", "-", "-", "-")


def test_two_memories_have_one_published_row_and_the_other_counting_is_said(runs):
    replay = [run.model_copy(update={"method": f"cll+er(memory={size})"}) for run in runs[:1] for size in (50, 500)]
    sheet = published_sheet(replay, ["img_r1"])
    assert [row[:3] for row in sheet.rows if row[0] != "here"] == [
        ("mscoco36", "img_r1", "cll+er"), ("crossmodal3600", "img_r1", "cll+er")
    ]  # fmt: skip
    assert "F and Fen of mscoco36 count English after its own task as 0" in sheet.title


def test_each_gallery_has_its_own_chance_and_says_which_pictures_were_seen(results, runs, tmp_path):
    run = runs[0]
    lower = dict.fromkeys(run.chance, 2.5)
    summary = {
        metric: summarise_run(run.scores[metric], run.before[metric], run.initial[metric]) for metric in run.scores
    }
    other = run.model_copy(update={"gallery": "folder other", "chance": lower, "summary": summary})
    both = results.model_copy(update={"runs": [run, other]})
    write_page(both, tmp_path / "index.html")
    page = " ".join((tmp_path / "index.html").read_text(encoding="utf-8").split())
    assert re.findall(r"chance ([\d.]+) %", page) == [f"{run.chance['img_r10']:.1f}", "2.5"]
    assert "measured again on pictures and texts that were in no training set." in page
    assert "dropped duplicate concepts 244) · seed 0" in page
    data = results.data.model_copy(update={"counts": {f"folder other {SEEN}": 1_234}})
    write_page(both.model_copy(update={"data": data}), tmp_path / "index.html")
    page = " ".join((tmp_path / "index.html").read_text(encoding="utf-8").split())
    assert "far were measured again.</p>" in page
    assert page.count("1,234 of its pictures stand in training texts too") == 1
    assert page.index("folder other") < page.index("1,234 of its pictures")
