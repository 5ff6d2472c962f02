"""Several seeds of one method: mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from babelclip.evaluation import Run
from babelclip.evaluation.transfer import Matrix


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds (0 for a single seed)."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise values."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))

    def __str__(self) -> str:
        """One decimal, with the deviation where there are several seeds: ``61.3 ± 0.4``."""
        return f"{self.mean:.1f} ± {self.deviation:.1f}" if self.count > 1 else f"{self.mean:.1f}"


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by method, in the order of their first appearance."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.method, []).append(run)
    return groups


def summary(runs: Sequence[Run], metric: str, key: str) -> Spread:
    """Return AA, F, Fen or own of a metric over the seeds of one method."""
    return Spread.of([run.summary[metric][key] for run in runs])


def mean_matrix(runs: Sequence[Run], metric: str) -> Matrix:
    """Return the score matrix of a metric, averaged over seeds."""
    matrices = [run.scores[metric] for run in runs]
    return [[statistics.fmean(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
