"""Teach one language: grow the lexicon, tokenise once, train, keep the best or the last epoch, write the rows back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from babelclip.acquirers import Acquirers, Learnt
from babelclip.config import TaskSettings, derive_seed
from babelclip.data import Cache, Examples
from babelclip.encoders import DualEncoder
from babelclip.errors import DataError, SettingError
from babelclip.languages import NATIVE, language_part
from babelclip.lexicon import Coverage, Lexicon, MultilingualLexicon, Tokens, Wish, measure_coverage
from babelclip.methods import Stack, Task
from babelclip.training.batches import Order
from babelclip.training.checkpoint import Checkpoints
from babelclip.training.finished import Finished
from babelclip.training.log import OnStep
from babelclip.training.loop import Loop, Part, Validation
from babelclip.training.trainer import TaskTrainer


@dataclass(frozen=True)
class TaskReport:
    """What happened in a task.

    Attributes:
        coverage: how the language's tokens fit its training texts.
        new_tokens: rows that were appended.
        overlapping_tokens: tokens of the language that existed before.
        steps: optimiser steps.
        skipped: those of them that moved nothing, because a gradient overflowed in float16.
        left_out: texts of an epoch that fell into its last, incomplete batch.
        loss: mean of the total loss over the last epoch.
        epoch: the epoch of the last stage whose rows were kept, counted from 1.
        epochs: how many that stage had.
        seconds: time of the training loop, of all its runs where it was interrupted.
        stages: the same of each stage, where the task has several.
        texts: texts trained on, epochs included.
        padding: share of the batches' places, 0 to 1, that were padding.
        precision: what the tower ran in; differs from the setting where the device lacks it.
    """

    coverage: Coverage
    new_tokens: int
    overlapping_tokens: int
    steps: int
    skipped: int
    left_out: int
    loss: float
    epoch: int
    epochs: int
    seconds: float
    stages: dict[str, float]
    texts: int
    padding: float
    precision: str


def train_task(
    encoder: DualEncoder,
    learnt: Learnt,
    examples: Examples,
    method: Stack,
    settings: TaskSettings,
    *,
    cache: Cache | None = None,
    validation: Validation | None = None,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
    again: bool = False,
) -> tuple[Learnt, TaskReport]:
    """Teach ``examples.language``: grow a copy of the lexicon, train rows and modules, count the tokens' use.

    Args:
        encoder: the frozen base model.
        learnt: what is known so far; it is not changed.
        examples: training texts with teacher vectors.
        method: what is added against forgetting.
        settings: the papers' recipe by default.
        cache: keeps the tokens of the texts.
        validation: scores what is learnt after each epoch; the best epoch is kept (the papers' rule).
            Without it the last epoch is kept.
        on_step: told about every step.
        checkpoints: the task goes on from the newest, and writes new ones; it ends with the same rows bit for bit as if
            it had never been interrupted (float32 on a CPU).
        again: go on with languages that were learnt before, with their words and modules as they are.

    Returns:
        What is known afterwards, and what happened.

    Raises:
        DataError: there are fewer than 2 texts.
        ModelError: the loss is not finite any more.
        SettingError: the language was learnt before, or is to be learnt ``again`` and was not, or the checkpoints are
            of another run.
        FormatError: all checkpoints are damaged.
    """
    for language in examples.languages:
        if isinstance(learnt.lexicon, MultilingualLexicon) and language_part(language) == NATIVE:
            raise SettingError(
                f"{language!r} is the base model's own beside a multilingual lexicon: there is nothing to learn",
                fix="Leave it out, or learn without the multilingual lexicon.",
            )
    if len(examples.texts) < 2:
        raise DataError(
            f"{len(examples.texts)} training texts in {examples.language!r}", file=examples.source,
            fix="Give at least 2, better 1,000.",
        )  # fmt: skip
    stages = method.stages(settings)
    settings = next(iter(stages.values()))
    lexicon = learnt.lexicon.copy()
    known, before = len(lexicon.table), set(lexicon.snapshots)
    if again and before.isdisjoint(examples.languages):
        raise SettingError(
            f"{', '.join(examples.languages)} is to be learnt again, but the languages learnt so far are "
            f"{', '.join(lexicon.languages) or 'none'}",
            fix="Start from the model that has learnt it (--base), or learn it without --again (again=True).",
        )
    chance = _chance(settings, "rows", examples.language)
    growths = [
        lexicon.grow(language, examples.texts[part], Wish.of(settings),
                     initialiser=settings.initialiser or "normal", generator=chance)
        for language, part in examples.by_language() if not (again and language in before)
    ]  # fmt: skip
    tokens = (cache or Cache(None)).tokens(lexicon.tokenizer(), examples.texts)
    task = Task(
        examples.language, len(before - set(examples.languages)), lexicon, tokens.used(), seed=settings.seed,
        examples=examples, tokens=tokens,
        encode_before=lambda texts, language: learnt.encode(encoder, texts, language, training=True),
    )  # fmt: skip
    new_ids = range(known, len(lexicon.table))
    coverage = measure_coverage(examples.texts, tokens, room=lexicon.frame.room, new_ids=new_ids)
    method.before_task(task)
    task = replace(task, replayed=method.extra_rows(task, replayed=True))
    modules = _begin_modules(encoder, learnt, method, settings, examples.languages, again=again)
    orders = {name: _order(stage, examples, tokens, lexicon) for name, stage in stages.items()}
    counts = {name: orders[name].per_epoch * stage.epochs for name, stage in stages.items()}
    loops: dict[str, Loop] = {}
    start: dict[str, Tensor] = {}
    for name, stage in stages.items():
        trainer = TaskTrainer(encoder, task, method, stage, total_steps=counts[name], modules=modules, start=start)
        start = trainer.start
        part = Part(name, sum(counts[one] for one in loops), sum(counts.values()))
        inside = checkpoints if checkpoints is None or not name else checkpoints.inside(name)
        loops[name] = loop = Loop(trainer, examples, tokens, orders[name], part, validation, on_step, inside)
        loop.run()
        finished = Finished(loop)
        if len(loops) < len(stages):
            method.after_stage(task, finished)
        else:
            for moves in (True, False):
                finished.add(method.after_task(task, finished, moves=moves))
        lexicon.table = trainer.full_table(steps=loop.course.best_steps if loop.course.best_epoch else None)
    for language, texts in examples.by_language():
        if language not in before:
            lexicon.count_use(tokens.part(texts).used())
        else:  # its rows were trained on texts as they are cut today
            lexicon.snapshots[language] = lexicon.vocabulary.size
    for used in method.more_uses(task):
        lexicon.count_use(used)

    course, courses = loop.course, {name: one.course for name, one in loops.items()}
    remembered = method.remember(learnt.remembered, examples.languages)
    return Learnt(lexicon, modules.copy(), remembered), TaskReport(
        coverage=coverage, new_tokens=len(new_ids),
        overlapping_tokens=sum(growth.overlapping_tokens for growth in growths),
        steps=sum(counts.values()), skipped=sum(one.trainer.skipped for one in loops.values()),
        left_out=loop.order.left_out, loss=sum(course.losses) / len(course.losses),
        epoch=course.best_epoch or trainer.settings.epochs, epochs=trainer.settings.epochs,
        seconds=sum(one.seconds for one in courses.values()),
        stages={name: one.seconds for name, one in courses.items() if name},
        texts=sum(one.texts for one in courses.values()),
        padding=1 - sum(one.tokens for one in courses.values()) / sum(one.places for one in courses.values()),
        precision=trainer.workers.precision,
    )  # fmt: skip


def _order(settings: TaskSettings, examples: Examples, tokens: Tokens, lexicon: Lexicon) -> Order:
    """The batches of a stage."""
    sizes = [len(tokens)]
    if settings.batches == "language":
        sizes = [part.stop - part.start for _, part in examples.by_language()]
    lengths = tokens.lengths.clamp(max=lexicon.frame.room)
    return Order(lengths, sizes, settings.batch_size, settings.bucket)


def _chance(settings: TaskSettings, *names: str) -> torch.Generator:
    """Chance that depends on the seed and on names, never on the method."""
    return torch.Generator().manual_seed(derive_seed(settings.seed, *names))


def _begin_modules(
    encoder: DualEncoder, learnt: Learnt, method: Stack, settings: TaskSettings, languages: Sequence[str], *,
    again: bool,
) -> Acquirers:  # fmt: skip
    """Copy the modules known so far, and make those of new languages."""
    modules, shape = learnt.acquirers.copy(), encoder.text_tower.shape
    wanted = method.acquirers(shape)
    for name, kind in wanted.items():
        known = modules.kinds.setdefault(name, kind)
        if known.options != kind.options:
            raise SettingError(
                f"{name} was learnt with {known.options}, and is to go on with {kind.options}",
                fix="Go on with the same options, or start from the base model.",
            )
        for language in languages:
            if not (again and language in known.modules):
                known.begin(language, encoder, _chance(settings, name, language))
    return modules
