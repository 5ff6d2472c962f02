"""The results file: what was measured, on what, how, and at what cost. Checked on writing and on reading.

docs/results.md explains each key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from babelclip.errors import FormatError
from babelclip.evaluation.recall import METRICS, RANKS
from babelclip.evaluation.transfer import Matrix, forward_transfer, summarise
from babelclip.files import write_whole

FORMAT = 2
Percent = Annotated[float, Field(ge=0, le=100)]
Rank = Annotated[float, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Base(_Strict):
    """The base model, and whose words languages are taught with: ``own``, or a multilingual lexicon's."""

    name: str
    fingerprint: Sha256
    lexicon: str = "own"


SEEN = "pictures also in training"


class Data(_Strict):
    """The data: its name, a fingerprint of its content, and counts such as texts per language and split.

    ``counts["GALLERY pictures also in training"]`` is how many pictures of a gallery stand in some language's training
    texts too.
    """

    name: str
    fingerprint: Sha256
    counts: dict[str, int]


class Cost(_Strict):
    """What a run cost: the only part of a results file that differs between two runs of the same seed.

    Of ``scored_texts``, ``encoded_texts`` were encoded; the rest could not have changed since the score before. A
    stream that is measured on several galleries carries the same cost in each of its runs.
    """

    train_s: float
    eval_s: float
    peak_mb: float
    texts_per_s: float
    scored_texts: int
    encoded_texts: int


class Run(_Strict):
    """One stream taught with one method and one seed, measured on one gallery a language.

    ``scores[metric][i][j]`` is the score on language ``order[j]`` after task i, in percent, lower triangular;
    ``ranks`` holds median ranks in the same way. For language j, ``before[metric][j]`` is the score directly before its
    task, ``initial[metric][j]`` that of the untouched start, ``intervals[metric][j]`` the 95 % bootstrap interval over
    pictures of its last score, and ``new_tokens[j]`` the number of rows that its task appended.
    """

    method: str
    seed: int
    order: list[str]
    gallery: str
    needs_language: bool
    settings: dict[str, str | int | float | bool | None]
    scores: dict[str, list[list[Percent]]]
    ranks: dict[str, list[list[Rank]]]
    before: dict[str, list[Percent]]
    initial: dict[str, list[Percent]]
    intervals: dict[str, list[tuple[Percent, Percent]]]
    chance: dict[str, Percent]
    summary: dict[str, dict[str, float]]
    new_tokens: list[int]
    bytes_per_token: int
    module_bytes: int = 0
    memory_bytes: int = 0
    cost: Cost

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        parts = {
            name: getattr(self, name) for name in ("scores", "before", "initial", "intervals", "chance", "summary")
        }
        for part, found, expected in (*((part, found, METRICS) for part, found in parts.items()),
                                      ("ranks", self.ranks, RANKS)):  # fmt: skip
            if set(found) != set(expected):
                raise ValueError(f"{part} has the metrics {sorted(found)}, expected {sorted(expected)}")
        for metric, matrix in (self.scores | self.ranks).items():
            lengths = [len(row) for row in matrix]
            if lengths != list(range(1, len(self.order) + 1)):
                raise ValueError(f"scores[{metric!r}] has rows of {lengths} entries, expected 1 to {len(self.order)}")
        for part in ("before", "initial", "intervals"):
            for metric, values in parts[part].items():
                if len(values) != len(self.order):
                    raise ValueError(f"{part}[{metric!r}] has {len(values)} entries, expected {len(self.order)}")
        if len(self.new_tokens) != len(self.order):
            raise ValueError(f"new_tokens has {len(self.new_tokens)} entries, expected {len(self.order)}")
        for metric, matrix in self.scores.items():
            for key, value in summarise_run(matrix, self.before[metric], self.initial[metric]).items():
                stored = self.summary[metric].get(key)
                if stored is None or abs(stored - value) > 1e-6:
                    raise ValueError(f"summary[{metric!r}][{key!r}] is {stored}, but the scores give {value}")
        return self


def summarise_run(scores: Matrix, before: Sequence[float], initial: Sequence[float]) -> dict[str, float]:
    """Return AA, F, Fen, own, BWT and FWT of one metric of a run."""
    return summarise(scores) | {"FWT": forward_transfer(before, initial)}


class Results(_Strict):
    """A whole results file; ``code`` is the sha256 of the code that scores depend on."""

    format: int = FORMAT
    version: str
    code: Sha256
    base: Base
    data: Data
    runs: list[Run]

    @model_validator(mode="after")
    def _check_runs(self) -> Self:
        keys = sorted((run.method, run.seed, run.order, run.gallery, json.dumps(run.settings)) for run in self.runs)
        for one, next_one in pairwise(keys):
            if one == next_one:
                raise ValueError(f"two runs of method {one[0]!r} with seed {one[1]}, the same order and gallery")
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
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise FormatError(
            "there is no such file", file=file, fix="`babelclip bench run` and `demo` make one."
        ) from error
    except ValueError as error:
        raise FormatError(f"not JSON: {error}", file=file, fix="Run again what wrote it.") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise FormatError(
            f"results format {found}, this babelclip reads {FORMAT}", file=file, fix="Use a matching babelclip."
        )
    try:
        return Results.model_validate(content)
    except ValidationError as error:
        raise FormatError(
            f"not a results file: {_first(error)}", file=file, fix="docs/results.md describes the format."
        ) from error


def _first(error: ValidationError) -> str:
    """The first problem in one line, with the place in the file."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
