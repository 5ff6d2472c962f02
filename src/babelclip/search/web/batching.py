"""Dynamic batching: while one batch is computed, what comes in meanwhile waits and is the next one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from babelclip.errors import BabelclipError

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


_Waiting = tuple[Asked, asyncio.Future[Answered], asyncio.AbstractEventLoop]


LIMIT = 512
"""Requests that may wait; below what the server takes up at once, so that the next one is told and not turned away."""


class BusyError(BabelclipError):
    """More is waiting than can be answered in good time."""

    def __init__(self, waiting: int) -> None:
        """Say how many are waiting."""
        super().__init__(f"{waiting:,} requests are waiting already", fix="Try again in a second.")


class Batcher(Generic[Asked, Answered]):
    """One thread that answers what is waiting, many at a time; nobody waits for a batch to fill.

    Attributes:
        waiting: how many wait now.
    """

    def __init__(
        self, answer: Callable[[list[Asked]], Sequence[Answered]], *, most: int = 64, limit: int = LIMIT,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Start the thread.

        Args:
            answer: computes a batch, in the thread; a mistake in one of several must not fail the others, so where
                it raises for several they are computed one by one.
            most: in a batch.
            limit: that may wait; the next one is refused.
            tell: told the size of each batch.
        """
        self._answer, self._most, self._limit, self._tell = answer, most, limit, tell
        self._queue: deque[_Waiting[Asked, Answered]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    async def ask(self, one: Asked) -> Answered:
        """Wait for the answer to one request.

        Raises:
            BusyError: ``limit`` are waiting.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()
        with self._changed:
            if self._closed or len(self._queue) >= self._limit:
                raise BusyError(len(self._queue))
            self._queue.append((one, future, loop))
            self._changed.notify()
        return await future

    def close(self) -> None:
        """Answer what is waiting, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            batch = [one for one in batch if not one[1].cancelled()]  # whoever asked has gone
            if batch:
                self._tell(len(batch))
                self._answer_all(batch)

    def _answer_all(self, batch: list[_Waiting[Asked, Answered]]) -> None:
        try:
            answers = self._answer([one for one, _, _ in batch])
        except Exception as error:  # whoever asked gets it
            if len(batch) > 1:
                for one in batch:
                    self._answer_all([one])
            else:
                _settle(batch, [error])
            return
        _settle(batch, answers)


def _settle(batch: list[_Waiting[Asked, Answered]], results: Sequence[Answered | Exception]) -> None:
    """Give results and errors to those who wait for them, in their own loop, which is woken once for all of them."""

    def settle(here: asyncio.AbstractEventLoop) -> None:
        for (_, future, loop), result in zip(batch, results, strict=True):
            if loop is not here or future.cancelled():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    for loop in {loop for _, _, loop in batch}:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, loop)
