"""Several processes, and other precisions: the same training, up to the order of summation or to rounding."""

import dataclasses
import itertools
import os
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

import babelclip
from babelclip.acquirers import Learnt
from babelclip.continual import Gallery, Stage, load, run_stream
from babelclip.continual.record import JOINT
from babelclip.data import Batch
from babelclip.data.examples import base_lexicon
from babelclip.data.joined import join_examples
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.errors import ModelError, SettingError
from babelclip.lexicon import tokenise
from babelclip.methods import Method, Stack, Task, compose
from babelclip.packs.stream import run_packs
from babelclip.training import Checkpoints, TaskTrainer, Workers, train_task
from forks import finish, start

SIZE = 7  # texts of a step: two processes get 3 and 4


class Pull(Method):
    """A term that takes from the rows directly, and one that takes from the batch's vectors."""

    name, idea, paper = "pull", "Pulls.", "-"

    def loss_terms(self, task, step):
        return {"rows": 0.1 * step.rows.square().sum(), "texts": 0.1 * step.texts.std(dim=0).sum()}


class DoubleTower:
    """The tiny model's text tower in float64."""

    device = torch.device("cpu")

    def __init__(self, folder):
        model = CLIPModel.from_pretrained(folder).eval().double().requires_grad_(False)
        self.text_tower = FrozenTextTower(model.text_model, model.text_projection)


def train(folder: Path, captions: Path) -> dict[str, torch.Tensor]:
    """A few steps in float64, and a whole task in float32; run by one process here and by two in the test below."""
    student = load(folder, device="cpu")
    examples = student.examples("de", captions / "de.tsv")
    lexicon = base_lexicon(student.encoder)
    lexicon.table = lexicon.table.double()
    tokens = tokenise(lexicon.tokenizer(), examples.texts)
    settings = babelclip.TaskSettings(vocab_size=400, batch_size=SIZE, epochs=2, learning_rate=1e-3)
    task = Task("de", 0, lexicon, tokens.used())
    trainer = TaskTrainer(DoubleTower(folder), task, Stack([Pull()]), settings, total_steps=10)
    losses = []
    for k in range(10):
        chosen = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(k))[:SIZE]
        ids = tokens.inputs(chosen, lexicon.frame)
        owner = examples.owner[chosen]
        losses.append(sum(trainer.step(Batch(ids, owner, examples.teachers[chosen], examples.images[owner])).values()))
    whole, report = train_task(student.encoder, student.learnt, examples, compose("teir"), settings)
    # A batch of 10 in which one process has texts of both languages, the other of one alone.
    both = join_examples([examples, student.examples("ru", captions / "ru.tsv")], JOINT)
    settings = dataclasses.replace(settings, batch_size=10)
    modules, _ = train_task(student.encoder, student.learnt, both, compose("mla+oewc"), settings)
    return {
        "modules": modules.lexicon.table, "fisher": modules.remembered["oewc.rows"],
        "double": trainer.full_table(), "temperature": trainer.temperature.detach(), "table": whole.lexicon.table,
        "losses": torch.tensor(losses, dtype=torch.float64), "loss": torch.tensor(report.loss, dtype=torch.float64),
    }  # fmt: skip


def train_together(folder: Path, captions: Path, out: Path) -> None:
    found = train(folder, captions)
    workers = Workers(torch.device("cpu"))
    assert workers.count == 2
    save_file(found, out / f"{workers.rank}.safetensors")
    workers.leave()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def start_two(target, *arguments, said, **environment) -> list[BaseProcess]:
    """With the environment that torchrun would give them; torchrun itself is run in test_cli.py."""
    environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    return [
        start(target, *arguments, said=said / rank, RANK=rank, LOCAL_RANK=rank, **environment) for rank in ("0", "1")
    ]


def finish_two(both, said, *, code=0, seconds=180) -> None:
    for rank, process in enumerate(both):
        found, _, errors = finish(process, said / str(rank), seconds)
        assert found == code, errors


def test_two_processes_train_as_one_does(tiny_folder, captions, tmp_path):
    finish_two(start_two(train_together, tiny_folder, captions, tmp_path, said=tmp_path), tmp_path)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first), "the processes stay bit for bit together"
    one = train(tiny_folder, captions)
    for name in ("double", "temperature", "losses"):
        torch.testing.assert_close(first[name], one[name], rtol=0, atol=1e-10)
    torch.testing.assert_close(first["table"], one["table"], rtol=0, atol=1e-5)
    assert float((first["table"] - one["table"]).abs().mean()) < 1e-6
    torch.testing.assert_close(first["modules"], one["modules"], rtol=0, atol=1e-5)
    torch.testing.assert_close(first["fisher"], one["fisher"], rtol=1e-3, atol=1e-9)
    assert float(first["loss"]) == pytest.approx(float(one["loss"]), rel=1e-5)


def learn_together(folder: Path, captions: Path, out: Path) -> None:
    """A whole stream; then what the processes cannot go on with together; then half a stream, as if killed."""
    student, workers = load(folder, device="cpu"), Workers(torch.device("cpu"))
    stages = [Stage(one, [Gallery("test", one)]) for one in (
        student.examples(tag, captions / f"{tag}.tsv") for tag in ("de", "ru"))]  # fmt: skip
    settings = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3)

    def stream(name):
        where = Checkpoints(out / name, every=0)
        return run_stream(student, stages, method="er+oewc", settings=settings, checkpoints=where).student

    def packs(name):
        run_packs(student, stages[:1], method="packs", settings=settings, checkpoints=Checkpoints(out / name))

    def task(name):
        babelclip.Student(student.encoder).learn("de", stages[0].train, settings=settings, checkpoints=out / name)

    if (out / "cut").exists():
        stream("cut").save(out / f"cut-{workers.rank}")
        workers.leave()
        return
    stream("whole").save(out / f"whole-{workers.rank}")
    for work, name, done in ((stream, "whole", "2 languages"), (packs, "packs", "1 languages"), (task, "task", "3 s")):
        if work is not stream:
            work(name)
        with pytest.raises(
            SettingError, match=f"of 2 goes on after {done if workers.rank == 0 else 0}.*, but not every"
        ):
            work(name if workers.rank == 0 else f"no-{name}")
    rate = TaskTrainer.rate
    TaskTrainer.rate = lambda trainer, step: (
        os._exit(9) if (trainer.task.number, step) == (1, 2) else rate(trainer, step)
    )
    stream("cut")


def test_two_processes_that_are_killed_go_on_together_or_not_at_all(tiny_folder, captions, tmp_path):
    finish_two(start_two(learn_together, tiny_folder, captions, tmp_path, said=tmp_path), tmp_path, code=9, seconds=120)
    assert sorted(entry.name for entry in (tmp_path / "cut").iterdir()) == ["00000001", "task-01"]
    finish_two(start_two(learn_together, tiny_folder, captions, tmp_path, said=tmp_path), tmp_path, seconds=120)
    files = ("lexicon.json", "rows.safetensors", "remembered.safetensors")
    whole = [(tmp_path / "whole-0" / name).read_bytes() for name in files]
    for other in ("whole-1", "cut-0", "cut-1"):
        assert [(tmp_path / other / name).read_bytes() for name in files] == whole, other


@pytest.mark.parametrize("size", [3, 7, 128])
def test_every_text_belongs_to_one_process(size):
    workers = Workers(torch.device("cpu"))
    for count in (1, 2, 3):
        parts = []
        for workers.rank in range(count):
            workers.count = count
            parts.append(list(range(size))[workers.part(size)])
        assert list(itertools.chain(*parts)) == list(range(size))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(SettingError, match="3 processes share a batch of 2 texts. Use fewer processes"):
        workers.part(2)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_almost_as_float32_does(tiny, examples, quick, precision):
    settings = dataclasses.replace(quick, epochs=20)
    exact = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), settings)
    half = train_task(
        tiny,
        Learnt(base_lexicon(tiny)),
        examples["de"],
        compose("cll"),
        dataclasses.replace(settings, precision=precision),
    )
    assert half[1].precision == precision
    assert half[0].lexicon.table.dtype == torch.float32
    assert half[1].loss == pytest.approx(exact[1].loss, rel=0.02)
    assert not torch.equal(half[0].lexicon.table, exact[0].lexicon.table), "the setting does something"


def test_a_device_without_half_precision_falls_back_to_float32_and_says_so(tiny, examples, quick, monkeypatch):
    exact = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick)
    monkeypatch.setattr("torch.amp.is_autocast_available", lambda _: False)
    settings = dataclasses.replace(quick, precision="bfloat16")
    fallen = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), settings)
    assert fallen[1].precision == "float32"
    assert torch.equal(fallen[0].lexicon.table, exact[0].lexicon.table)


def test_gradients_that_methods_ask_for_survive_float16(tiny, examples):
    """Without the loss scale a quarter of small gradients would vanish."""
    lexicon = base_lexicon(tiny)
    tokens = tokenise(lexicon.tokenizer(), examples["de"].texts)
    ids = tokens.inputs(torch.arange(8), lexicon.frame)
    owner = examples["de"].owner[:8]
    batch = Batch(ids, owner, examples["de"].teachers[torch.arange(8)], examples["de"].images[owner])
    found = {}
    for precision in ("float32", "float16"):
        settings = babelclip.TaskSettings(precision=precision, cross_lingual=1e-5, cross_modal=0)
        trainer = TaskTrainer(tiny, Task("de", 0, lexicon, tokens.used()), compose("cll"), settings, total_steps=9)
        found[precision] = trainer.gradient(trainer.objective(batch))["rows"].square().sum()
    assert float(found["float16"]) == pytest.approx(float(found["float32"]), rel=0.05)


def test_a_step_that_overflows_float16_is_left_out_and_the_next_one_counts(tiny, examples):
    lexicon = base_lexicon(tiny)
    tokens = tokenise(lexicon.tokenizer(), examples["de"].texts)
    settings = babelclip.TaskSettings(precision="float16", warm_up=0, learning_rate=1e-3)
    trainer = TaskTrainer(tiny, Task("de", 0, lexicon, tokens.used()), compose("cll"), settings, total_steps=9)
    trainer._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    chosen = torch.arange(8)
    ids = tokens.inputs(chosen, lexicon.frame)
    owner = examples["de"].owner[chosen]
    batch = Batch(ids, owner, examples["de"].teachers[chosen], examples["de"].images[owner])
    trainer.step(batch)
    assert trainer.rates == [0.0]
    assert torch.equal(trainer.full_table(), lexicon.table), "nothing moved, idle rows neither"
    while trainer.rates[-1] == 0.0:
        trainer.step(batch)
    assert len(trainer.rates) < 60
    assert not torch.equal(trainer.full_table(), lexicon.table)
    other = TaskTrainer(tiny, Task("de", 0, lexicon, tokens.used()), compose("cll"), settings, total_steps=9)
    other.load_state_dict(trainer.state_dict())
    assert other.step(batch) == trainer.step(batch)
    assert torch.equal(other.full_table(), trainer.full_table())


def test_the_schedule_does_not_count_a_step_that_was_left_out(tiny, examples):
    """Idle rows decay by the rates that the others had, also where each parameter has a clock of its own."""
    lexicon = base_lexicon(tiny)
    tokens = tokenise(lexicon.tokenizer(), examples["de"].texts)
    owner = examples["de"].owner[:8]
    batch = Batch(tokens.inputs(torch.arange(8), lexicon.frame), owner, examples["de"].teachers[:8],
                  examples["de"].images[owner])  # fmt: skip
    for clock in ("task", "parameter"):
        settings = babelclip.TaskSettings(precision="float16", warm_up=0.5, learning_rate=1e-3, clock=clock)
        trainer = TaskTrainer(tiny, Task("de", 0, lexicon, tokens.used()), compose("cll"), settings, total_steps=8)
        trainer._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        while len(trainer.rates) - trainer.skipped < 3:
            trainer.step(batch)
        assert trainer.skipped > 2
        assert trainer.rates[: trainer.skipped] == [0.0] * trainer.skipped
        assert trainer.rates[trainer.skipped :] == pytest.approx([0.0, 0.25e-3, 0.5e-3])
        other = TaskTrainer(tiny, Task("de", 0, lexicon, tokens.used()), compose("cll"), settings, total_steps=8)
        other.load_state_dict(trainer.state_dict())
        assert other.skipped == trainer.skipped


def test_float16_gives_up_where_no_scale_mends_a_gradient(tiny, examples, quick):
    class Root(Method):
        name, idea, paper = "root", "Its value is 0 and its gradient is not a number.", "-"

        def loss_terms(self, task, step):
            return {"root": (step.rows.sum() * 0).sqrt()}

    settings = dataclasses.replace(quick, precision="float16", epochs=40)
    with pytest.raises(ModelError, match=r"the gradient's norm became nan in step \d+ of 'de'. Lower learning_rate"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([Root()]), settings)


def test_steps_that_overflow_are_counted(tiny, examples, quick, monkeypatch):
    monkeypatch.setattr(Workers, "scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=2.0**40))
    settings = dataclasses.replace(quick, precision="float16", epochs=20)
    report = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), settings)[1]
    assert 2 < report.skipped < report.steps


@pytest.mark.parametrize(("here", "other"), [(0, 3), (3, 0), (1_000_000, 999_999), (3, 3)])
def test_processes_that_would_go_on_from_different_steps_are_stopped(monkeypatch, here, other):
    """Each of them, whatever it has itself."""
    mean = (here + other) / 2
    found = iter([mean, (abs(here - mean) + abs(other - mean)) / 2])
    monkeypatch.setattr(Workers, "mean", lambda *_: torch.tensor(next(found), dtype=torch.float64))
    if here == other:
        Workers(torch.device("cpu")).agree(here, "steps")
        return
    with pytest.raises(SettingError, match=rf"process 0 of 1 goes on after {here} steps, but not every process does"):
        Workers(torch.device("cpu")).agree(here, "steps")
