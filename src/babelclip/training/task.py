"""Teach one language: grow the lexicon, tokenise once, train, keep the best or the last epoch, write the rows back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch

from babelclip.acquirers import Acquirers, Learnt
from babelclip.config import TaskSettings, derive_seed
from babelclip.data import Cache, Examples
from babelclip.encoders import DualEncoder
from babelclip.errors import DataError, SettingError
from babelclip.lexicon import Coverage, measure_coverage
from babelclip.methods import Stack, Task
from babelclip.training.checkpoint import Checkpoints
from babelclip.training.finished import Finished
from babelclip.training.log import OnStep
from babelclip.training.loop import Loop
from babelclip.training.trainer import TaskTrainer


@dataclass(frozen=True)
class TaskReport:
    """What happened in a task.

    Attributes:
        coverage: how the language's tokens fit its training texts.
        new_tokens: rows that were appended.
        overlapping_tokens: tokens of the language that existed before.
        steps: optimiser steps.
        left_out: texts of an epoch that fell into its last, incomplete batch.
        loss: mean of the total loss over the last epoch.
        epoch: the epoch whose rows were kept, counted from 1.
        seconds: time of the training loop, of all its runs where it was interrupted.
        texts: texts trained on, epochs included.
        padding: share of the batches' places, 0 to 1, that were padding.
        precision: what the tower ran in; differs from the setting where the device lacks it.
    """

    coverage: Coverage
    new_tokens: int
    overlapping_tokens: int
    steps: int
    left_out: int
    loss: float
    epoch: int
    seconds: float
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
    validate: Callable[[Learnt], float] | None = None,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
    identity: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Learnt, TaskReport]:
    """Teach ``examples.language``: grow a copy of the lexicon, train rows and modules, count the tokens' use.

    Args:
        encoder: the frozen base model.
        learnt: what is known so far; it is not changed.
        examples: training texts with teacher vectors.
        method: what is added against forgetting.
        settings: the papers' recipe by default.
        cache: keeps the tokens of the texts.
        validate: scores what is learnt after each epoch, higher is better; the best epoch is kept (the papers' rule).
            Without it the last epoch is kept.
        on_step: told about every step.
        checkpoints: the task goes on from the newest, and writes new ones; it ends with the same rows bit for bit as if
            it had never been interrupted (float32 on a CPU).
        identity: what else must be the same when the task goes on from a checkpoint, such as the validation data.

    Returns:
        What is known afterwards, and what happened.

    Raises:
        DataError: there are fewer than 2 texts.
        ModelError: the loss is not finite any more.
        SettingError: the language was learnt before, or the checkpoints are of another run.
        FormatError: all checkpoints are damaged.
    """
    batch_size = min(settings.batch_size, len(examples.texts))
    if batch_size < 2:
        raise DataError(f"{batch_size} training texts in {examples.language!r}", fix="Give at least 2, better 1,000.")
    settings = method.settle(settings)
    lexicon = learnt.lexicon.copy()
    known = len(lexicon.table)
    chance = _chance(settings, "rows", examples.language)
    growths = [
        lexicon.grow(language, examples.texts[part], vocab_size=settings.vocab_size,
                     initialiser=settings.initialiser or "normal", generator=chance)
        for language, part in _by_language(examples)
    ]  # fmt: skip
    tokens = (cache or Cache(None)).tokens(lexicon.tokenizer(), examples.texts)
    task = Task(
        examples.language, len(lexicon.snapshots) - 1, lexicon, tokens.used(), known=known, seed=settings.seed,
        examples=examples, tokens=tokens, vectors_before=lambda: learnt.encode(encoder, examples.texts),
    )  # fmt: skip
    new_ids = range(known, len(lexicon.table))
    coverage = measure_coverage(examples.texts, tokens, max_length=lexicon.max_length, new_ids=new_ids)
    method.before_task(task)
    task = replace(task, replayed=method.extra_rows(task, replayed=True))
    per_epoch = len(tokens) // batch_size
    modules = _begin_modules(encoder, learnt, method, settings, examples.languages)
    trainer = TaskTrainer(encoder, task, method, settings, total_steps=per_epoch * settings.epochs, modules=modules)
    loop = Loop(trainer, examples, tokens, batch_size, validate, on_step, checkpoints, identity)
    loop.run()

    course, finished = loop.course, Finished(loop)
    finished.add(method.after_task(task, finished))
    lexicon.table = trainer.full_table(steps=course.best_steps if course.best_epoch else None)
    for _, part in _by_language(examples):
        lexicon.count_use(tokens.part(part).used())
    return Learnt(lexicon, modules.copy()), TaskReport(
        coverage=coverage, new_tokens=len(new_ids),
        overlapping_tokens=sum(growth.overlapping_tokens for growth in growths),
        steps=len(trainer.rates), left_out=len(tokens) - per_epoch * batch_size,
        loss=sum(course.losses) / len(course.losses), epoch=course.best_epoch or settings.epochs,
        seconds=course.seconds, texts=len(trainer.rates) * batch_size, padding=1 - course.tokens / course.places,
        precision=trainer.workers.precision,
    )  # fmt: skip


def _by_language(examples: Examples) -> Iterator[tuple[str, slice]]:
    """Where the texts of each language stand."""
    start = 0
    for language, count in examples.parts or ((examples.language, len(examples.texts)),):
        yield language, slice(start, start + count)
        start += count


def _chance(settings: TaskSettings, *names: str) -> torch.Generator:
    """Chance that depends on the seed and on names, never on the method."""
    return torch.Generator().manual_seed(derive_seed(settings.seed, *names))


def _begin_modules(
    encoder: DualEncoder, learnt: Learnt, method: Stack, settings: TaskSettings, languages: Sequence[str]
) -> Acquirers:
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
            known.begin(language, encoder, _chance(settings, name, language))
    return modules
