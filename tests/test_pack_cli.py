"""Packs on the command line: learn, install, list, show, verify, merge, remove; and as a row of the benchmark."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

import babelclip
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.errors import BabelclipError, DataError, FormatError, SettingError
from babelclip.files import alone
from babelclip.packs import install_pack, load_card, load_polyglot
from babelclip.packs.card import Measured
from babelclip.packs.learn import add_metrics
from babelclip.packs.stream import run_packs
from babelclip.training import Checkpoints, JsonlLog, Workers
from test_cli import fail_at_step_4, invoke


def learn(captions, tiny_folder, tag, out, *more):
    return invoke("learn", "--base", tiny_folder, "--language", tag, "--data", captions / f"{tag}.tsv", "--out", out,
                  "--epochs", 2, "--batch-size", 8, "--vocab-size", 400, "--device", "cpu", "--learning-rate", 1e-3,
                  *more)  # fmt: skip


def evaluate(captions, model, *more):
    found = invoke("evaluate", "--model", model, *more, "--language", "de", "--data", captions / "de.tsv", "--json")
    return json.loads(found)


def test_a_folder_of_packs_from_learning_to_removing(captions, tiny_folder, tmp_path):
    mine, test = tmp_path / "mine", ("--test", captions / "de.tsv")
    printed = learn(captions, tiny_folder, "de", mine, *test, "--licence", "CC0-1.0")
    assert "method cll\n" in printed
    assert f"Written to {mine / 'de.babelpack'}, beside no other language. Next:" in printed
    for column in ("before", "after", "routed", "chance"):
        assert column in printed
    assert sorted(entry.name for entry in mine.iterdir()) == ["de.babelpack", "de.log.jsonl", "polyglot.json"]
    card = load_card(mine / "de.babelpack")
    assert (card.licence, card.rows, card.data.texts, card.metrics[0].data) == ("CC0-1.0", "float16", 24, "de.tsv de")
    scored = evaluate(captions, mine)
    assert scored["scores"]["r_mean"] == card.metrics[0].scores["r_mean"]
    german = (mine / "de.babelpack").read_bytes()
    file = tmp_path / "ru.babelpack"
    printed = learn(captions, tiny_folder, "ru", file, "--rows", "int8", "--method", "mla")
    assert f"pack install {file} --into FOLDER" in printed
    printed = invoke("pack", "install", file, "--into", mine, "--base", tiny_folder)
    assert f"{mine} now answers in en, de, ru. English has not changed." in printed
    assert (mine / "de.babelpack").read_bytes() == german
    printed = invoke("pack", "list", mine)
    assert "German" in printed
    assert "Russian" in printed
    assert " 0.00 " not in printed, "also a small pack has a size"
    printed = invoke("pack", "verify", mine)
    assert printed.count("bit for bit") == 3
    printed = invoke("pack", "show", mine / "de.babelpack")
    for piece in ("German (de)", "24 texts", "CC0-1.0", "de.tsv de img_r10"):
        assert piece in printed
    assert "─" not in printed, "no rule under a header without names"
    assert json.loads(invoke("pack", "show", file, "--json"))["language"] == "ru"
    assert load_card(file).modules == {"mla": {"inner": 16, "uniform": 0, "shared": 0}}
    merged = tmp_path / "all"
    invoke("pack", "merge", mine, "--out", merged)
    assert load_polyglot(merged).languages == ["en", "de", "ru"]
    with pytest.raises(SettingError, match="both for 'ru'"):
        invoke("pack", "merge", mine, file, "--out", tmp_path / "twice", "--base", tiny_folder)
    printed = invoke("pack", "remove", mine, "ru")
    assert "now answers in en, de" in printed
    assert (mine / "de.babelpack").read_bytes() == german
    ask = ("evaluate", "--model", mine, "--language", "ru", "--data", captions / "ru.tsv", "--json")
    assert json.loads(invoke(*ask))["learnt"] is False


def test_what_stands_there_is_not_overwritten(captions, tiny_folder, tmp_path):
    mine = tmp_path / "mine"
    learn(captions, tiny_folder, "de", mine)
    with pytest.raises(SettingError, match=r"de.babelpack exists. Say --replace, or choose"):
        learn(captions, tiny_folder, "de", mine)
    learn(captions, tiny_folder, "de", mine, "--replace", "--seed", 5)
    with pytest.raises(SettingError, match="and is no folder of packs"):
        learn(captions, tiny_folder, "de", captions)
    with pytest.raises(SettingError, match="belongs to several languages"):
        learn(captions, tiny_folder, "de", tmp_path / "x.babelpack", "--shared")
    with pytest.raises(BabelclipError, match="unknown kind of rows 'float8'. Did you mean 'float"):
        learn(captions, tiny_folder, "ru", mine, "--rows", "float8")


def test_paths_and_cards_are_printed_as_they_are(captions, tiny_folder, tmp_path):
    mine = tmp_path / "packs [old] c:dog:" / "x[" / "b]"
    printed = learn(captions, tiny_folder, "de", mine, "--licence", "CC0[/b]")
    assert f"Written to {mine / 'de.babelpack'}, beside no other language. Next:" in printed
    assert "CC0[/b]" in invoke("pack", "list", mine)
    assert "CC0[/b]" in invoke("pack", "show", mine / "de.babelpack")


def test_a_card_may_lack_scores(captions, tiny_folder, tmp_path):
    learn(captions, tiny_folder, "de", tmp_path)
    polyglot = load_polyglot(tmp_path)
    one = Measured(data="mine", texts=2, pictures=2, scores={"img_r1": 3.0})
    install_pack(tmp_path, add_metrics(polyglot.packs["de"], [one]), polyglot.encoder, replace=True)
    invoke("pack", "verify", tmp_path)
    assert re.search(r"German +cll +24 +- ", invoke("pack", "list", tmp_path))
    printed = invoke("pack", "show", tmp_path / "de.babelpack")
    assert "3.0 % of 2 pictures" in printed
    assert re.search(r"mine img_r10 +- *\n", printed)


def test_what_may_not_be_read_is_not_called_damaged_or_missing(captions, tiny_folder, tmp_path, forbid):
    learn(captions, tiny_folder, "de", tmp_path)
    for name in ("de.babelpack", "polyglot.json"):
        message = rf"{name}: may not be read \(permission denied\). Mend its rights"
        with forbid(tmp_path / name), pytest.raises(BabelclipError, match=message):
            invoke("pack", "list", tmp_path)


def test_several_packs_are_installed_all_or_none(captions, tiny_folder, tmp_path):
    files = [tmp_path / f"{tag}.babelpack" for tag in ("ru", "de")]
    for file in files:
        learn(captions, tiny_folder, file.stem, file)
    mine = tmp_path / "mine"
    invoke("pack", "install", files[1], "--into", mine, "--base", tiny_folder)
    with pytest.raises(SettingError, match="'de' is installed in .*Say --replace"):
        invoke("pack", "install", *files, "--into", mine)
    assert load_polyglot(mine).languages == ["en", "de"]
    invoke("pack", "install", *files, "--into", mine, "--replace")
    assert load_polyglot(mine).languages == ["en", "de", "ru"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a wall\t12\na field\t34", "no letter in 2 training texts"),
        ("12\teine Wand\n34\tein Feld", "no letter in 2 English training texts"),
        ("a wall\teine Wand", "1 training texts in 'de'"),
    ],
)
def test_texts_that_cannot_be_learnt_are_named_with_their_file_and_leave_nothing(
    rows, told, captions, tiny_folder, tmp_path
):
    shutil.copy(captions / "0-0.png", tmp_path)
    lines = ["image\ten\tde", *(f"0-0.png\t{row}" for row in rows.split("\n"))]
    (tmp_path / "de.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"{tmp_path / 'de.tsv'}: {told}"):
        learn(tmp_path, tiny_folder, "de", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_english_is_refused_and_leaves_nothing(captions, tiny_folder, tmp_path):
    shutil.copytree(captions, tmp_path / "captions")
    shutil.copy(captions / "de.tsv", tmp_path / "captions" / "en.tsv")
    with pytest.raises(SettingError, match="'en' is the base model's own language"):
        learn(tmp_path / "captions", tiny_folder, "en", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_that_was_learnt_is_lost_at_the_end(captions, tiny_folder, deep_folder, tmp_path):
    """A neighbour whose language cannot be recognised, a cache inside the folder, another base model."""
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    learn(captions, tiny_folder, "de", shared, "--shared")
    invoke("pack", "build", "--model", shared, "--language", "de", "--out", tmp_path / "silent.babelpack")
    invoke("pack", "install", tmp_path / "silent.babelpack", "--into", mine, "--base", tiny_folder)
    printed = learn(captions, tiny_folder, "ru", mine, "--test", captions / "ru.tsv")
    assert "after" in printed
    assert "routed" not in printed
    assert load_polyglot(mine).languages == ["en", "de", "ru"]
    fresh = tmp_path / "fresh"
    learn(captions, tiny_folder, "de", fresh, "--cache", fresh / "cache")
    assert (fresh / "de.babelpack").is_file()
    invoke("pack", "remove", fresh, "de")
    with pytest.raises(FormatError, match="it is for .*tiny.*but the base model is .*deep"):
        learn(captions, deep_folder, "de", fresh)


def test_an_interrupted_pack_goes_on_with_the_same_command(captions, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("babelclip.cli.learn.Checkpoints", partial(Checkpoints, every=0))
    learn(captions, tiny_folder, "de", tmp_path / "whole")
    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.trainer.TaskTrainer.rate", fail_at_step_4)
        with pytest.raises(RuntimeError, match="power cut"):
            learn(captions, tiny_folder, "de", cut)
    assert sorted(entry.name for entry in cut.iterdir()) == ["de.checkpoints", "de.log.jsonl", "polyglot.json"]
    assert f"Going on from the checkpoints in {cut / 'de.checkpoints'}" in learn(captions, tiny_folder, "de", cut)
    assert (cut / "de.babelpack").read_bytes() == (tmp_path / "whole" / "de.babelpack").read_bytes()
    assert sorted(entry.name for entry in cut.iterdir()) == ["de.babelpack", "de.log.jsonl", "polyglot.json"]


def test_a_language_of_a_shared_lexicon_becomes_a_pack(captions, tiny_folder, tmp_path):
    shared, pack = tmp_path / "shared", tmp_path / "de.babelpack"
    learn(captions, tiny_folder, "de", shared, "--shared")
    printed = invoke("pack", "build", "--model", shared, "--language", "de", "--out", pack, "--rows", "float32")
    assert "note: without --data its language cannot be recognised" in printed
    scores = [evaluate(captions, shared), evaluate(captions, pack, "--base", tiny_folder)]
    assert scores[0]["scores"] == pytest.approx(scores[1]["scores"])
    assert "routed" not in scores[1]
    with pytest.raises(SettingError, match="'de' was built without texts, so its language cannot be recognised"):
        load_polyglot(pack, base=tiny_folder).encode_texts(["rot"])
    invoke("pack", "build", "--model", shared, "--language", "de", "--out", tmp_path / "known.babelpack", "--data",
           captions / "de.tsv")  # fmt: skip
    assert load_card(tmp_path / "known.babelpack").data.texts == 24


@pytest.fixture(scope="module")
def stages(examples):
    english = replace(examples["de"], language="en", texts=examples["de"].english)
    trains = [english, examples["de"], examples["ru"]]
    return [Stage(train, [Gallery("test", train)]) for train in trains]


@pytest.mark.parametrize("method", ["packs", "packs-routed", "packs+mla", "packs-routed+mla"])
def test_a_stream_of_packs_forgets_nothing(tiny, stages, quick, method, tmp_path):
    """Told the languages, F is exactly 0; interrupted within a task, the results are the same."""
    run = run_packs(babelclip.Student(tiny), stages, method=method, settings=quick).runs[0]
    table = run.scores["r_mean"]
    assert [len(row) for row in table] == [1, 2, 3]
    assert run.needs_language == (not method.startswith("packs-routed"))
    assert run.new_tokens[0] == 0
    if run.needs_language:
        assert all(summary["F"] == 0.0 == summary["Fen"] for summary in run.summary.values())
        assert table[0][0] == table[2][0] == run.initial["r_mean"][0], "English is the base model's"
        assert table[1][1] == table[2][1]

    log = JsonlLog(tmp_path / "log.jsonl")

    def power_cut(step):
        log(step)
        if (step.language, step.step) == ("ru", 3):
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path / "checkpoints", every=0)
    with pytest.raises(KeyboardInterrupt):
        run_packs(babelclip.Student(tiny), stages, method=method, settings=quick, on_step=power_cut,
                  checkpoints=checkpoints)  # fmt: skip
    log.close()
    again = run_packs(babelclip.Student(tiny), stages, method=method, settings=quick, on_step=log,
                      checkpoints=checkpoints).runs[0]  # fmt: skip
    log.close()
    steps = [json.loads(line) for line in log.file.read_text().splitlines()]
    assert [(one["task"], one["language"], one["step"]) for one in steps] == [
        (task, tag, step) for task, tag in ((1, "de"), (2, "ru")) for step in range(1, 7)
    ], "each step once, with the place of its language"
    assert again.model_dump(exclude={"cost"}) == run.model_dump(exclude={"cost"})


def test_a_pack_of_a_stream_is_the_one_that_is_learnt_alone(tiny, stages, quick):
    """Also with a method that remembers: what it remembers of one language is not there for the next."""
    settings = replace(quick, epochs=1)
    for method in ("packs+er(memory=10)", "packs+oewc"):
        found = [run_packs(babelclip.Student(tiny), part, method=method, settings=settings).polyglot.packs["ru"]
                 for part in (stages, stages[2:])]  # fmt: skip
        assert torch.equal(found[0].ids, found[1].ids)
        assert torch.equal(found[0].rows, found[1].rows)


def test_packs_are_a_stream_of_their_own(tiny, stages, quick, examples):
    with pytest.raises(SettingError, match="keeps every language by itself"):
        run_stream(babelclip.Student(tiny), stages, method="packs", settings=quick)
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=quick)
    with pytest.raises(SettingError, match=r"cannot learn as 'cll\+packs', 'cll\+mla\+packs' do"):
        run_packs(babelclip.Student(tiny), stages, method=["packs", "packs+mla"], settings=quick)
    with pytest.raises(SettingError, match="this one has learnt de. Give the base model"):
        run_packs(student, stages, method="packs", settings=quick)


@pytest.mark.parametrize(("out", "more"), [("mine", ()), ("de.babelpack", ()), ("shared", ("--shared",))])
def test_two_processes_do_not_learn_the_same_at_once(captions, tiny_folder, tmp_path, monkeypatch, out, more):
    late = []

    def try_too(trainer, step):
        if step == 1 and not late:
            with pytest.raises(SettingError, match="another process works on .*Wait until it has ended") as caught:
                learn(captions, tiny_folder, "de", tmp_path / out, *more)
            late.append(caught.value)
        return trainer.settings.learning_rate

    monkeypatch.setattr("babelclip.training.trainer.TaskTrainer.rate", try_too)
    learn(captions, tiny_folder, "de", tmp_path / out, *more)
    assert len(late) == 1


def test_another_language_is_learnt_beside_one_that_is_being_learnt(captions, tiny_folder, tmp_path):
    with alone(tmp_path, tmp_path / "mine" / ".de.lock", wait=0):
        learn(captions, tiny_folder, "ru", tmp_path / "mine")
        with pytest.raises(SettingError, match=r"another process works on .*de\.babelpack\."):
            learn(captions, tiny_folder, "de", tmp_path / "mine")
    assert sorted(entry.name for entry in (tmp_path / "mine").glob(".*")) == []


@pytest.mark.parametrize(("written", "more"), [("de.babelpack", ()), ("lexicon.json", ("--shared",))])
def test_what_another_process_has_finished_is_seen_before_training(
    captions, tiny_folder, tmp_path, monkeypatch, written, more
):
    def finished_meanwhile(device):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / written).write_text("of another process")
        return Workers(device)

    monkeypatch.setattr("babelclip.cli.learn.Workers", finished_meanwhile)
    with pytest.raises(SettingError, match="exists"):
        learn(captions, tiny_folder, "de", tmp_path / "mine", *more)
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == [written]
