"""Contract 3: a compact table trains as the whole one does, against a dense, obvious implementation of the step."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import CLIPModel

from babelclip.acquirers import Acquirers, Learnt
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
from towers import begun

STEPS = 30
# Those with modules and stages have a test of their own below; packs have no second task.
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


def decay_scales(task, settings, scale, weights):
    """How strongly each parameter decays: rows by their scale, matrices whole, vectors and the temperature not."""
    rows = scale.decay[:, None].double()
    if not settings.idle_decay:
        trained = torch.cat([task.used, torch.tensor(task.lexicon.frame.specials)])
        rows = torch.zeros_like(rows).index_copy(0, trained, rows[trained])
    return {name: float(one.dim() > 1) for name, one in weights.items()} | {"rows": rows}


def dense_training(tiny, task, method, settings, all_batches, modules=None):
    """The papers' step (2.6) on the full table and on modules, written out; float64, the tower as precise as the table.

    Returns what was trained, by name, and the temperature.
    """
    precision, eos = task.lexicon.table.dtype, task.lexicon.eos
    modules = modules or Acquirers()
    fixed = modules.tensors()
    weights = {"rows": task.lexicon.table, "temperature": torch.tensor(settings.temperature, dtype=torch.float64)}
    weights |= {name: fixed[name] for name in modules.trained(task.language, method.acquirers(TowerShape(1, 4, 1, 4)))}
    weights = {name: one.double() for name, one in weights.items()}
    start = weights["rows"].to(precision)
    scale = method.row_scale(task)
    decays = decay_scales(task, settings, scale, weights)
    moments = {name: [torch.zeros_like(one), torch.zeros_like(one)] for name, one in weights.items()}
    for k, batch in enumerate(all_batches):
        weights["temperature"] = weights["temperature"].clamp(0.001, 0.5)
        leaves = {name: one.detach().clone().to(precision).requires_grad_() for name, one in weights.items()}
        rows, tau = leaves["rows"], leaves["temperature"]
        modules.load({name: leaves.get(name, one) for name, one in fixed.items()}, torch.device("cpu"))
        tags = [task.language] * len(batch.ids)
        texts, inserts = encode_batch(tiny, rows, batch.ids, eos, modules, tags, training=True)
        teachers, images = batch.teachers.to(texts), batch.images.to(texts)
        step = Step(
            row_ids=torch.arange(len(rows)), parameters={"rows": rows}, start={"rows": start}, texts=texts,
            teachers=teachers, images=images, image_ids=batch.image_ids, cross_modal=settings.cross_modal,
            compare=lambda one, other, ids, tau=tau: contrastive(one, other, ids, tau), places=batch.places,
            inserts=inserts, gather=lambda one: one,
            encode=lambda sequences, _, rows=rows: encode_batch(tiny, rows, pad(sequences, eos), eos)[0],
            gradient=lambda loss, rows=rows: {"rows": torch.autograd.grad(loss, rows)[0]},
        )  # fmt: skip
        loss = settings.cross_lingual * distillation(texts, teachers)
        loss = loss + settings.cross_modal * contrastive(texts, images, batch.image_ids, tau)
        (loss + sum(method.loss_terms(task, step).values())).backward()
        rows.grad += method.gradient_terms(task, step).get("rows", 0)
        gradients = {name: one.grad.double() for name, one in leaves.items()}
        if not settings.learn_temperature:
            del gradients["temperature"]
        norms = {name: math.sqrt(float((one**2).sum())) for name, one in gradients.items()}
        if settings.clip == "global":
            norms = dict.fromkeys(norms, math.sqrt(sum(norm**2 for norm in norms.values())))
        warm_up = int(settings.warm_up * STEPS)
        rate = settings.learning_rate * min(1.0, k / warm_up)
        if settings.schedule == "cosine" and k >= warm_up:
            rate *= 0.5 * (1 + math.cos(math.pi * k / STEPS))
        for name, whole in gradients.items():
            gradient = whole * min(1.0, settings.clip_norm / (norms[name] + 1e-6))
            if settings.scale_at == "gradient" and name == "rows":
                gradient = gradient * scale.gradient[:, None].double()
            moment = moments[name]
            moment[0] = settings.beta1 * moment[0] + (1 - settings.beta1) * gradient
            moment[1] = settings.beta2 * moment[1] + (1 - settings.beta2) * gradient**2
            first, second = moment
            if settings.optimiser == "adamw":
                first = first / (1 - settings.beta1 ** (k + 1))
                second = second / (1 - settings.beta2 ** (k + 1))
            change = rate * first / (second.sqrt() + settings.epsilon)
            if settings.scale_at == "update" and name == "rows":
                change = scale.gradient[:, None].double() * change
            weights[name] = weights[name] * (1 - rate * settings.weight_decay * decays[name]) - change
    return weights


@pytest.mark.parametrize("names", ["cll", "cll+teir"])
def test_compact_equals_dense(tiny, examples, names):
    """Contract 3."""
    task, sequences = make_task(tiny, examples["de"])
    settings = TaskSettings(learning_rate=1e-3, batch_size=8, weight_decay=0.3)
    method = compose(names)
    trainer = TaskTrainer(tiny, task, method, settings, total_steps=STEPS)
    for batch in batches(sequences, examples["de"], task.lexicon.eos):
        trainer.step(batch)
    whole = dense_training(tiny, task, method, settings, batches(sequences, examples["de"], task.lexicon.eos))
    dense, temperature = whole["rows"], whole["temperature"]
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
            halfway = dense_training(encoder, task, part, settings, everything[:7])["rows"]
            torch.testing.assert_close(trainer.full_table(), halfway, rtol=0, atol=1e-10)
    dense = dense_training(encoder, task, whole, settings, everything)
    torch.testing.assert_close(trainer.full_table(), dense["rows"], rtol=0, atol=1e-10)
    assert float(trainer.temperature.detach()) == pytest.approx(float(dense["temperature"]), abs=1e-10)
    torch.testing.assert_close(trainer.full_table(middle, 7), halfway, rtol=0, atol=1e-10)
    assert float((trainer.full_table() - task.lexicon.table).abs().max()) > 0.01


@pytest.mark.parametrize("names", ["full", "lora", "ptuning", "dualprompt", "coda", "mla+teir", "mla+nlt", "mla+le"])
def test_in_float64_modules_and_stages_are_one_with_the_dense_step(deep, deep_folder, deep_examples, names):
    """Contract 3 beside modules of another language, which stay: decay, clipping and Adam of all parameters."""
    encoder, method, de = DoubleTower(deep_folder), compose(names), deep_examples["de"]
    task, sequences = make_task(deep, de)
    task.lexicon.table = task.lexicon.table.double()
    wanted = TaskSettings(learning_rate=1e-3, batch_size=8, weight_decay=0.3)
    (settings,) = method.stages(wanted).values()
    settings = replace(settings, learning_rate=1e-3)
    modules = begun(deep, *method.acquirers(deep.text_tower.shape), noise=0.02)
    modules.load({name: one.double() for name, one in modules.tensors().items()}, deep.device)
    before, other = modules.tensors(), modules.copy()
    trainer = TaskTrainer(encoder, task, method, settings, total_steps=STEPS, modules=modules)
    some = list(batches(sequences, de, task.lexicon.eos))[:10]
    for batch in some:
        trainer.step(batch)
    dense = dense_training(encoder, task, method, settings, some, other)
    torch.testing.assert_close(trainer.full_table(), dense.pop("rows"), rtol=0, atol=1e-10)
    assert float(trainer.temperature.detach()) == pytest.approx(float(dense.pop("temperature")), abs=1e-10)
    for name, one in modules.tensors().items():
        torch.testing.assert_close(one, dense.get(name, before[name]), rtol=0, atol=1e-10)
        assert (name in dense) == (not torch.equal(one, before[name])), name
