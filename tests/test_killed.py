"""Killed at places where something is half done: the same command goes on, and nothing of the run is lost."""

from functools import partial

import pytest

from babelclip.cli.learn import JsonlLog
from babelclip.continual import Student
from babelclip.errors import SettingError
from babelclip.packs import Polyglot
from babelclip.training import Checkpoints
from test_cli import fail_at_step_4, invoke


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
