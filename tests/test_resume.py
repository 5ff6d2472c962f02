"""Contract 7: killed at any step and started again, a run ends with the same weights and the same results."""

import dataclasses
import errno
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

import babelclip
from babelclip.acquirers import Learnt
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.data import Cache
from babelclip.data.examples import base_lexicon
from babelclip.errors import BabelclipError, FormatError, SettingError
from babelclip.methods import Method, Stack, compose
from babelclip.training import Checkpoints, JsonlLog, Validation, train_task
from forks import dead_process, finish, start


class PowerCutError(Exception):
    """Stands for a power cut."""


class Momentum(Method):
    """Remembers something from step to step, as replay memories and Fisher matrices do."""

    name, idea, paper = "momentum", "Remembers.", "-"

    def __init__(self):
        self.mean = torch.zeros(())

    def loss_terms(self, task, step):
        term = (step.rows.mean() - self.mean).square()
        self.mean = 0.5 * self.mean + 0.5 * step.rows.detach().mean() + 0.1
        return {"pull": term}

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


def run(tiny, examples, settings, checkpoints=None, stop=None, method=None, validation=True):
    """One task; ``stop`` interrupts it after so many steps."""

    def on_step(report):
        if report.step == stop:
            raise PowerCutError

    return train_task(
        tiny, Learnt(base_lexicon(tiny)), examples["de"], method or Stack([Momentum()]), settings, on_step=on_step,
        checkpoints=checkpoints,
        validation=Validation(lambda learnt: float(learnt.lexicon.table.sum())) if validation else None,
    )  # fmt: skip


def same(found, expected):
    assert torch.equal(found[0].lexicon.table, expected[0].lexicon.table)
    assert torch.equal(found[0].lexicon.uses, expected[0].lexicon.uses)
    forget = {"seconds": 0.0}
    assert dataclasses.replace(found[1], **forget) == dataclasses.replace(expected[1], **forget)


@pytest.mark.parametrize("validation", [True, False])
def test_interrupted_after_any_step_a_task_ends_as_if_it_never_was(tiny, examples, quick, tmp_path, validation):
    whole = run(tiny, examples, quick, validation=validation)
    assert whole[1].steps == 6
    for stop in range(1, 7):
        for every in (0.0, 1e9):  # saved at each step, or at the end only
            checkpoints = Checkpoints(tmp_path / f"{stop}-{every}", every=every)
            with pytest.raises(PowerCutError):
                run(tiny, examples, quick, checkpoints, stop=stop, validation=validation)
            same(run(tiny, examples, quick, checkpoints, validation=validation), whole)
            assert len(list(checkpoints.folder.iterdir())) <= 2, "a bounded number is kept"


def test_interrupted_many_times_and_in_the_last_validation(tiny, examples, quick, tmp_path):
    whole = run(tiny, examples, quick)
    checkpoints = Checkpoints(tmp_path, every=0)
    for stop in (1, 2, 4, 5):
        with pytest.raises(PowerCutError):
            run(tiny, examples, quick, checkpoints, stop=stop)
    seen = []

    def validate(learnt):
        seen.append(learnt)
        raise PowerCutError

    with pytest.raises(PowerCutError):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([Momentum()]), quick,
                   checkpoints=checkpoints, validation=Validation(validate))  # fmt: skip
    assert len(seen) == 1
    same(run(tiny, examples, quick, checkpoints), whole)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(tiny, examples, quick, tmp_path):
    whole = run(tiny, examples, quick)
    notes = []
    checkpoints = Checkpoints(tmp_path, every=0, note=notes.append)
    with pytest.raises(PowerCutError):
        run(tiny, examples, quick, checkpoints, stop=5)
    _, newest = sorted(tmp_path.iterdir())
    file = newest / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    same(run(tiny, examples, quick, checkpoints), whole)
    assert len(notes) == 1
    assert notes[0].startswith(f"{file}: damaged: sha256 is ")
    assert notes[0].endswith("going back to the checkpoint before")


def test_the_checkpoint_that_was_found_damaged_goes_first(tmp_path):
    checkpoints = Checkpoints(tmp_path, note=lambda _: None)
    for step in range(3):
        checkpoints.save({}, {"step": step}, {})
    newest = sorted(tmp_path.iterdir())[-1]
    (newest / "state.json").write_text("{}")
    again = Checkpoints(tmp_path, note=lambda _: None)
    assert again.latest({}).state == {"step": 1}
    again.save({}, {"step": 7}, {})
    assert not newest.exists()
    assert len(list(tmp_path.iterdir())) == 2
    assert again.latest({}).state == {"step": 7}
    again.clear()
    assert not tmp_path.exists()
    assert not again.begun


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged_and_stays(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, note=pytest.fail)
    checkpoints.save({}, {"step": 1}, {})
    file = tmp_path / "00000001" / "state.json"

    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    with monkeypatch.context() as patch:
        patch.setattr("babelclip.files.sha256", refuse)
        with pytest.raises(BabelclipError, match=r"state\.json: may not be read.*Mend its rights"):
            Checkpoints(tmp_path, note=pytest.fail).latest({})
    assert checkpoints.latest({}).state == {"step": 1}


def test_a_checkpoint_of_a_newer_format_is_not_called_damaged_and_stays(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, note=pytest.fail)
    checkpoints.save({}, {"step": 1}, {})
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.files.FORMAT", 2)
        checkpoints.save({}, {"step": 2}, {})
    match = r"2/manifest\.json: format 2, this babelclip reads 1\. Go on with a newer babelclip, or delete the folder"
    with pytest.raises(FormatError, match=match):
        checkpoints.latest({})
    for never, told in (("0", "format 0"), ('"2"', "incomplete or damaged")):
        (tmp_path / "00000002" / "manifest.json").write_text(f'{{"format": {never}, "files": {{}}}}')
        notes = []
        assert Checkpoints(tmp_path, note=notes.append).latest({}).state == {"step": 1}
        assert told in notes[0]


def test_other_validation_data_or_other_vectors_are_another_run(tiny, examples, quick, tmp_path):
    def learn(train, held_out, name):
        babelclip.Student(tiny).learn("de", train, settings=quick, validation=held_out, checkpoints=tmp_path / name)

    de = examples["de"]
    other = dataclasses.replace(de, images=de.images[:] + 1e-3)
    learn(de, de, "a")
    with pytest.raises(SettingError, match=r"holds checkpoints of another run: validation data was '\w+', is '\w+'"):
        learn(de, other, "a")
    with pytest.raises(SettingError, match=r"holds checkpoints of another run: data was '\w+', is '\w+'"):
        learn(other, de, "a")


def test_when_all_are_damaged_nothing_is_guessed(tiny, examples, quick, tmp_path):
    checkpoints = Checkpoints(tmp_path, every=0, note=lambda _: None)
    with pytest.raises(PowerCutError):
        run(tiny, examples, quick, checkpoints, stop=5)
    for folder in tmp_path.iterdir():
        (folder / "manifest.json").unlink()
    with pytest.raises(FormatError, match="all 2 checkpoints are damaged. Delete the folder to start again"):
        run(tiny, examples, quick, checkpoints)


def test_checkpoints_of_another_run_are_refused_with_both_values(tiny, examples, quick, tmp_path):
    checkpoints = Checkpoints(tmp_path, every=0)
    with pytest.raises(PowerCutError):
        run(tiny, examples, quick, checkpoints, stop=2)
    with pytest.raises(SettingError, match=r"learning_rate was 0.001, is 0.002\. Start it again as it was"):
        run(tiny, examples, dataclasses.replace(quick, learning_rate=2e-3), checkpoints)
    with pytest.raises(SettingError, match="method was 'momentum', is 'cll'"):
        run(tiny, examples, quick, checkpoints, method=compose("cll"))


def test_another_machine_is_another_run(tiny, examples, quick, tmp_path, monkeypatch):
    """One whose device lacks the precision that was asked for, and has gone on in float32; or with another torch."""
    checkpoints, half = Checkpoints(tmp_path, every=0), dataclasses.replace(quick, precision="bfloat16")
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.workers._can", lambda *_: False)
        with pytest.raises(PowerCutError):
            run(tiny, examples, half, checkpoints, stop=2)
    with pytest.raises(SettingError, match="of another run: effective precision was 'float32', is 'bfloat16'. Start"):
        run(tiny, examples, half, checkpoints)
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.workers._can", lambda *_: False)
        patch.setattr("torch.__version__", "0.1")
        with pytest.raises(SettingError, match=r"of another run: torch was '[^']+', is '0\.1'\. Start"):
            run(tiny, examples, half, checkpoints)
    (newest,) = tmp_path.iterdir()
    assert json.loads((newest / "state.json").read_text())["identity"]["device"] == tiny.device.type


def test_a_stream_knows_the_precision_that_it_ran_in(tiny, examples, quick, tmp_path, monkeypatch):
    stages, half = [Stage(examples["de"], [Gallery("test", examples["de"])])], {"precision": "bfloat16", "epochs": 1}

    def learn():
        settings = dataclasses.replace(quick, **half)
        student = babelclip.Student(tiny)
        return run_stream(student, stages, method="cll", settings=settings, checkpoints=Checkpoints(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.workers._can", lambda *_: False)
        learn()
    with pytest.raises(SettingError, match="of another run: effective precision was 'float32', is 'bfloat16'. Start"):
        learn()


def test_what_was_not_written_down_is_said(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"seed": None, "old": 1}, {}, {})
    with pytest.raises(SettingError, match=r": seed was None, is 2, old was 1, is not written down, torch was not wri"):
        checkpoints.latest({"seed": 2, "torch": "3"})


def test_a_full_disk_stops_the_run_and_the_last_good_checkpoint_goes_on(tiny, examples, quick, tmp_path, monkeypatch):
    whole = run(tiny, examples, quick)
    checkpoints = Checkpoints(tmp_path, every=0)
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 15:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(BabelclipError, match=r"cannot be written \(No space left on device\). Free some space"):
            run(tiny, examples, quick, checkpoints)
    left = list(tmp_path.iterdir())
    assert left
    assert all(folder.name.isdigit() for folder in left), "nothing half-written stays"
    same(run(tiny, examples, quick, checkpoints), whole)


def test_a_full_disk_is_an_error_of_the_log_too(tiny, examples, quick):
    """It is written at every step, so it is the first to know."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log = JsonlLog("/dev/full")
    log._cut = lambda _: None
    with pytest.raises(BabelclipError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick, on_step=log)
    log.close()


def test_what_a_dead_process_left_half_written_is_removed(tmp_path):
    half = tmp_path / f".00000007.{dead_process()}.tmp"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path).latest({}) is None
    assert not half.exists()


def stream(model: Path, captions: Path, out: Path) -> None:
    """Two tasks in a process of their own."""
    student = babelclip.load(model, device="cpu", cache=Cache(out / "cache"))
    both = [student.examples(tag, captions / f"{tag}.tsv") for tag in ("de", "ru")]
    stages = [Stage(one, [Gallery("test", one)]) for one in both]
    settings = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=12, learning_rate=1e-3)
    learnt = run_stream(
        student, stages, method="cll+teir", settings=settings, on_step=JsonlLog(out / "log.jsonl"),
        checkpoints=Checkpoints(out / "checkpoints", every=0),
    )  # fmt: skip
    learnt.student.save(out / "model")
    (out / "run.json").write_text(learnt.runs[0].model_dump_json(exclude={"cost"}))


def test_sigkill_at_random_steps_changes_no_bit_of_weights_and_results(tiny_folder, captions, tmp_path):
    """Four kills at steps that differ each time, in both tasks; some hit while a checkpoint is being written."""

    def begin(out):
        return start(stream, tiny_folder, captions, out, said=out)

    def end(process, out):
        code, _, errors = finish(process, out)
        assert code == 0, errors

    end(begin(tmp_path / "whole"), tmp_path / "whole")
    killed = tmp_path / "killed"
    log = killed / "log.jsonl"
    chance = random.Random()
    stops = sorted(chance.sample(range(1, 71), 4))
    for stop in stops:
        process = begin(killed)
        while process.exitcode is None and (not log.exists() or log.read_bytes().count(b"\n") < stop):
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"killed at {stops}"
    end(begin(killed), killed)
    for name in ("run.json", "model/rows.safetensors", "model/lexicon.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), f"{name}, killed at {stops}"
    steps = [(line["task"], line["step"]) for line in map(json.loads, log.read_text().splitlines())]
    assert steps == [(task, step) for task in (0, 1) for step in range(1, 37)], "each step stands in the log once"


def test_a_finished_stream_is_returned_from_its_checkpoints(tiny, examples, quick, tmp_path):
    stages = [Stage(examples[tag], [Gallery("test", examples[tag])]) for tag in ("de", "ru")]
    checkpoints = Checkpoints(tmp_path)
    student = babelclip.Student(tiny)
    first = run_stream(student, stages, method="teir", settings=quick, checkpoints=checkpoints)
    again = run_stream(
        student, stages, method="teir", settings=quick, checkpoints=checkpoints,
        on_step=lambda _: pytest.fail("trained again"),
    )  # fmt: skip
    assert again.runs[0].model_dump(exclude={"cost"}) == first.runs[0].model_dump(exclude={"cost"})
    assert again.reports == first.reports
    assert torch.equal(again.student.lexicon.table, first.student.lexicon.table)
    assert student.languages == []
    with pytest.raises(SettingError, match=r"order was \['de', 'ru'\], is \['ru', 'de'\]"):
        run_stream(student, stages[::-1], method="teir", settings=quick, checkpoints=checkpoints)


def test_the_log_of_a_new_run_replaces_the_old_one_and_foreign_files_are_refused(tiny, examples, quick, tmp_path):
    file = tmp_path / "log.jsonl"
    for _ in range(2):
        log = JsonlLog(file)
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick, on_step=log)
        log.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert [line["epoch"] for line in lines] == [1, 1, 1, 2, 2, 2]
    assert set(lines[0]["terms"]) == {"cross_lingual", "cross_modal"}
    assert all(line["tokens"] <= line["places"] and line["texts"] == 8 and line["seconds"] > 0 for line in lines)
    assert lines[0]["learning_rate"] == 1e-3, "no warm-up with 6 steps"
    file.write_text("name,value\n1,2\n")
    with pytest.raises(FormatError, match=r"log.jsonl:1: not a line of a training log. Move the file away"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick, on_step=JsonlLog(file))
