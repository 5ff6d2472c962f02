"""Batches in seeded order: texts of similar length together, the next one prepared while the current one computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


class Order:
    """Which texts share a batch, epoch by epoch, from one generator.

    Attributes:
        per_epoch: batches in an epoch.
        left_out: texts that an epoch leaves out, because they do not fill a batch.
    """

    def __init__(self, lengths: Tensor, sizes: Sequence[int], batch_size: int, bucket: int) -> None:
        """Plan batches of neighbouring groups of texts; no batch mixes groups.

        An epoch has as many batches as all groups fill. Each is of a group drawn uniformly, which gives its next one
        and starts again, shuffled, when it has none left (papers 1.5). With one group this is plain shuffling.

        Args:
            lengths: (M,) tokens of each text.
            sizes: texts of each group; they add up to M. A group smaller than a batch is one smaller batch.
            batch_size: texts in a batch.
            bucket: batches in a window that is sorted by length.
        """
        self._lengths, self._bucket = list(lengths.split(list(sizes))), bucket
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        self._sizes = [min(batch_size, size) for size in sizes]
        self.per_epoch = sum(size // own for size, own in zip(sizes, self._sizes, strict=True))
        self.left_out = sum(size % own for size, own in zip(sizes, self._sizes, strict=True))
        self._waiting: list[list[Tensor]] = [[] for _ in sizes]

    def epoch(self, generator: torch.Generator) -> list[Tensor]:
        """Return the texts of each batch of the next epoch, by their places."""
        if len(self._sizes) == 1:
            return plan_epoch(self._lengths[0], self._sizes[0], self._bucket, generator)
        drawn = torch.randint(len(self._sizes), (self.per_epoch,), generator=generator)
        return [self._next(group, generator) for group in drawn.tolist()]

    def _next(self, group: int, generator: torch.Generator) -> Tensor:
        if not self._waiting[group]:
            self._waiting[group] = plan_epoch(self._lengths[group], self._sizes[group], self._bucket, generator)
        return self._waiting[group].pop(0) + self._starts[group]


def plan_epoch(lengths: Tensor, batch_size: int, bucket: int, generator: torch.Generator) -> list[Tensor]:
    """Return which texts share a batch in one epoch, in random order; the last incomplete batch is dropped.

    The shuffled texts are cut into windows of ``bucket`` batches, each window is sorted by length, and its batches come
    in random order. With ``bucket=1`` this is plain shuffling.

    Args:
        lengths: (M,) tokens of each text.
        batch_size: texts in a batch.
        bucket: batches in a window.
        generator: chance; the same state gives the same plan.
    """
    kept = len(lengths) // batch_size * batch_size
    order = torch.randperm(len(lengths), generator=generator)[:kept]
    plan = []
    for window in order.split(bucket * batch_size):
        by_length = window[lengths[window].sort(stable=True).indices] if bucket > 1 else window
        batches = by_length.split(batch_size)
        plan += [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]
    return plan


def prepare_ahead(plan: list[Tensor], make: Callable[[Tensor], Made]) -> Iterator[Made]:
    """Yield ``make(texts)`` for each entry of a plan; a second thread makes the next while the caller computes.

    That thread keeps to one core: a second team of worker threads would get in the way of the first (measured: steps of
    the built-in model took 1.7 times as long).
    """
    cores = torch.get_num_threads()
    with ThreadPoolExecutor(1, "next-batch", torch.set_num_threads, (1,)) as thread:
        try:
            ready: Future[Made] | None = None
            for texts in plan:
                following = thread.submit(make, texts)
                if ready is not None:
                    yield ready.result()
                ready = following
            if ready is not None:
                yield ready.result()
        finally:
            with suppress(RuntimeError):  # the interpreter is ending
                thread.submit(torch.set_num_threads, cores).result()  # it is also the default of threads to come
