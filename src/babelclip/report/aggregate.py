"""Several seeds of one method: mean and spread; two methods: how sure is the difference."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from babelclip.evaluation import Run
from babelclip.evaluation.transfer import Matrix
from babelclip.methods.names import split_names

PATTERNS = 10_000  # sign patterns that are drawn where there are more


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


def by_gallery(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by what they were measured on, in the order of first appearance."""
    galleries: dict[str, list[Run]] = {}
    for run in runs:
        galleries.setdefault(run.gallery, []).append(run)
    return galleries


def orders_of(runs: Sequence[Run]) -> list[list[str]]:
    """Return the different orders of languages, in the order of first appearance."""
    return [list(order) for order in dict.fromkeys(tuple(run.order) for run in runs)]


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs of one gallery by method and, where there are several, by order: ``cll+teir, order 2``."""
    orders = orders_of(runs)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        label = run.method if len(orders) == 1 else f"{run.method}, order {orders.index(run.order) + 1}"
        groups.setdefault(label, []).append(run)
    return groups


def summary(runs: Sequence[Run], metric: str, key: str) -> Spread:
    """Return AA, F, Fen, own, BWT or FWT of a metric over the seeds of one method."""
    return Spread.of([run.summary[metric][key] for run in runs])


def mean_matrix(runs: Sequence[Run], metric: str) -> Matrix:
    """Return the score matrix of a metric, averaged over seeds."""
    matrices = [run.scores[metric] for run in runs]
    return [[statistics.fmean(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def last_scores(runs: Sequence[Run], metric: str) -> dict[str, float]:
    """Return the score on each language after the last task, averaged over seeds."""
    order = runs[0].order
    return {language: statistics.fmean(run.scores[metric][-1][j] for run in runs) for j, language in enumerate(order)}


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p-value of paired differences: the share of sign patterns with as large a mean.

    Exact for up to 13 differences, else from 10,000 patterns drawn by chance. The smallest p of n differences is
    2 / 2^n. Languages are the pairs here: the value says how the difference varies over languages, not over seeds.
    """
    observed = abs(sum(differences)) - 1e-9
    if 2 ** len(differences) <= PATTERNS:
        patterns = list(itertools.product((1, -1), repeat=len(differences)))
    else:
        chance = random.Random(seed)
        patterns = [tuple(chance.choice((1, -1)) for _ in differences) for _ in range(PATTERNS - 1)]
        patterns.append((1,) * len(differences))
    sums = (abs(sum(sign * each for sign, each in zip(pattern, differences, strict=True))) for pattern in patterns)
    return sum(one >= observed for one in sums) / len(patterns)


def sign_test_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the exact sign test; differences of zero are left out."""
    signs = [difference > 0 for difference in differences if difference]
    fewer = min(signs.count(True), signs.count(False))
    return min(1.0, sum(math.comb(len(signs), k) for k in range(fewer + 1)) / 2.0 ** (len(signs) - 1))


def pairs_by_part(methods: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the methods that stand without and with a part: ``{"teir": [("cll", "cll+teir"), ...], ...}``."""
    parts = {method: frozenset(split_names(method, "+")) for method in methods}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for without, with_it in itertools.permutations(parts, 2):
        if parts[without] < parts[with_it]:
            part, *others = parts[with_it] - parts[without]
            if not others:
                pairs.setdefault(part, []).append((without, with_it))
    return pairs
