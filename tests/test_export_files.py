"""Languages as packs, and scores for another benchmark's tables."""

import json
import re
from pathlib import Path

import pytest
import torch

import babelclip
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.errors import FormatError, SettingError, UnknownNameError
from babelclip.evaluation import read_results, write_results
from babelclip.export import export_packs, export_scores
from babelclip.packs import Polyglot, install_pack, load_pack
from babelclip.report.export import clip_benchmark_rows
from exports import QUICK, TEXTS, assert_close, learn_packs, learn_shared
from test_cli import RUNNER, invoke

RECORDED = Path(__file__).parents[1] / "bench" / "results" / "table-packs.json"


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll", "ru": "lora", "uk": "mla"})


@pytest.fixture(scope="module")
def student(tiny, examples):
    return learn_shared(tiny, examples)


def test_installed_packs_come_out_as_they_went_in(polyglot, tiny, tiny_folder, tmp_path):
    for pack in polyglot.packs.values():
        install_pack(tmp_path / "my", pack, tiny)
    printed = invoke("export", "--model", tmp_path / "my", "--to", "pack", "--out", tmp_path / "out")
    for tag in ("de", "ru", "uk"):
        file = tmp_path / "out" / f"{tag}.babelpack"
        assert file.read_bytes() == (tmp_path / "my" / file.name).read_bytes()
        assert f"{tag}: {file}" in printed
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert f"pack install {tmp_path / 'out' / 'de.babelpack'} --into FOLDER" in printed


def test_rows_can_be_stored_smaller_and_scores_then_go(polyglot, tiny, tmp_path):
    found = export_packs(polyglot, tmp_path / "out", languages=["de"], rows="int8")
    pack = load_pack(found["de"], tiny, base_lexicon(tiny))
    assert (pack.card.rows, pack.card.metrics, pack.card.licence) == ("int8", [], "CC0-1.0")
    assert pack.card.note.startswith("made for tests Rows were rounded from float16 to int8; scores")
    small = Polyglot(tiny, base_lexicon(tiny), [pack]).encode_texts(TEXTS, language="de")
    whole = polyglot.encode_texts(TEXTS, language="de")
    assert torch.cosine_similarity(small, whole).min() > 0.99
    assert not torch.equal(small, whole)
    with pytest.raises(SettingError, match="'de' has rows as float16, which lack what float32"):
        export_packs(polyglot, tmp_path / "more", rows="float32")
    same = export_packs(polyglot, tmp_path / "same", languages=["de"], rows="float16")
    assert load_pack(same["de"], tiny, base_lexicon(tiny)).card.metrics


def test_a_shared_lexicon_becomes_packs(student, tiny, tmp_path):
    student.save(tmp_path / "shared")
    printed = invoke("export", "--model", tmp_path / "shared", "--to", "pack", "--rows", "float32",
                     "--out", tmp_path / "out")  # fmt: skip
    assert "de: " in printed
    packs = [load_pack(tmp_path / "out" / f"{tag}.babelpack", tiny, base_lexicon(tiny)) for tag in ("de", "ru")]
    made = Polyglot(tiny, base_lexicon(tiny), packs)
    for tag in ("de", "ru"):
        assert_close(made.encode_texts(TEXTS, language=tag), student.encode_texts(TEXTS, language=tag), 1e-5)


def test_what_is_no_pack_is_refused(polyglot, student, foreign, tiny, examples, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingError, match="'en' is the base model's own, and no pack"):
        export_packs(polyglot, out, languages=["en", "de"])
    with pytest.raises(SettingError, match="no language has been learnt"):
        export_packs(Polyglot(tiny, base_lexicon(tiny)), out)
    with pytest.raises(UnknownNameError, match="installed language 'sw'"):
        export_packs(polyglot, out, languages=["sw"])
    with pytest.raises(UnknownNameError, match="Did you mean 'int8'"):
        export_packs(polyglot, out, rows="int4")
    foreign.learn("de", examples["de"], settings=QUICK)
    with pytest.raises(SettingError, match="multilingual lexicon belong to all languages"):
        export_packs(foreign, out)
    shared = babelclip.Student(tiny)
    shared.learn("de", examples["de"], method="coda", settings=QUICK)
    with pytest.raises(SettingError, match="modules that languages share"):
        export_packs(shared, out)
    assert not out.exists()
    for option, target, right in (("--rows", "onnx", "pack"), ("--precision", "pack", "onnx")):
        with pytest.raises(SettingError, match=f"{option} is for --to {right}, not for {target}"):
            invoke("export", "--to", target, option, "int8", "--out", out)
    with pytest.raises(UnknownNameError, match="Did you mean 'pack'"):
        invoke("export", "--to", "packs", "--out", out)


def test_scores_are_one_file_a_language_and_model(tmp_path):
    results = read_results(RECORDED)
    printed = invoke("export", "--model", RECORDED, "--to", "clip-benchmark", "--languages", "de,zh",
                     "--out", tmp_path / "o")  # fmt: skip
    files = sorted((tmp_path / "o").glob("*.json"))
    assert len(files) == 2 * len(results.runs)
    assert f"{len(files)} files" in printed
    assert "folder-test_babelclip-cll-seed0-8languages_pictoclip_zh_zeroshot_retrieval.json" in printed.splitlines()
    for run in results.runs:
        name = f"babelclip-{run.method}-seed{run.seed}-{len(run.order)}languages"
        read = [json.loads(file.read_text()) for file in files]
        (one,) = [one for one in read if (one["pretrained"], one["language"]) == (name, "zh")]
        assert set(one) == {"dataset", "model", "pretrained", "task", "metrics", "language"}
        assert (one["dataset"], one["model"], one["task"]) == (run.gallery, results.base.name, "zeroshot_retrieval")
        place = run.order.index("zh")
        assert one["metrics"] == {
            f"{theirs}_retrieval_recall@{k}": run.scores[f"{ours}_r{k}"][-1][place] / 100
            for k in (1, 5, 10) for theirs, ours in (("image", "img"), ("text", "txt"))
        }  # fmt: skip
    readme = (tmp_path / "o" / "README.md").read_text()
    assert "`txt_group_r@k` (protocol `group`)" in readme
    assert str(RECORDED.parent) not in readme


def test_means_over_folds_stay_out_and_unknown_languages_are_refused(tmp_path):
    results = read_results(RECORDED)
    folded = [run.model_copy(update={"gallery": "mscoco1k test 5 folds"}) for run in results.runs[:1]]
    write_results(results.model_copy(update={"runs": [*results.runs[:1], *folded]}), tmp_path / "both.json")
    export_scores(tmp_path / "both.json", tmp_path / "both", languages=["de"])
    assert len(list((tmp_path / "both").glob("*.json"))) == 1
    assert "measured in folds: mscoco1k test 5 folds" in (tmp_path / "both" / "README.md").read_text()
    write_results(results.model_copy(update={"runs": folded}), tmp_path / "folded.json")
    with pytest.raises(SettingError, match="means over folds .mscoco1k test 5 folds"):
        export_scores(tmp_path / "folded.json", tmp_path / "out")
    with pytest.raises(UnknownNameError, match="unknown measured language 'sw'.*Known: ar, de, en"):
        export_scores(RECORDED, tmp_path / "out", languages=["de", "sw"])
    assert not (tmp_path / "out").exists()


def test_runs_of_other_orders_and_settings_are_told_apart():
    results = read_results(RECORDED)
    run = results.runs[0]
    other = run.model_copy(update={"settings": run.settings | {"epochs": 77}})
    turned = run.model_copy(update={"order": run.order[::-1]})
    rows = clip_benchmark_rows(results.model_copy(update={"runs": [run, other, turned]}))
    names = {row["pretrained"] for row in rows}
    assert len(names) == 3
    group = run.model_copy(update={"scores": run.scores | {"txt_group_r5": run.scores["img_r1"]}})
    assert clip_benchmark_rows(results.model_copy(update={"runs": [group]})) == clip_benchmark_rows(
        results.model_copy(update={"runs": [run]})
    )
    assert sorted(re.sub(r".*languages", "", name) for name in names) == ["-order1", "-order1-settings2", "-order2"]


def test_what_evaluate_printed_becomes_files(polyglot, tiny, captions, tmp_path):
    for tag in ("de", "ru"):
        install_pack(tmp_path / "my", polyglot.packs[tag], tiny)
    printed = invoke(
        "evaluate", "--model", tmp_path / "my", "--language", "de", "--data", captions / "de.tsv", "--json"
    )
    (tmp_path / "de.json").write_text(printed)
    export_scores(tmp_path / "de.json", tmp_path / "out")
    scores = json.loads(printed)
    assert scores["learnt"] is True
    for pretrained, key in (("babelclip", "scores"), ("babelclip-routed", "routed")):
        one = json.loads((tmp_path / "out" / f"de.tsv_{pretrained}_my_de_zeroshot_retrieval.json").read_text())
        assert one["metrics"]["text_retrieval_recall@5"] == scores[key]["txt_r5"] / 100
        assert (one["dataset"], one["model"], one["language"]) == ("de.tsv", "my", "de")


def test_scores_of_a_language_that_was_not_learnt_are_never_passed_off_as_learnt(polyglot, tiny, captions, tmp_path):
    install_pack(tmp_path / "my", polyglot.packs["de"], tiny)
    ask = ("evaluate", "--model", tmp_path / "my", "--language", "ru", "--data", captions / "ru.tsv")
    said = RUNNER.invoke(app, [*map(str, ask), "--json"])
    note = f"note: {tmp_path / 'my'} has not learnt 'ru'; it knows en, de"
    assert note in said.stderr
    assert note in RUNNER.invoke(app, list(map(str, ask))).stderr
    assert json.loads(said.stdout)["learnt"] is False
    (tmp_path / "ru.json").write_text(said.stdout)
    export_scores(tmp_path / "ru.json", tmp_path / "out")
    assert sorted(file.name.split("_")[1] for file in (tmp_path / "out").glob("*.json")) == [
        "babelclip-routed-unlearnt", "babelclip-unlearnt"
    ]  # fmt: skip


def test_other_files_are_no_scores(tmp_path):
    with pytest.raises(FormatError, match="cannot be read"):
        export_scores(tmp_path / "none.json", tmp_path / "out")
    for content, match in (("{", "not JSON"), ("[]", "neither a results file"), ('{"scores": {}}', "no 'img_r1'")):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(FormatError, match=match):
            export_scores(tmp_path / "bad.json", tmp_path / "out")
