"""The results file: what was measured, on what, how, and at what cost. Checked on writing and on reading.

docs/results.md explains each key.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from babelclip.errors import FormatError
from babelclip.evaluation.recall import METRICS
from babelclip.evaluation.transfer import summarise
from babelclip.files import write_whole

FORMAT = 1
Percent = Annotated[float, Field(ge=0, le=100)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Base(_Strict):
    """The base model."""

    name: str
    fingerprint: Sha256


class Data(_Strict):
    """The data: its name, a fingerprint of its content, and counts such as texts per language and split."""

    name: str
    fingerprint: Sha256
    counts: dict[str, int]


class Cost(_Strict):
    """What a run cost: the only part of a results file that differs between two runs of the same seed."""

    train_s: float
    eval_s: float
    peak_mb: float
    texts_per_s: float


class Run(_Strict):
    """One stream taught with one method and one seed.

    ``scores[metric][i][j]`` is the score on language ``order[j]`` after task i, in percent, lower triangular.
    """

    method: str
    seed: int
    order: list[str]
    needs_language: bool
    settings: dict[str, str | int | float | bool | None]
    scores: dict[str, list[list[Percent]]]
    chance: dict[str, Percent]
    summary: dict[str, dict[str, float]]
    cost: Cost

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        for part, found in (("scores", self.scores), ("chance", self.chance), ("summary", self.summary)):
            if set(found) != set(METRICS):
                raise ValueError(f"{part} has the metrics {sorted(found)}, expected {sorted(METRICS)}")
        for metric, matrix in self.scores.items():
            lengths = [len(row) for row in matrix]
            if lengths != list(range(1, len(self.order) + 1)):
                raise ValueError(f"scores[{metric!r}] has rows of {lengths} entries, expected 1 to {len(self.order)}")
            for key, value in summarise(matrix).items():
                stored = self.summary[metric].get(key)
                if stored is None or abs(stored - value) > 1e-6:
                    raise ValueError(f"summary[{metric!r}][{key!r}] is {stored}, but the scores give {value}")
        return self


class Results(_Strict):
    """A whole results file."""

    format: int = FORMAT
    version: str
    base: Base
    data: Data
    runs: list[Run]

    @model_validator(mode="after")
    def _check_runs(self) -> Self:
        keys = sorted((run.method, run.seed, tuple(run.order)) for run in self.runs)
        for one, next_one in pairwise(keys):
            if one == next_one:
                raise ValueError(f"two runs of method {one[0]!r} with seed {one[1]} and the same order")
        return self


def write_results(results: Results, file: Path) -> None:
    """Check a results object again and write it as JSON; equal results give equal bytes.

    Raises:
        FormatError: the results contradict themselves.
    """
    try:
        checked = Results.model_validate(results.model_dump())
    except ValidationError as error:
        raise FormatError(_first(error), file=file, fix="This is a mistake in babelclip; please report it.") from error
    write_whole(file, checked.model_dump_json(indent=1) + "\n")


def read_results(file: Path) -> Results:
    """Read and check a results file.

    Raises:
        FormatError: it is missing, not JSON, of a newer format, or contradicts itself.
    """
    try:
        results = Results.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise FormatError("there is no such file", file=file, fix="Run `babelclip demo` to make one.") from error
    except ValidationError as error:
        raise FormatError(
            f"not a results file: {_first(error)}", file=file, fix="docs/results.md describes the format."
        ) from error
    if results.format != FORMAT:
        raise FormatError(
            f"results format {results.format}, this babelclip reads {FORMAT}",
            file=file,
            fix="Use a matching babelclip.",
        )
    return results


def _first(error: ValidationError) -> str:
    """The first problem in one line, with the place in the file."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
