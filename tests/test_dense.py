"""Contract 3: a compact table trains as the whole one does, against a dense, obvious implementation of the step."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import CLIPModel

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.data.examples import base_lexicon
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.insert import TowerShape
from babelclip.encoders.tower import encode_batch, pad
from babelclip.lexicon import Wish, tokenise
from babelclip.methods import METHODS, Step, Task, compose
from babelclip.methods.teir import SCALES
from babelclip.objectives import contrastive, distillation
from babelclip.training import TaskTrainer, train_task

STEPS = 30
# Stages set another optimiser (test_mla.py); modules are no rows (test_acquirers.py); packs have no second task.
ROWS_ONLY = [
    name
    for name in METHODS
    if METHODS[name]().acquirer(TowerShape(1, 4, 1, 4)) is None
    and not (METHODS[name]().stage() or METHODS[name].isolated)
]
MORE = ["er(variant=as-released)", "er+teir", "oewc+teir", "oewc+er", *(f"teir(scale={one})" for one in SCALES)]


def make_task(tiny, examples) -> tuple[Task, list[list[int]]]:
    lexicon = base_lexicon(tiny)
    lexicon.grow("de", examples.texts, Wish(400), initialiser="normal", generator=torch.Generator().manual_seed(0))
    sequences = lexicon.encode(examples.texts)
    used = torch.tensor(sorted({i for ids in sequences for i in ids} - {lexicon.bos, lexicon.eos}))
    lexicon.uses[used[::3]] += 2
    return Task("de", 0, lexicon, used), sequences


def second_task(tiny, examples, name, rows):
    """A task behind another, with what the method keeps of that: twice, because methods draw from a state of theirs."""
    stack, ru = compose(name), examples["ru"]
    settings = TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, warm_up=0)
    learnt, _ = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, settings)
    lexicon = learnt.lexicon.copy()
    lexicon.grow("ru", ru.texts, Wish(400), initialiser="normal", generator=torch.Generator().manual_seed(0))
    lexicon.table = lexicon.table.to(rows)
    sequences = lexicon.encode(ru.texts)
    used = torch.tensor(sorted({i for ids in sequences for i in ids} - {lexicon.bos, lexicon.eos}))
    task = Task("ru", 1, lexicon, used, examples=ru, tokens=tokenise(lexicon.tokenizer(), ru.texts),
                encode_before=lambda texts, language: learnt.encode(tiny, texts, language))  # fmt: skip
    for _ in range(3):
        again = compose(name)
        again.load_state_dict({key: value.clone() for key, value in stack.state_dict().items()})
        again.before_task(task)
        yield replace(task, replayed=again.extra_rows(task, replayed=True)), sequences, again


def batches(sequences, examples, eos):
    for k in range(STEPS):
        chosen = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(k))[:8]
        ids = pad([sequences[i] for i in chosen], eos)
        owner = examples.owner[chosen]
        yield Batch(ids, owner, examples.teachers[chosen], examples.images[owner], chosen)


def dense_training(tiny, task, method, settings, all_batches):
    """The papers' step (2.6) on the full table, written out; float64, the tower in the precision of the table."""
    precision, eos = task.lexicon.table.dtype, task.lexicon.eos
    table = task.lexicon.table.double().clone()
    start = table.to(precision)
    temperature = torch.tensor(settings.temperature, dtype=torch.float64)
    scale = method.row_scale(task)
    moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in (table, temperature)]
    for k, batch in enumerate(all_batches):
        temperature = temperature.clamp(0.001, 0.5)
        rows, tau = (one.detach().clone().to(precision).requires_grad_() for one in (table, temperature))
        texts, _ = encode_batch(tiny, rows, batch.ids, eos)
        teachers, images = batch.teachers.to(texts), batch.images.to(texts)
        step = Step(
            row_ids=torch.arange(len(table)), parameters={"rows": rows}, start={"rows": start}, texts=texts,
            teachers=teachers, images=images, image_ids=batch.image_ids, cross_modal=settings.cross_modal,
            compare=lambda one, other, ids, tau=tau: contrastive(one, other, ids, tau), places=batch.places,
            inserts=[], encode=lambda sequences, _, rows=rows: encode_batch(tiny, rows, pad(sequences, eos), eos)[0],
            gradient=lambda loss, rows=rows: {"rows": torch.autograd.grad(loss, rows)[0]}, gather=lambda one: one,
        )  # fmt: skip
        loss = settings.cross_lingual * distillation(texts, teachers)
        loss = loss + settings.cross_modal * contrastive(texts, images, batch.image_ids, tau)
        (loss + sum(method.loss_terms(task, step).values())).backward()
        rows.grad += method.gradient_terms(task, step).get("rows", 0)
        gradients = [rows.grad.double(), tau.grad.double()]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        gradients = [g * min(1.0, settings.clip_norm / (norm + 1e-6)) for g in gradients]
        warm_up = int(settings.warm_up * STEPS)
        rate = settings.learning_rate * min(1.0, k / warm_up)
        table = table * (1 - rate * settings.weight_decay * scale.decay[:, None].double())
        if settings.scale_at == "gradient":
            gradients[0] = gradients[0] * scale.gradient[:, None].double()
        updated = []
        for parameter, gradient, moment in zip((table, temperature), gradients, moments, strict=True):
            moment[0] = settings.beta1 * moment[0] + (1 - settings.beta1) * gradient
            moment[1] = settings.beta2 * moment[1] + (1 - settings.beta2) * gradient**2
            first = moment[0] / (1 - settings.beta1 ** (k + 1))
            second = moment[1] / (1 - settings.beta2 ** (k + 1))
            change = rate * first / (second.sqrt() + settings.epsilon)
            if settings.scale_at == "update" and parameter is table:
                change = scale.gradient[:, None].double() * change
            updated.append(parameter - change)
        table, temperature = updated
    return table, temperature


@pytest.mark.parametrize("names", ["cll", "cll+teir"])
def test_compact_equals_dense(tiny, examples, names):
    """Contract 3."""
    task, sequences = make_task(tiny, examples["de"])
    settings = TaskSettings(learning_rate=1e-3, batch_size=8, weight_decay=0.3)
    method = compose(names)
    trainer = TaskTrainer(tiny, task, method, settings, total_steps=STEPS)
    for batch in batches(sequences, examples["de"], task.lexicon.eos):
        trainer.step(batch)
    dense, temperature = dense_training(
        tiny, task, method, settings, batches(sequences, examples["de"], task.lexicon.eos)
    )
    found = trainer.full_table()
    moved = float((found - task.lexicon.table).abs().max())
    assert moved > 0.01
    # A float32 step of Adam can differ by a share of the rate where a gradient is as small as epsilon.
    torch.testing.assert_close(found.double(), dense, rtol=0, atol=2e-3 * moved)
    assert float((found.double() - dense).abs().mean()) < 1e-6
    assert float(trainer.temperature.detach()) == pytest.approx(float(temperature), abs=1e-5)


class DoubleTower:
    """The tiny model's text tower in float64."""

    device = torch.device("cpu")

    def __init__(self, folder):
        model = CLIPModel.from_pretrained(folder).eval().double().requires_grad_(False)
        self.text_tower = FrozenTextTower(model.text_model, model.text_projection)


@pytest.mark.parametrize("place", ["gradient", "update"])
@pytest.mark.parametrize("name", [*ROWS_ONLY, *MORE])
def test_in_float64_compact_and_dense_are_one(tiny, tiny_folder, examples, name, place):
    """Contract 3: 1e-10, for each method in its second task, after all steps and where someone looks in the middle."""
    encoder = DoubleTower(tiny_folder)
    settings = TaskSettings(learning_rate=1e-3, batch_size=8, weight_decay=0.3, scale_at=place)
    (task, sequences, method), (_, _, whole), (_, _, part) = second_task(tiny, examples, name, torch.float64)
    settings = method.settle(settings)
    trainer = TaskTrainer(encoder, task, method, settings, total_steps=STEPS)
    everything = list(batches(sequences, examples["ru"], task.lexicon.eos))
    for done, batch in enumerate(everything, start=1):
        trainer.step(batch)
        if done == 7:
            middle = trainer.table.rows.detach().clone()
            halfway = dense_training(encoder, task, part, settings, everything[:7])[0]
            torch.testing.assert_close(trainer.full_table(), halfway, rtol=0, atol=1e-10)
    dense, temperature = dense_training(encoder, task, whole, settings, everything)
    torch.testing.assert_close(trainer.full_table(), dense, rtol=0, atol=1e-10)
    assert float(trainer.temperature.detach()) == pytest.approx(float(temperature), abs=1e-10)
    torch.testing.assert_close(trainer.full_table(middle, 7), halfway, rtol=0, atol=1e-10)
    assert float((trainer.full_table() - task.lexicon.table).abs().max()) > 0.01
