"""Replay the reference implementation's recorded runs of oEWC, ER and DER."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from babelclip.data import Batch
from babelclip.lexicon import Tokens
from babelclip.methods import compose
from babelclip.methods.base import NONE
from babelclip.methods.memory import Samples
from babelclip.training import TaskTrainer
from test_golden import GOLDEN, SETTINGS, RecordedTower, recorded_task

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"recorded reference runs are not at {GOLDEN}")
RUNS = [("ER", "er(variant=as-released)"), ("DER", "der(variant=as-released)"),
        ("ER_with_TEIR", "er(variant=as-released)+teir")]  # fmt: skip
STRENGTHS = {"oEWC": "oewc(variant=as-released)", "oEWC_strong": "oewc(strength=1e6,variant=as-released)"}


class Recorded:
    """A memory that gives the recorded texts of each step."""

    def __init__(self):
        self.next = None

    def __len__(self):
        return 0 if self.next is None else len(self.next.sequences)

    def draw(self, count):
        assert count == len(self.next.sequences)
        return self.next


def parts(batches, k):
    names = ("input_ids", "vision_ids", "labels", "labels_ve", "from_memory", "eos_ids")
    whole = {name: torch.from_numpy(batches[f"step{k:03}/{name}"]) for name in names}
    memory = whole["from_memory"] > 0
    own = {name: value[~memory] for name, value in whole.items()}
    old = {name: value[memory] for name, value in whole.items()}
    sequences = [ids[: end + 1].tolist() for ids, end in zip(old["input_ids"], old["eos_ids"], strict=True)]
    samples = Samples(sequences, ["en"] * len(sequences), old["labels"], old["labels_ve"], old["vision_ids"])
    return Batch(own["input_ids"], own["vision_ids"], own["labels"], own["labels_ve"]), samples


def check(trainer, arrays, steps, k, found, recorded_term, term):
    recorded = steps[k]
    assert found["cross_lingual"] == pytest.approx(recorded["[TT]_loss_mse"], abs=5e-6)
    mixed = found["cross_modal"] + sum(value for name, value in found.items() if name.endswith(".mixed"))
    assert mixed == pytest.approx(0.01 * recorded["[VT]_loss_cl"], abs=5e-6)
    if recorded_term in recorded:
        assert found.get(term, 0.0) == pytest.approx(recorded[recorded_term], abs=5e-6, rel=1e-5)
    assert found["gradient_norm"] == pytest.approx(recorded["grad_norm_before_clip"], rel=1e-5)
    assert float(trainer.temperature.detach()) == pytest.approx(recorded["temp_after"], abs=5e-6)


@pytest.mark.parametrize("folder", ["1-en", "2-de", "3-zh"])
@pytest.mark.parametrize(("name", "method"), RUNS)
def test_replayed_memories_give_the_recorded_losses_and_table(name, method, folder):
    task, arrays, batches, steps = recorded_task(name, folder)
    stack = compose(method)
    replay = next(one for one in stack.methods if one.name in {"er", "der"})
    replay._memory, replay._keys = Recorded(), torch.arange(10_000)
    trainer = TaskTrainer(RecordedTower(), task, stack, SETTINGS, total_steps=len(steps))
    if "s_i_grad" in arrays:
        np.testing.assert_allclose(trainer.scale.gradient, arrays["s_i_grad"], rtol=1e-6)
    for k in range(len(steps)):
        batch, replay._memory.next = parts(batches, k)
        found = trainer.step(batch)
        check(trainer, arrays, steps, k, found, "loss_replay", f"{replay.name}.memory")
    np.testing.assert_allclose(trainer.full_table(), arrays["emb_end"], rtol=0, atol=1e-6)
    assert folder == "1-en" or any("loss_replay" in step for step in steps)


@pytest.mark.parametrize(("variant", "unexplained"), [("as-released", 12), ("defined", 291)])
def test_languages_of_the_memory_are_counted_as_recorded(variant, unexplained):
    """Of German's memory of 96 English texts those that were never drawn are not recorded: 12 more tokens."""
    task, _, batches, steps = recorded_task("ER_with_TEIR", "2-de")
    later = recorded_task("ER_with_TEIR", "3-zh")[0].lexicon.uses[: len(task.lexicon.uses)]
    texts = {"de": set(), "en": set()}
    for k, step in enumerate(steps):
        ids, ends = (batches[f"step{k:03}/{name}"] for name in ("input_ids", "eos_ids"))
        for language, row, end in zip(step["langs"], ids, ends, strict=True):
            texts[language].add(tuple(row[1:end].tolist()))
    stack = compose(f"er(variant={variant})+teir")
    replay = next(one for one in stack.methods if one.name == "er")
    drawn = sorted(texts["en"])
    memory = replay._memory
    memory.texts, memory.languages = [str(ids) for ids in drawn], ["en"] * len(drawn)
    offsets = torch.tensor([0, *map(len, drawn)]).cumsum(0)
    memory.begin = lambda task, seed: setattr(memory, "_tokens", Tokens(torch.tensor(sum(drawn, ())), offsets)) or NONE
    stack.before_task(task)
    task.lexicon.count_use(torch.tensor(sorted({piece for ids in texts["de"] for piece in ids})))
    for used in stack.more_uses(task):
        task.lexicon.count_use(used)
    short = later - task.lexicon.uses
    assert bool((short >= 0).all())
    assert int((short > 0).sum()) == unexplained


def fisher(arrays, when, width=64):
    """The recorded Fisher information as (R, width) rows."""
    flat = torch.zeros(int(arrays["fisher_len"][0]))
    flat[torch.from_numpy(arrays[f"fisher_{when}_index"])] = torch.from_numpy(arrays[f"fisher_{when}_values"])
    return flat[: len(flat) // width * width].view(-1, width)


@pytest.mark.parametrize("folder", ["1-en", "2-de", "3-zh"])
@pytest.mark.parametrize("name", STRENGTHS)
def test_recorded_fisher_information_gives_the_recorded_penalties_and_table(name, folder):
    task, arrays, batches, steps = recorded_task(name, folder)
    stack = compose(STRENGTHS[name])
    method = next(one for one in stack.methods if one.name == "oewc")
    before = fisher(arrays, "start") if folder != "1-en" else torch.zeros(0, 64)
    if len(before):
        method._fisher.add({"rows": before}, torch.arange(len(before)))
    trainer = TaskTrainer(RecordedTower(), task, stack, SETTINGS, total_steps=len(steps))
    for k in range(len(steps)):
        batch, _ = parts(batches, k)
        check(trainer, arrays, steps, k, trainer.step(batch), "loss_fisher", "oewc.penalty")
    assert (max(step["loss_fisher"] for step in steps) > 0) == (folder != "1-en")
    np.testing.assert_allclose(trainer.full_table(), arrays["emb_end"], rtol=0, atol=1e-6)

    class Finished:
        row_ids, parameters = trainer.table.row_ids, trainer.parameters

        def batches(self):
            recorded = np.load(GOLDEN / name / folder / "fisher_batches.npz")
            count = len({key.split("/")[0] for key in recorded.files if "/input_ids" in key})
            for key in sorted({key.split("/")[0] for key in recorded.files if "/input_ids" in key}):
                fields = ("input_ids", "vision_ids", "labels", "labels_ve")
                yield Batch(*(torch.from_numpy(recorded[f"{key}/{field}"]) for field in fields))
            assert count == 8

        def gradients(self, batch):
            return trainer.gradient(trainer.objective(batch))

        def last_weights(self):
            return nullcontext()  # the recorded runs had no validation

    method.after_task(task, Finished())
    found = torch.zeros(len(task.lexicon.table), 64)
    found[method._fisher.row_ids] = method._fisher._of["rows"]
    expected = fisher(arrays, "end")
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-7)
