"""Teach one language: tokenise once, batches in seeded order, the best or the last epoch, rows written back."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from babelclip.config import TaskSettings, derive_seed
from babelclip.data import Examples
from babelclip.encoders import DualEncoder
from babelclip.encoders.base import Progress
from babelclip.encoders.tower import pad
from babelclip.errors import DataError, ModelError
from babelclip.lexicon import Coverage, Lexicon, measure_coverage, tokenise
from babelclip.methods import Stack, Task
from babelclip.training.trainer import Batch, TaskTrainer


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
        seconds: time of the training loop.
        texts: texts trained on, epochs included.
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


def train_task(
    encoder: DualEncoder,
    lexicon: Lexicon,
    examples: Examples,
    method: Stack,
    settings: TaskSettings,
    *,
    validate: Callable[[Lexicon], float] | None = None,
    progress: Progress | None = None,
) -> tuple[Lexicon, TaskReport]:
    """Teach ``examples.language``: grow a copy of the lexicon, train the rows of its tokens, count their use.

    Args:
        encoder: the frozen base model.
        lexicon: what is known so far; it is not changed.
        examples: training texts with teacher vectors.
        method: what is added against forgetting.
        settings: the papers' recipe by default.
        validate: scores the lexicon after each epoch, higher is better; the best epoch is kept (the papers' rule).
            Without it the last epoch is kept.
        progress: called with (steps done, steps to do).

    Returns:
        The lexicon afterwards, and what happened.

    Raises:
        DataError: there are fewer than 2 texts.
        ModelError: the loss is not finite any more.
        SettingError: the language was learnt before.
    """
    batch_size = min(settings.batch_size, len(examples.texts))
    if batch_size < 2:
        raise DataError(f"{batch_size} training texts in {examples.language!r}", fix="Give at least 2, better 1,000.")
    lexicon = lexicon.copy()
    growth = lexicon.grow(
        examples.language, examples.texts, vocab_size=settings.vocab_size,
        initialiser=settings.initialiser or method.initialiser or "normal",
        generator=torch.Generator().manual_seed(derive_seed(settings.seed, "rows", examples.language)),
    )  # fmt: skip
    tokens = tokenise(lexicon.tokenizer(), examples.texts)
    used = torch.tensor(sorted(set(itertools.chain.from_iterable(tokens))))
    task = Task(examples.language, len(lexicon.snapshots) - 1, lexicon, used)
    num_tokens = len(lexicon.vocabulary.tokens)
    new_ids = range(num_tokens - growth.new_tokens, num_tokens)
    coverage = measure_coverage(examples.texts, tokens, max_length=lexicon.max_length, new_ids=new_ids)
    inputs = lexicon.add_specials(tokens)
    method.before_task(task)
    per_epoch = len(inputs) // batch_size
    trainer = TaskTrainer(encoder, task, method, settings, total_steps=per_epoch * settings.epochs)

    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "order", examples.language))
    best_score, best_epoch, best_table, loss = -math.inf, settings.epochs, None, 0.0
    started = time.perf_counter()
    for epoch in range(settings.epochs):
        losses = []
        for batch in _batches(inputs, examples, batch_size, settings, lexicon.eos, generator):
            terms = trainer.step(batch)
            losses.append(sum(terms.values()) - terms["gradient_norm"])
            if not math.isfinite(losses[-1]):
                raise ModelError(
                    f"the loss became {losses[-1]} in step {len(trainer.rates)} of {examples.language!r}",
                    fix=f"Lower learning_rate (now {settings.learning_rate}).",
                )
            if progress is not None:
                progress(len(trainer.rates), per_epoch * settings.epochs)
        loss = sum(losses) / len(losses)
        if validate is not None:
            lexicon.table = trainer.full_table()
            score = validate(lexicon)
            if score > best_score:
                best_score, best_epoch, best_table = score, epoch + 1, lexicon.table
    seconds = time.perf_counter() - started
    lexicon.table = trainer.full_table() if best_table is None else best_table
    method.after_task(task)
    lexicon.count_use(used)
    return lexicon, TaskReport(
        coverage, growth.new_tokens, growth.overlapping_tokens, len(trainer.rates),
        len(inputs) - per_epoch * batch_size, loss, best_epoch, seconds, len(trainer.rates) * batch_size,
    )  # fmt: skip


def _batches(
    inputs: list[list[int]], examples: Examples, batch_size: int, settings: TaskSettings, eos: int,
    generator: torch.Generator,
) -> Iterator[Batch]:  # fmt: skip
    """One epoch in random order; the last incomplete batch is dropped.

    Texts of similar length share a batch: the shuffled texts are cut into windows of ``settings.bucket`` batches, each
    window is sorted by length, and its batches come in random order.
    """
    kept = len(inputs) // batch_size * batch_size
    order = torch.randperm(len(inputs), generator=generator)[:kept]
    lengths = torch.tensor([len(ids) for ids in inputs])
    for window in order.split(settings.bucket * batch_size):
        by_length = window[lengths[window].sort(stable=True).indices] if settings.bucket > 1 else window
        batches = by_length.split(batch_size)
        for place in torch.randperm(len(batches), generator=generator).tolist():
            chosen = batches[place]
            owner = examples.owner[chosen]
            ids = pad([inputs[i] for i in chosen.tolist()], eos)
            yield Batch(ids, owner, examples.teachers[chosen], examples.images[owner])
