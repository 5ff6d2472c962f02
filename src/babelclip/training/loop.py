"""The epochs of one stage of a task: order, steps, validation, checkpoints, where to go on after an interruption."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from babelclip import __version__
from babelclip.acquirers import Learnt
from babelclip.config import derive_seed
from babelclip.data import Batch, Examples
from babelclip.encoders.tower import first_ends
from babelclip.lexicon import Tokens
from babelclip.training.batches import Order, prepare_ahead
from babelclip.training.checkpoint import Checkpoints
from babelclip.training.log import OnStep, StepReport
from babelclip.training.trainer import TaskTrainer


@dataclass(frozen=True)
class Validation:
    """What chooses the best epoch.

    Attributes:
        score: of what is learnt, higher is better.
        data: identifies the validation data; a run that is resumed must have the same.
    """

    score: Callable[[Learnt], float]
    data: str = ""


@dataclass(frozen=True)
class Part:
    """Where a loop stands in its task.

    Attributes:
        stage: name of the stage; empty where the task has only one.
        before: steps of earlier stages.
        steps: of the whole task.
    """

    stage: str
    before: int
    steps: int


@dataclass
class Course:
    """What the loop knows besides the trainer; goes into checkpoints."""

    seconds: float = 0.0
    texts: int = 0
    tokens: int = 0
    places: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the running epoch."""
    validated: int = 0
    """Epochs that have a validation score."""
    best_score: float | None = None
    best_epoch: int = 0
    best_steps: int = 0


class Loop:
    """The epochs of one stage, from where the newest checkpoint stands.

    Attributes:
        course: losses, counts and the best epoch.
        best: parameters and temperature of the best epoch so far, by name; empty without validation.
    """

    def __init__(
        self, trainer: TaskTrainer, examples: Examples, tokens: Tokens, order: Order, part: Part,
        validation: Validation | None, on_step: OnStep | None, checkpoints: Checkpoints | None,
    ) -> None:  # fmt: skip
        """Prepare; see ``train_task`` for the arguments."""
        self.trainer, self.examples, self.tokens, self.order, self.part = trainer, examples, tokens, order, part
        self.batch_size = min(trainer.settings.batch_size, len(tokens))
        self.validation, self.on_step, self.checkpoints = validation, on_step, checkpoints
        self._tags = examples.tags() if examples.parts else None
        self.course = Course()
        self.best: dict[str, Tensor] = {}
        self.identity = self._identify() if checkpoints is not None else {}

    def run(self) -> None:
        """Train what is left, and save as often as asked; the last step is always saved."""
        trainer, settings = self.trainer, self.trainer.settings
        self._restore()
        names = (self.examples.language, *([self.part.stage] if self.part.stage else []))
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, "order", *names))
        per_epoch = self.order.per_epoch
        for epoch in range(settings.epochs):
            plan = self.order.epoch(generator)
            done = len(trainer.rates) - per_epoch * epoch  # after a restart; the plans of past epochs are only drawn
            if done == 0:
                self.course.losses = []
            ended = time.perf_counter()
            for batch in prepare_ahead(plan[done:], self.make):
                self._step(batch, epoch, ended)
                ended = time.perf_counter()
                if self.checkpoints is not None and (
                    self.checkpoints.due or len(trainer.rates) == per_epoch * settings.epochs
                ):
                    self._save()
            if self.validation is not None and self.course.validated == epoch:
                self._score(self.validation)
                self._save()

    def make(self, texts: Tensor) -> Batch:
        """Cut a batch of texts, given by their places; runs in the second thread."""
        lexicon, owner = self.trainer.task.lexicon, self.examples.owner[texts]
        ids = self.tokens.inputs(texts, lexicon.frame)
        tags = None if self._tags is None else [self._tags[place] for place in texts.tolist()]
        return Batch(ids, owner, self.examples.teachers[texts], self.examples.images[owner], texts, tags)

    def _step(self, batch: Batch, epoch: int, ended: float) -> None:
        """Train on a batch, check the loss, count, and tell."""
        trainer, course = self.trainer, self.course
        terms = trainer.step(batch)
        norm = terms.pop("gradient_norm")
        loss = sum(terms.values())
        seconds = time.perf_counter() - ended
        tokens = int((first_ends(batch.ids, trainer.task.lexicon.eos) + 1).sum())
        course.losses.append(loss)
        course.seconds += seconds
        course.texts += len(batch.ids)
        course.tokens += tokens
        course.places += batch.ids.numel()
        if self.on_step is not None and trainer.workers.rank == 0:
            report = StepReport(
                language=self.examples.language, task=trainer.task.number, epoch=epoch + 1,
                step=self.part.before + len(trainer.rates), steps=self.part.steps, terms=terms, gradient_norm=norm,
                learning_rate=trainer.rates[-1], temperature=float(trainer.temperature.detach()),
                texts=len(batch.ids), tokens=tokens, places=batch.ids.numel(), seconds=seconds,
                stage=self.part.stage,
            )  # fmt: skip
            self.on_step(report)

    def _score(self, validation: Validation) -> None:
        """Validate what is learnt as it stands, idle rows decayed, and remember the parameters of the best epoch."""
        trainer, course = self.trainer, self.course
        draft = Learnt(trainer.task.lexicon.with_table(trainer.full_table()), trainer.modules)
        score = float(trainer.workers.mean(torch.tensor(validation.score(draft), dtype=torch.float64)))
        course.validated += 1
        if course.best_score is None or score > course.best_score:
            course.best_score, course.best_epoch, course.best_steps = score, course.validated, len(trainer.rates)
            self.best = {name: one.detach().cpu().clone() for name, one in trainer.moved.items()}

    def _identify(self) -> dict[str, Any]:
        """What must be the same when the task is resumed."""
        trainer, examples = self.trainer, self.examples
        start = hashlib.sha256(trainer.table.row_ids.numpy().data)
        for parameter in trainer.parameters.values():
            start.update(parameter.detach().cpu().numpy().ravel().data)
        return {
            "babelclip": __version__, "base model": trainer.encoder.fingerprint[:12], "language": examples.language,
            "method": trainer.method.name, "stage": self.part.stage, "data": examples.fingerprint(),
            "validation data": None if self.validation is None else self.validation.data,
            "rows": start.hexdigest()[:12], **trainer.workers.machine(), **trainer.settings.as_dict(),
        }  # fmt: skip

    def _save(self) -> None:
        """Write a checkpoint after the step that was just made."""
        trainer = self.trainer
        if self.checkpoints is None or trainer.workers.rank != 0:
            return
        tensors = {f"trainer.{name}": value for name, value in trainer.state_dict().items()}
        tensors |= {f"method.{name}": value for name, value in trainer.method.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        self.checkpoints.save(self.identity, asdict(self.course), tensors)

    def _restore(self) -> None:
        """Go on from the newest good checkpoint, if there is one."""
        found = None if self.checkpoints is None else self.checkpoints.latest(self.identity)
        if found is not None:
            self.course = Course(**found.state)
            self.best = _under("best.", found.tensors)
            self.trainer.load_state_dict(_under("trainer.", found.tensors))
            self.trainer.method.load_state_dict(_under("method.", found.tensors))
        self.trainer.workers.agree(len(self.trainer.rates), "steps")


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin alike, without that beginning."""
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
