"""The command line of benchmark runs, reports and data sets; what a newcomer does."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from babelclip.benchmarks import DATASETS
from babelclip.cli.main import app
from babelclip.data import read_captions, read_image_vectors
from babelclip.errors import BabelclipError, DataError, ModelError, SettingError, UnknownNameError
from babelclip.evaluation import METRICS, read_results
from babelclip.report.aggregate import pairs_by_part, sign_flip_p, sign_test_p
from babelclip.report.sheets import Sheet, addition_sheets

QUICK = ("--set", "vocab_size=400", "--set", "batch_size=8", "--set", "epochs=2", "--set", "learning_rate=1e-3")


def invoke(*arguments, code=0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run(folder, tiny_folder, tmp_path_factory):
    """A finished run of two methods and two seeds, and what was printed."""
    out = tmp_path_factory.mktemp("run")
    printed = invoke(
        "bench", "run", "--out", out, "--base", tiny_folder, "--train", "folder", "--test", "folder:test",
        "--seeds", "0,1",
        "--data-root", folder.parent, "--device", "cpu", *QUICK,
    )  # fmt: skip
    return out, printed


def test_a_run_says_what_it_does(run):
    _, printed = run
    for piece in ("fingerprint", "de: 24 training texts; 24 texts and 24 pictures of folder test",
                  "cll+teir-as-given-seed1", "texts encoded", "Measured on: folder test", "bench report"):  # fmt: skip
        assert piece in printed


def test_a_report_has_all_its_parts_and_they_agree(run, tmp_path):
    out, _ = run
    printed = invoke("bench", "report", out, "--out", tmp_path, "--published", "--compare", out)
    results = read_results(out / "results.json")
    mean = sum(r.summary["img_r1"]["AA"] for r in results.runs if r.method == "cll") / 2
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows[::2]] == list(METRICS)
    cell = next(row["AA"] for row in rows if (row["metric"], row["method"]) == ("img_r1", "cll"))
    assert cell.startswith(f"{mean:.1f} ± ")
    assert cell in printed
    assert cell in (tmp_path / "tables.md").read_text(encoding="utf-8")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for piece in (cell, "<svg", "Median rank", "Cost of one stream", "crossmodal3600", "24.3"):
        assert piece in page
    assert not any(outside in page for outside in ('src="http', 'href="http', "<script", "url(http"))
    for name in ("heatmaps.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "comparison-1.csv").open() as file:
        assert {row["difference"] for row in csv.DictReader(file)} == {"+0.0"}, "a run compared with itself"
    with (tmp_path / "cost.csv").open() as file:
        assert all(float(row["MB of new rows a language"]) > 0 for row in csv.DictReader(file))


def test_the_export_has_the_keys_of_the_field(run, tmp_path):
    out, _ = run
    invoke("bench", "report", out, "--out", tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "clip_benchmark.jsonl").read_text().splitlines()]
    results = read_results(out / "results.json")
    assert len(lines) == 2 * 2 * 2
    assert set(lines[0]) == {"dataset", "model", "pretrained", "task", "language", "metrics"}
    assert lines[1]["language"] == "ru"
    assert lines[1]["metrics"]["image_retrieval_recall@5"] == results.runs[0].scores["img_r5"][-1][1] / 100
    assert lines[1]["metrics"]["text_retrieval_recall@1"] == results.runs[0].scores["txt_r1"][-1][1] / 100


def test_many_languages_and_several_orders_can_be_drawn(run, tmp_path):
    """36 languages in two orders, made of a small run: labels change, nothing is lost."""
    out, _ = run
    results = read_results(out / "results.json")
    tags = [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
    size = len(tags)
    base = results.runs[0]
    wide = {
        "scores": {m: [[float(j)] * (i + 1) for i, j in enumerate(range(size))] for m in base.scores},
        "ranks": {m: [[1.0] * (i + 1) for i in range(size)] for m in base.ranks},
        "before": {m: [1.0] * size for m in METRICS}, "initial": {m: [1.0] * size for m in METRICS},
        "intervals": {m: [(1.0, 2.0)] * size for m in METRICS}, "new_tokens": [5] * size,
    }  # fmt: skip
    from babelclip.evaluation import summarise_run, write_results

    wide["summary"] = {m: summarise_run(wide["scores"][m], [1.0] * size, [1.0] * size) for m in METRICS}
    runs = [base.model_copy(update={**wide, "order": order}) for order in (tags, tags[::-1])]
    write_results(results.model_copy(update={"runs": runs}), tmp_path / "results.json")
    printed = invoke("bench", "report", tmp_path)
    assert "cll, order 2" in printed
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "in 2 orders" in page


def test_mistakes_of_reports_are_named(run, tmp_path):
    out, _ = run
    with pytest.raises(UnknownNameError, match="unknown metric 'img_r2'"):
        invoke("bench", "report", out, "--metric", "img_r2")
    with pytest.raises(BabelclipError, match="there is no such file.* `babelclip bench run`"):
        invoke("bench", "report", tmp_path)
    other = json.loads((out / "results.json").read_text())
    for one in other["runs"]:
        one["gallery"] = "elsewhere"
    (tmp_path / "results.json").write_text(json.dumps(other))
    with pytest.raises(SettingError, match="was measured on elsewhere"):
        invoke("bench", "report", out, "--out", tmp_path / "r", "--compare", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no plan is given .*--config FILE.*, and without one --train and --test is missing"),
        (("--train", "folder"), "without one --test is missing"),
        (("--train", "folder", "--test", "folder", "--folder", "folder=nowhere"), "the data set 'folder' is not there"),
        (("--base", "x", "--train", "fodler", "--test", "folder"), "unknown data set 'fodler'. Did you mean 'folder'"),
        (
            ("--base", "x", "--train", "folder", "--test", "folder", "--folder", "data"),
            "--folder data names no data set",
        ),
        (("--base", "x", "--train", "folder", "--test", "folder", "--seeds", "a"), "seeds.0"),
        (("--base", "x", "--train", "folder", "--test", "folder", "--methods", "tier"), "Did you mean 'teir'"),
        (("--base", "x", "--train", "folder", "--test", "folder", "--set", "epoch=1"), "Did you mean 'epochs'"),
        (("--base", "x", "--train", "folder", "--test", "folder", "--set", "epochs"), "'epochs' is not a setting"),
    ],
)
def test_a_mistake_in_a_run_fails_before_any_work(arguments, message, tmp_path, folder):
    with pytest.raises(BabelclipError, match=message):
        invoke("bench", "run", "--out", tmp_path / "out", "--data-root", folder.parent, *arguments)


def test_data_sets_are_listed_shown_and_checked(folder):
    listed = invoke("data", "list")
    assert all(name in listed for name in DATASETS)
    shown = invoke("data", "show", "crossmodal3600")
    assert "Thapliyal" in shown
    assert "captions.jsonl" in shown
    checked = invoke("data", "check", "folder", folder)
    assert re.search(r"de German\s+train\s+24\s+24", checked)
    (folder / "sw.test.tsv").write_text("image\ten\tsw\nnowhere.png\ta\tb\n")
    try:
        broken = invoke("data", "check", "folder", folder, code=1)
    finally:
        (folder / "sw.test.tsv").unlink()
    assert "there is no picture 'nowhere.png'" in broken
    assert re.search(r"1 of\s+5", broken)
    with pytest.raises(UnknownNameError, match="Did you mean 'pictograms'"):
        invoke("data", "show", "pictogram")


def test_vectors_stand_in_for_pictures_everywhere(tiny, captions, tiny_folder, tmp_path):
    """What was computed from the pictures before gives what the pictures give."""
    names = sorted(file.name for file in captions.glob("[0-9]-[0-9].png"))
    np.save(tmp_path / "v.npy", tiny.encode_images([captions / name for name in names]).numpy())
    (tmp_path / "v.ids.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "de.tsv").write_text((captions / "de.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    common = ("evaluate", "--model", tiny_folder, "--language", "de", "--device", "cpu", "--json")
    pictures = json.loads(invoke(*common, "--data", captions / "de.tsv"))
    given = ("--data", tmp_path / "de.tsv", "--image-vectors", tmp_path / "v.npy")
    assert json.loads(invoke(*common, *given)) == pictures
    printed = invoke("learn", "--base", tiny_folder, "--language", "de", *given, "--out", tmp_path / "learnt",
                     "--test", tmp_path / "de.tsv", "--device", "cpu", *QUICK)  # fmt: skip
    assert f"--image-vectors {tmp_path / 'v.npy'}" in printed
    with pytest.raises(SettingError, match="both given"):
        invoke(*common, *given, "--images", tmp_path)


def test_vectors_that_do_not_fit_are_named(tmp_path, tiny, captions):
    file = tmp_path / "v.npy"
    with pytest.raises(DataError, match="there is no such file"):
        read_image_vectors(file)
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"not a \.npy array"):
        read_image_vectors(file)
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"not a \.npy array"):
        read_image_vectors(file)
    np.save(file, np.zeros(3, dtype=np.float32))
    with pytest.raises(DataError, match=r"the array is \(3,\) float32"):
        read_image_vectors(file)
    vectors = np.ones((3, 7), dtype=np.float16)
    vectors[1, 2] = np.nan
    np.save(file, vectors)
    with pytest.raises(DataError, match="the vector of row 1 is not finite"):
        read_image_vectors(file)
    np.save(file, np.full((3, 7), 1e300))
    with pytest.raises(DataError, match="the vector of row 0 is not finite in float32"):
        read_image_vectors(file)
    for kind in (">f4", np.longdouble, np.int64):
        np.save(file, np.ones((3, 7), dtype=kind))
        with pytest.raises(DataError, match=r"the array is \(3, 7\) .*Expected \(pictures, dim\) of float16, 32 or 64"):
            read_image_vectors(file)
    np.save(file, np.ones((3, 7), dtype=np.float16))
    with pytest.raises(DataError, match=r"no ids.*v\.ids\.txt or image_ids\.txt"):
        read_image_vectors(file)
    ids = tmp_path / "image_ids.txt"
    ids.write_text("a\nb\n")
    with pytest.raises(DataError, match=r"2 ids, but v\.npy has 3 rows"):
        read_image_vectors(file)
    ids.write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"image_ids\.txt:3: the id 'a' stands there twice"):
        read_image_vectors(file)
    ids.write_text("0-0.png\nb\nc\n")
    images = read_image_vectors(file)
    with pytest.raises(DataError, match=r"no picture '0-1\.png' among the 3 ids of .*v\.npy \(23 rows have problems"):
        read_captions(captions / "de.tsv", "de", images=images)
    (tmp_path / "de.tsv").write_text("image\ten\tde\n0-0.png\ta\tb\n0-0.png\tc\td\n")
    from babelclip.data import Teacher

    with pytest.raises(ModelError, match="have 7 dimensions, those of .* 24"):
        Teacher(tiny).prepare(read_captions(tmp_path / "de.tsv", "de", images=images))


def test_a_newcomer_adds_a_data_set_and_two_languages(request, tmp_path, monkeypatch, tiny_folder):
    """The example of docs/benchmark.md, word for word: under 30 lines, two languages that nobody knew before."""
    text = (request.config.rootpath / "docs" / "benchmark.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) < 30
    space = {}
    exec(compile(code, "archive.py", "exec"), space)  # a file of the user's
    monkeypatch.setitem(DATASETS._entries, "archive", space["ARCHIVE"])
    folder = tmp_path / "archive"
    folder.mkdir()
    np.save(folder / "v.npy", torch.randn(2, 24, generator=torch.Generator().manual_seed(0)).numpy())
    (folder / "image_ids.txt").write_text("one.jpg\ntwo.jpg\n")
    (folder / "xh.txt").write_text("one.jpg|inja ebomvu\none.jpg|inja\ntwo.jpg|ikati\n", encoding="utf-8")
    (folder / "zu.txt").write_text("one.jpg|inja\ntwo.jpg|ikati\n", encoding="utf-8")
    given = ("--image-vectors", folder / "v.npy")
    assert "as expected" in invoke("data", "check", "archive", folder, *given)
    (folder / "zu.txt").write_text("one.jpg|inja\ntwo.jpg|\n", encoding="utf-8")
    assert "zu.txt:2: the column 'text' is empty" in invoke("data", "check", "archive", folder, *given, code=1)
    (folder / "zu.txt").write_text("one.jpg|inja\ntwo.jpg|ikati\n", encoding="utf-8")
    vectors = f"archive={folder / 'v.npy'}"
    invoke("bench", "run", "--out", tmp_path / "out", "--base", tiny_folder, "--train", "archive:test", "--test",
           "archive", "--data-root", tmp_path, "--image-vectors", vectors, "--device", "cpu", *QUICK)  # fmt: skip
    assert read_results(tmp_path / "out" / "results.json").runs[0].order == ["xh", "zu"]


def test_the_sign_flip_test():
    assert sign_flip_p([1.0, 1.0, 1.0]) == 2 / 8
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([1.0, -1.0, 0.5, -0.5]) == 1
    assert sign_flip_p([1.0] * 20) < 0.001
    chance = torch.randn(200, 10, generator=torch.Generator().manual_seed(1)).tolist()
    share = sum(sign_flip_p(each) < 0.1 for each in chance) / 200
    assert 0.04 < share < 0.17, "where nothing differs, p below 0.1 happens one time in ten"


def test_the_sign_test_counts_and_leaves_ties_out():
    assert sign_test_p([0.1, 5.0, 2.0]) == 2 / 8
    assert sign_test_p([1.0] * 12 + [-1.0, -9.0, 0.0]) == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    assert sign_test_p([1.0, -1.0]) == sign_test_p([0.0]) == sign_test_p([]) == 1


def test_methods_are_paired_by_the_part_in_which_they_differ():
    names = ["cll", "cll+er(memory=5,weight=1)", "cll+teir", "cll+er(memory=5,weight=1)+teir", "cll+er(memory=6)+teir"]
    assert pairs_by_part(names) == {
        "er(memory=5,weight=1)": [(names[0], names[1]), (names[2], names[3])],
        "teir": [(names[0], names[2]), (names[1], names[3])],
        "er(memory=6)": [(names[2], names[4])],
    }


def test_a_report_says_in_how_many_methods_a_part_helps(run, tmp_path):
    out, _ = run
    results = read_results(out / "results.json")
    assert not addition_sheets(results.runs, "img_r10"), "one pair of methods is no comparison"
    model = next(run for run in results.runs if run.method == "cll")

    def made(method, seed, average):
        scored = model.summary["img_r10"] | {"AA": average, "F": 30 - average}
        update = {"method": method, "seed": seed, "summary": model.summary | {"img_r10": scored}}
        return model.model_copy(update=update)

    gains = {"cll": (2.0, 1.0), "cll+er": (-1.0, 0.5), "cll+lora": (0.5, 0.5), "cll+si": (0.0, 0.0)}
    runs = [made(name, seed, 10 + 3 * seed) for name in gains for seed in (0, 1, 2)]
    runs += [made(f"{name}+teir", 1 - seed, 13 - 3 * seed + gains[name][seed]) for name in gains for seed in (0, 1)]
    (found,) = addition_sheets(runs, "img_r10").items()
    assert found[0] == "with-teir"
    assert found[1].title == (
        "img_r10 without and with teir, percent, 4 methods; AA rises in 2, F falls in 2; "
        "p of the sign test 1.000 and 1.000"
    )
    rows = {row[0]: row[1:] for row in found[1].rows}
    assert rows["cll"] == ("not told", "11.5 ± 2.1", "13.0 ± 2.8", "18.5 ± 2.1", "17.0 ± 2.8", "+1.5 ± 0.7", "2 of 2")
    assert [rows[name][-2:] for name in ("cll+er", "cll+si")] == [("-0.2 ± 1.1", "1 of 2"), ("+0.0 ± 0.0", "0 of 2")]


def test_a_sheet_in_three_forms():
    sheet = Sheet("T", ("a", "b"), [("x, y", "1")])
    assert sheet.markdown() == "**T**\n\n| a | b |\n| --- | --: |\n| x, y | 1 |\n"
    assert sheet.csv() == 'a,b\n"x, y",1\n'
