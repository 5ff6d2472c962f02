"""Teach one language: grow the lexicon, tokenise once, train, keep the best or the last epoch, write the rows back."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from babelclip import __version__
from babelclip.config import TaskSettings, derive_seed
from babelclip.data import Cache, Examples
from babelclip.encoders import DualEncoder
from babelclip.encoders.tower import first_ends
from babelclip.errors import DataError, ModelError
from babelclip.lexicon import Coverage, Growth, Lexicon, Tokens, measure_coverage
from babelclip.methods import Stack, Task
from babelclip.training.batches import Batch, plan_epoch, prepare_ahead
from babelclip.training.checkpoint import Checkpoints
from babelclip.training.log import OnStep, StepReport
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


@dataclass
class _Course:
    """What the loop knows besides the trainer; goes into checkpoints."""

    seconds: float = 0.0
    tokens: int = 0
    places: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the running epoch."""
    validated: int = 0
    """Epochs that have a validation score."""
    best_score: float | None = None
    best_epoch: int = 0
    best_steps: int = 0


def train_task(
    encoder: DualEncoder,
    lexicon: Lexicon,
    examples: Examples,
    method: Stack,
    settings: TaskSettings,
    *,
    cache: Cache | None = None,
    validate: Callable[[Lexicon], float] | None = None,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Lexicon, TaskReport]:
    """Teach ``examples.language``: grow a copy of the lexicon, train the rows of its tokens, count their use.

    Args:
        encoder: the frozen base model.
        lexicon: what is known so far; it is not changed.
        examples: training texts with teacher vectors.
        method: what is added against forgetting.
        settings: the papers' recipe by default.
        cache: keeps the tokens of the texts.
        validate: scores the lexicon after each epoch, higher is better; the best epoch is kept (the papers' rule).
            Without it the last epoch is kept.
        on_step: told about every step.
        checkpoints: the task goes on from the newest, and writes new ones; it ends with the same rows bit for bit as if
            it had never been interrupted (float32 on a CPU).

    Returns:
        The lexicon afterwards, and what happened.

    Raises:
        DataError: there are fewer than 2 texts.
        ModelError: the loss is not finite any more.
        SettingError: the language was learnt before, or the checkpoints are of another run.
        FormatError: all checkpoints are damaged.
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
    tokens = (cache or Cache(None)).tokens(lexicon.tokenizer(), examples.texts)
    task = Task(examples.language, len(lexicon.snapshots) - 1, lexicon, tokens.used())
    coverage = _cover(examples, tokens, lexicon, growth)
    method.before_task(task)
    per_epoch = len(tokens) // batch_size
    trainer = TaskTrainer(encoder, task, method, settings, total_steps=per_epoch * settings.epochs)
    loop = _Loop(trainer, examples, tokens, batch_size, validate, on_step, checkpoints)
    loop.run()

    course = loop.course
    kept_rows, kept_steps = (loop.best_rows, course.best_steps) if course.best_epoch else (None, None)
    lexicon.table = trainer.full_table(kept_rows, kept_steps)
    method.after_task(task)
    lexicon.count_use(task.used)
    return lexicon, TaskReport(
        coverage=coverage, new_tokens=growth.new_tokens, overlapping_tokens=growth.overlapping_tokens,
        steps=len(trainer.rates), left_out=len(tokens) - per_epoch * batch_size,
        loss=sum(course.losses) / len(course.losses), epoch=course.best_epoch or settings.epochs,
        seconds=course.seconds, texts=len(trainer.rates) * batch_size, padding=1 - course.tokens / course.places,
        precision=trainer.workers.precision,
    )  # fmt: skip


def _cover(examples: Examples, tokens: Tokens, lexicon: Lexicon, growth: Growth) -> Coverage:
    """Coverage of the training texts."""
    num_tokens = len(lexicon.vocabulary.tokens)
    new_ids = range(num_tokens - growth.new_tokens, num_tokens)
    return measure_coverage(examples.texts, tokens, max_length=lexicon.max_length, new_ids=new_ids)


class _Loop:
    """The epochs of one task, from where the newest checkpoint stands."""

    def __init__(
        self, trainer: TaskTrainer, examples: Examples, tokens: Tokens, batch_size: int,
        validate: Callable[[Lexicon], float] | None, on_step: OnStep | None, checkpoints: Checkpoints | None,
    ) -> None:  # fmt: skip
        self.trainer, self.examples, self.tokens, self.batch_size = trainer, examples, tokens, batch_size
        self.validate, self.on_step, self.checkpoints = validate, on_step, checkpoints
        self.course = _Course()
        self.best_rows: Tensor | None = None
        self.identity = self._identify() if checkpoints is not None else {}

    def run(self) -> None:
        """Train what is left, and save as often as asked; the last step is always saved."""
        trainer, settings = self.trainer, self.trainer.settings
        self._restore()
        lexicon = trainer.task.lexicon
        lengths = self.tokens.lengths.clamp(max=lexicon.max_length - 2)
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, "order", self.examples.language))
        per_epoch = len(self.tokens) // self.batch_size
        for epoch in range(settings.epochs):
            plan = plan_epoch(lengths, self.batch_size, settings.bucket, generator)
            done = len(trainer.rates) - per_epoch * epoch  # after a restart; the plans of past epochs are only drawn
            if done == 0:
                self.course.losses = []
            ended = time.perf_counter()
            for batch in prepare_ahead(plan[done:], self._make):
                self._step(batch, epoch, per_epoch * settings.epochs, ended)
                ended = time.perf_counter()
                if self.checkpoints is not None and (
                    self.checkpoints.due or len(trainer.rates) == per_epoch * settings.epochs
                ):
                    self._save()
            if self.validate is not None and self.course.validated == epoch:
                self._score(self.validate)
                self._save()

    def _make(self, texts: Tensor) -> Batch:
        """Cut a batch; runs in the second thread."""
        lexicon, owner = self.trainer.task.lexicon, self.examples.owner[texts]
        ids = self.tokens.inputs(texts, bos=lexicon.bos, eos=lexicon.eos, max_length=lexicon.max_length)
        return Batch(ids, owner, self.examples.teachers[texts], self.examples.images[owner])

    def _step(self, batch: Batch, epoch: int, steps: int, ended: float) -> None:
        """Train on a batch, check the loss, count, and tell."""
        trainer, course = self.trainer, self.course
        terms = trainer.step(batch)
        norm = terms.pop("gradient_norm")
        loss = sum(terms.values())
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss became {loss} in step {len(trainer.rates)} of {self.examples.language!r}",
                fix=f"Lower learning_rate (now {trainer.settings.learning_rate}).",
            )
        seconds = time.perf_counter() - ended
        tokens = int((first_ends(batch.ids, trainer.task.lexicon.eos) + 1).sum())
        course.losses.append(loss)
        course.seconds += seconds
        course.tokens += tokens
        course.places += batch.ids.numel()
        if self.on_step is not None and trainer.workers.rank == 0:
            report = StepReport(
                language=self.examples.language, task=trainer.task.number, epoch=epoch + 1,
                step=len(trainer.rates), steps=steps, terms=terms, gradient_norm=norm,
                learning_rate=trainer.rates[-1], temperature=float(trainer.temperature.detach()),
                texts=len(batch.ids), tokens=tokens, places=batch.ids.numel(), seconds=seconds,
            )  # fmt: skip
            self.on_step(report)

    def _score(self, validate: Callable[[Lexicon], float]) -> None:
        """Validate the lexicon as it stands, idle rows decayed, and remember the rows of the best epoch."""
        trainer, course = self.trainer, self.course
        draft = replace(trainer.task.lexicon, table=trainer.full_table())
        score = float(trainer.workers.mean(torch.tensor(validate(draft), dtype=torch.float64)))
        course.validated += 1
        if course.best_score is None or score > course.best_score:
            course.best_score, course.best_epoch, course.best_steps = score, course.validated, len(trainer.rates)
            self.best_rows = trainer.table.rows.detach().cpu().clone()

    def _identify(self) -> dict[str, Any]:
        """What must be the same when the task is resumed."""
        trainer, examples = self.trainer, self.examples
        data = hashlib.sha256(repr((examples.texts, examples.english, examples.owner.tolist())).encode())
        start = hashlib.sha256(trainer.table.row_ids.numpy().tobytes())
        start.update(trainer.table.rows.detach().cpu().numpy().tobytes())
        return {
            "babelclip": __version__, "base model": trainer.encoder.fingerprint[:12], "language": examples.language,
            "method": trainer.method.name, "data": data.hexdigest()[:12], "rows": start.hexdigest()[:12],
            "validation": self.validate is not None, **trainer.settings.as_dict(),
        }  # fmt: skip

    def _save(self) -> None:
        """Write a checkpoint after the step that was just made."""
        trainer = self.trainer
        if self.checkpoints is None or trainer.workers.rank != 0:
            return
        tensors = {f"trainer.{name}": value for name, value in trainer.state_dict().items()}
        tensors |= {f"method.{name}": value for name, value in trainer.method.state_dict().items()}
        if self.best_rows is not None:
            tensors["best_rows"] = self.best_rows
        self.checkpoints.save(len(trainer.rates), self.identity, asdict(self.course), tensors)

    def _restore(self) -> None:
        """Go on from the newest good checkpoint, if there is one."""
        found = None if self.checkpoints is None else self.checkpoints.latest(self.identity)
        if found is None:
            return
        self.course = _Course(**found.state)
        self.best_rows = found.tensors.get("best_rows")
        for start, owner in (("trainer.", self.trainer), ("method.", self.trainer.method)):
            owner.load_state_dict({k.removeprefix(start): v for k, v in found.tensors.items() if k.startswith(start)})
