"""The terminal: one console, progress bars, and no chatter from libraries."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from babelclip.languages import language_name

if TYPE_CHECKING:
    import torch

    from babelclip.training import OnStep, StepReport

_silent = os.environ.get("RANK", "0") != "0"  # of the processes that torchrun starts, the first one speaks
_plain = partial(Console, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=_silent)
console, errors = _plain(), _plain(stderr=True)
"""They print what they are given: a path with brackets or colons in it is no markup."""

Report = Callable[[int, int], None]


def program() -> str:
    """How this program can be called again from where the user stands."""
    started = Path(sys.argv[0])
    if started.name != "babelclip":
        return "python -m babelclip"
    return "babelclip" if shutil.which("babelclip") else os.path.relpath(started)


def counted(number: int, what: str) -> str:
    """Return a number with what it counts: ``1 step``, ``1,000 steps``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def quieten() -> None:
    """Keep libraries from printing hints between our lines."""
    from transformers.utils import logging

    logging.set_verbosity_error()


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Show progress bars on the error stream for as long as the context lasts."""
    whole = partial(Column, no_wrap=True)  # where a line is too long, its description is wrapped
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column()),
        BarColumn(bar_width=10, table_column=whole()), MofNCompleteColumn(table_column=whole()),
        TimeElapsedColumn(table_column=whole()), TextColumn("left", table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
    )  # fmt: skip
    with _Display(*columns, console=errors) as shown:
        yield Bars(shown)


class _Display(Progress):
    """Progress lines, and under them lines of text about what runs now; all fit into 80 columns."""

    detail = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for line in self.detail.splitlines():
            yield Text(line, style="dim")


class Bars:
    """Progress lines; a line appears when something happens on it."""

    def __init__(self, shown: _Display) -> None:
        """Draw on a progress display."""
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}

    def bar(self, line: str) -> Report:
        """Return a callback (done, total) that moves a line; with the same line again it goes on in the same place."""

        def report(done: int, total: int) -> None:
            self._move(line, line, done, total)

        return report

    def rate(self, line: str) -> Report:
        """Return the same, which also shows how many are done a second."""
        report, started = self.bar(line), time.monotonic()

        def rated(done: int, total: int) -> None:
            self._shown.detail = f"{done / max(1e-9, time.monotonic() - started):,.0f} files/s"
            report(done, total)

        return rated

    def steps(self, line: str) -> OnStep:
        """Return a callback for training steps; shows loss terms, speed and padding below one line a run."""
        spent: dict[str, float] = {}
        smooth: dict[str, float] = {}

        def report(step: StepReport) -> None:
            if step.step == 1:
                spent.clear()
                smooth.clear()
            for name, value in (("texts", step.texts), ("tokens", step.tokens), ("places", step.places),
                                ("seconds", step.seconds)):  # fmt: skip
                spent[name] = spent.get(name, 0) + value
            for name, value in step.terms.items():
                smooth[name] = 0.9 * smooth.get(name, value) + 0.1 * value
            terms = " + ".join(f"{name} {value:.4f}" for name, value in smooth.items())
            padding = 1 - spent["tokens"] / spent["places"]
            self._shown.detail = (
                f"loss {sum(smooth.values()):.4f} = {terms}\n{spent['texts'] / spent['seconds']:,.0f} texts/s, "
                f"{spent['tokens'] / spent['seconds']:,.0f} tokens/s, {padding:.0%} padding"
            )
            self._move(line, f"{line} {language_name(step.language)}", step.step, step.steps)

        return report

    def _move(self, line: str, description: str, done: int, total: int) -> None:
        if line not in self._tasks:
            self._tasks[line] = self._shown.add_task(description, total=total)
        task = self._tasks[line]
        if done < self._shown.tasks[task].completed:
            self._shown.reset(task)  # the next language: time left is counted anew
        self._shown.update(task, description=description, completed=done, total=total)


def tell_all(*listeners: OnStep) -> OnStep:
    """Return a callback that tells several."""

    def tell(step: StepReport) -> None:
        for listener in listeners:
            listener(step)

    return tell


def note(message: str) -> None:
    """Print something that the user should know and that is no failure."""
    errors.print(f"note: {message}")


def tell_incomplete(videos: Sequence[Path]) -> None:
    """Say which videos are cut off or damaged inside; of those in the cache it was said when they came there."""
    if videos:
        note(f"cut-off or damaged videos: {len(videos):,}, first {videos[0]}; the frames that can be read are used")


def tell_precision(device: torch.device, asked: str) -> None:
    """Say it where a device lacks the precision that was asked for, before anything is learnt."""
    from babelclip.training import Workers

    if (used := Workers(device, asked).precision) != asked:
        note(f"this device has no {asked}; {used} is used")
