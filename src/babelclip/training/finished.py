"""A finished task, as methods see it in ``after_task``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from babelclip.data import Batch
from babelclip.training.loop import Loop


class Finished:
    """The kept weights, the texts, and gradients of the objective on them; see ``methods.Trained``.

    Attributes:
        row_ids: (R,) ids of the rows that were trained.
        parameters: by name; they hold the weights that were kept.
        start: the same before the first step of the task.
    """

    def __init__(self, loop: Loop) -> None:
        """Put the best epoch's weights and temperature into the trainer, where a validation chose one."""
        self._loop, self._trainer = loop, loop.trainer
        self.row_ids, self.parameters = self._trainer.table.row_ids, self._trainer.parameters
        self.start = self._trainer.start
        self._last: dict[str, Tensor] = {}
        if loop.best:
            self._last = self._now()
            self._put(loop.best)

    def batches(self) -> Iterator[Batch]:
        """Yield the texts in their order, each once; the last incomplete batch is left out, as in training."""
        size, count = self._loop.batch_size, len(self._loop.tokens)
        for start in range(0, count - size + 1, size):
            yield self._loop.make(torch.arange(start, start + size))

    def gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Return the gradient of the objective alone, L_cl and L_cm, by parameter."""
        return self._trainer.gradient(self._trainer.objective(batch))

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """Return (M, dim) vectors of the task's texts, on the CPU."""
        size, count = self._loop.batch_size, len(self._loop.tokens)
        places = [torch.arange(start, min(start + size, count)) for start in range(0, count, size)]
        batches = (self._loop.make(part) for part in places)
        return torch.cat([self._trainer.encode(batch.ids, batch.languages)[0].cpu() for batch in batches])

    @contextmanager
    def last_weights(self) -> Iterator[None]:
        """Put the last epoch's weights into the parameters inside the context, whichever were kept."""
        kept = self._now() if self._last else {}
        self._put(self._last)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add to parameters, by name."""
        if terms and not self._last:
            self._last = self._now()
        for name, term in terms.items():
            self.parameters[name].add_(term)

    def _now(self) -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in self._trainer.moved.items()}

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        moved = self._trainer.moved
        for name, value in weights.items():
            moved[name].copy_(value)
