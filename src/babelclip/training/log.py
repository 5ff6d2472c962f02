"""What a run tells while it runs: one report a step, and who may want to hear it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from babelclip.errors import FormatError, MissingExtraError
from babelclip.files import cannot_write, write_whole


@dataclass(frozen=True)
class StepReport:
    """One optimiser step.

    Attributes:
        language: tag of the task.
        task: number of the task, from 0.
        epoch: from 1, of the stage.
        step: from 1, through all epochs and stages of the task.
        steps: how many the task has.
        stage: name of the stage; empty where the task has only one.
        terms: the weighted terms of the loss; their sum is the loss.
        gradient_norm: before clipping.
        learning_rate: of this step.
        temperature: of the contrastive term, after the step.
        texts: texts in the batch.
        tokens: their tokens, start and end included.
        places: size of the padded batch; ``1 - tokens / places`` is the share of padding.
        seconds: since the step before ended.
    """

    language: str
    task: int
    epoch: int
    step: int
    steps: int
    terms: dict[str, float]
    gradient_norm: float
    learning_rate: float
    temperature: float
    texts: int
    tokens: int
    places: int
    seconds: float
    stage: str = ""


OnStep = Callable[[StepReport], None]


class JsonlLog:
    """One JSON object a step, to be read with ``pandas.read_json(file, lines=True)``.

    A run that is started again goes on in the same file: lines from its first new step on are cut off, so that each
    step stands there once, and so is half a line that a killed process left.
    """

    def __init__(self, file: Path | str) -> None:
        """Write to a file; it is opened at the first step.

        Raises:
            FormatError: what stands there is no training log.
        """
        self.file = Path(file)
        self._open: Any = None
        if self.file.is_file():
            self._lines()

    def __call__(self, report: StepReport) -> None:
        """Append a step.

        Raises:
            BabelclipError: the disk is full or the place cannot be written to; the run goes on from its checkpoint.
        """
        if self._open is None and self.file.exists():
            self._cut(report)
        try:
            if self._open is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._open = self.file.open("a", encoding="utf-8")
            self._open.write(json.dumps(asdict(report), ensure_ascii=False) + "\n")
            self._open.flush()
        except OSError as error:
            raise cannot_write(self.file, error) from error

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            with suppress(OSError):  # what a full disk did not take was refused in ``__call__``
                self._open.close()
            self._open = None

    def _cut(self, report: StepReport) -> None:
        """Keep whole lines of earlier steps."""
        earlier = takewhile(lambda one: one[0] < (report.task, report.step), self._lines())
        write_whole(self.file, b"".join(line + b"\n" for _, line in earlier))

    def _lines(self) -> list[tuple[tuple[int, int], bytes]]:
        """Whole lines, each with its task and step."""
        found = []
        for number, line in enumerate(self.file.read_bytes().split(b"\n")[:-1], start=1):
            try:
                entry = json.loads(line.decode())
                found.append(((int(entry["task"]), int(entry["step"])), line))
            except (ValueError, KeyError, TypeError) as error:
                raise FormatError(
                    "not a line of a training log", file=self.file, line=number, fix="Move the file away."
                ) from error
        return found


class TensorBoardLog:
    """The same as curves for TensorBoard: ``FOLDER/LANGUAGE/`` is what it calls a run.

    As in the other log, points behind the step that an interrupted run goes on from are dropped when it goes on.
    """

    def __init__(self, folder: Path | str) -> None:
        """Write event files below a folder, from the first step on.

        Raises:
            MissingExtraError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "tensorboard", "--tensorboard") from error
        self._writers: dict[str, SummaryWriter] = {}
        self._folder, self._make = Path(folder), SummaryWriter

    def __call__(self, report: StepReport) -> None:
        """Add a point to each curve of the language."""
        if report.language not in self._writers:
            where = str(self._folder / report.language)
            self._writers[report.language] = self._make(where, purge_step=report.step)
        figures = {f"loss/{name}": value for name, value in report.terms.items()} | {
            "loss/total": sum(report.terms.values()),
            "step/gradient_norm": report.gradient_norm,
            "step/learning_rate": report.learning_rate,
            "step/temperature": report.temperature,
            "speed/texts_per_s": report.texts / report.seconds,
            "speed/tokens_per_s": report.tokens / report.seconds,
            "speed/padding": 1 - report.tokens / report.places,
        }
        for name, value in figures.items():
            self._writers[report.language].add_scalar(name, value, report.step)

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()
