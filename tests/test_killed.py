"""Killed at places where something is half done: the same command goes on, and nothing of the run is lost."""

import json
import os
import pkgutil
import signal
import traceback
from functools import partial
from pathlib import Path
from unittest.mock import patch as replaced

import pytest

import babelclip
from babelclip.cli.learn import JsonlLog
from babelclip.continual import Gallery, Stage, Student, run_stream
from babelclip.data import Cache
from babelclip.errors import SettingError
from babelclip.packs import Polyglot
from babelclip.training import Checkpoints
from forks import finish, start
from test_cli import fail_at_step_4, invoke

PLACES = {
    "half of a step's checkpoint is written": ("babelclip.files._write_synced", 5),
    "an old checkpoint is to be removed": ("babelclip.training.checkpoint.remove_folder", 1),
    "an old checkpoint is renamed and not yet removed": ("babelclip.files.shutil.rmtree", 4),
    "methods look back at the first language": ("babelclip.methods.stack.Stack.after_task", 2),
    "the first language is measured": ("babelclip.continual.measure.Evaluator.score", 4),
    "half of the first language's checkpoint is written": ("babelclip.files._write_synced", 12),
    "the steps' checkpoints of the first language are to be removed": (
        "babelclip.training.checkpoint.remove_folder",
        2,
    ),
    "the words of the second language grow": ("babelclip.lexicon.lexicon.Lexicon.grow", 2),
    "the second language is measured": ("babelclip.continual.measure.Evaluator.score", 7),
    "the last checkpoint is to be written": ("babelclip.training.checkpoint.write_folder", 8),
    "half of the result is written": ("babelclip.lexicon.store.write_whole", 2),
    "all checkpoints are to be removed": ("babelclip.training.checkpoint.Checkpoints.clear", 3),
}


class PowerCutError(Exception):
    """Stands for a power cut."""


def cut(*_, **__):
    raise PowerCutError


def learn(captions, tiny_folder, out, *more) -> str:
    return invoke("learn", "--base", tiny_folder, "--language", "de", "--data", captions / "de.tsv", "--test",
                  captions / "de.tsv", "--out", out, "--epochs", 2, "--batch-size", 8, "--vocab-size", 400,
                  "--device", "cpu", "--learning-rate", 1e-3, *more)  # fmt: skip


KINDS = {"shared": ("out", ("--shared",)), "pack": ("out", ()), "file": ("de.babelpack", ())}


def result(out):
    """What a run leaves, but its log, which holds times."""
    files = [out] if out.is_file() else sorted(file for file in out.rglob("*") if file.is_file())
    return {file.name: file.read_bytes() for file in files if not file.name.endswith("log.jsonl")}


def shown(printed):
    """The tables of scores."""
    return [line for line in map(str.strip, printed.splitlines()) if line.startswith(("img_", "txt_", "r_mean"))]


@pytest.mark.parametrize("kind", KINDS)
def test_learn_killed_after_its_last_step_tells_its_scores_when_it_is_started_again(
    kind, captions, tiny_folder, tmp_path, monkeypatch
):
    name, more = KINDS[kind]
    (tmp_path / "whole").mkdir()
    whole = learn(captions, tiny_folder, tmp_path / "whole" / name, *more)
    out, evaluate = tmp_path / name, (Student if kind == "shared" else Polyglot).evaluate
    done = []

    def cut_after_learning(self, *arguments, **options):
        if "de" in self.languages:
            cut()
        return evaluate(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(f"{evaluate.__module__}.{evaluate.__qualname__}", cut_after_learning)
        with pytest.raises(PowerCutError):
            learn(captions, tiny_folder, out, *more)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "clear", cut)
        patch.setattr(JsonlLog, "__call__", lambda *_: done.append("step"))
        with pytest.raises(PowerCutError):
            learn(captions, tiny_folder, out, *more)
    with pytest.raises(SettingError, match=r"holds checkpoints of another run: .*seed was 0, is 5"):
        learn(captions, tiny_folder, out, "--seed", 5, *more)
    assert result(tmp_path / "whole" / name).items() <= result(out).items()
    printed = learn(captions, tiny_folder, out, *more)
    assert not done, "the steps were made before"
    assert shown(whole)
    assert shown(printed) == shown(whole)
    assert result(out) == result(tmp_path / "whole" / name)
    assert not list(tmp_path.rglob("*checkpoints"))
    with pytest.raises(SettingError, match="exists"):
        learn(captions, tiny_folder, out, *more)


def test_a_pack_is_no_result_of_the_run_that_was_to_replace_it(captions, tiny_folder, tmp_path, monkeypatch):
    learn(captions, tiny_folder, tmp_path)
    pack = (tmp_path / "de.babelpack").read_bytes()
    monkeypatch.setattr("babelclip.cli.learn.Checkpoints", partial(Checkpoints, every=0))
    for place, again in (("babelclip.training.trainer.TaskTrainer.rate", fail_at_step_4),
                         ("babelclip.cli.teaching.install_pack", cut)):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(place, again)
            with pytest.raises((PowerCutError, RuntimeError)):
                learn(captions, tiny_folder, tmp_path, "--replace", "--seed", 5)
        with pytest.raises(SettingError, match=r"de.babelpack exists. Say --replace"):
            learn(captions, tiny_folder, tmp_path, "--seed", 5)
        assert (tmp_path / "de.babelpack").read_bytes() == pack
    learn(captions, tiny_folder, tmp_path, "--replace", "--seed", 5)
    assert (tmp_path / "de.babelpack").read_bytes() != pack
    assert not (tmp_path / "de.checkpoints").exists()


def stream(student: Student, stages: list[Stage], out: Path) -> None:
    """Two languages with methods that remember, saved after every step; what is finished leaves no checkpoints."""
    checkpoints = Checkpoints(out / "checkpoints", every=0)
    settings = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3)
    done = run_stream(student, stages, method="er+oewc", settings=settings, checkpoints=checkpoints)
    done.student.save(out / "model")
    (out / "run.json").write_text(done.runs[0].model_dump_json(exclude={"cost"}))
    checkpoints.clear()


def alone_until(place: str, count: int, work) -> int:
    """Do something in a process that kills itself when a function is called for so many times; return its status."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    try:
        found, calls = pkgutil.resolve_name(place), []

        def kill(*arguments, **options):
            calls.append(place)
            if len(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return found(*arguments, **options)

        with replaced(place, kill):
            work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def die_everywhere(model: Path, captions: Path, out: Path) -> None:
    """A stream as it is, and killed at each place and begun again; processes are forked where nothing was trained."""
    student = babelclip.load(model, device="cpu", cache=Cache(None))
    both = [student.examples(tag, captions / f"{tag}.tsv") for tag in ("de", "ru")]
    stages = [Stage(one, [Gallery("test", one)]) for one in both]
    ends = {}
    for number, (what, (place, count)) in enumerate({"nothing": ("os.getpid", 0), **PLACES}.items()):
        work = partial(stream, student, stages, out / str(number))
        ends[what] = [alone_until(place, one, work) for one in (count, 0)]
    (out / "ends.json").write_text(json.dumps(ends))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_killed_anywhere_the_same_stream_goes_on(tiny_folder, captions, tmp_path):
    process = start(die_everywhere, tiny_folder, captions, tmp_path, said=tmp_path, TOKENIZERS_PARALLELISM="false")
    code, _, errors = finish(process, tmp_path, 240)  # a tokenizer's threads would be missing in what is forked
    assert code == 0, errors
    ends = json.loads((tmp_path / "ends.json").read_text())
    assert ends == {"nothing": [0, 0]} | {what: [signal.SIGKILL, 0] for what in PLACES}, errors
    assert "remembered.safetensors" in result(tmp_path / "0")
    for number, what in enumerate(PLACES, 1):
        assert result(tmp_path / str(number)) == result(tmp_path / "0"), what
