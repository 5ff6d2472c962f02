"""The terminal: one console, progress bars, and no chatter from libraries."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)

Report = Callable[[int, int], None]


def program() -> str:
    """How this program can be called again from where the user stands."""
    started = Path(sys.argv[0])
    if started.name != "babelclip":
        return "python -m babelclip"
    return "babelclip" if shutil.which("babelclip") else os.path.relpath(started)


def quieten() -> None:
    """Keep libraries from printing hints between our lines."""
    from transformers.utils import logging

    logging.set_verbosity_error()


@contextmanager
def progress_bars() -> Iterator[Callable[..., Report]]:
    """Yield ``bar(line, detail="")``, which returns a callback (done, total).

    A line appears when something happens on it; calling ``bar`` again with the same line goes on in the same place.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(line: str, detail: str = "") -> Report:
            def report(done: int, total: int) -> None:
                if line not in tasks:
                    tasks[line] = bars.add_task(line)
                bars.update(tasks[line], description=f"{line} {detail}".rstrip(), completed=done, total=total)

            return report

        yield bar
