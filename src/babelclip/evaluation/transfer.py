"""What a stream kept and what it forgot: AA, F, Fen and own (papers 2.10).

``a`` is lower triangular: ``a[i][j]`` is a score on language j after task i, both counted from 0 here and from 1 in the
papers.
"""

from __future__ import annotations

from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def average_accuracy(a: Matrix) -> float:
    """AA_i = 1/i sum_{j<=i} a_ij for the last task: the mean over all languages learnt."""
    return sum(a[-1]) / len(a[-1])


def forgetting(a: Matrix) -> float:
    """F_i = 1/(i-1) sum_{j<i} [max_{j<=k<i} a_kj - a_ij]: how far languages fell below their best. 0 after one task.

    Negative where later tasks helped.
    """
    last = len(a) - 1
    if last == 0:
        return 0.0
    return sum(_fall(a, j) for j in range(last)) / last


def first_forgetting(a: Matrix) -> float:
    """Fen_i: the same for the first language of the stream alone, English in the papers. 0 after one task."""
    return _fall(a, 0) if len(a) > 1 else 0.0


def own_accuracy(a: Matrix) -> float:
    """Mean of a_jj: each language directly after it was learnt."""
    return sum(row[-1] for row in a) / len(a)


def _fall(a: Matrix, j: int) -> float:
    """Best score of language j before the last task, minus its score now."""
    last = len(a) - 1
    return max(a[k][j] for k in range(j, last)) - a[last][j]


def summarise(a: Matrix) -> dict[str, float]:
    """Return AA, F, Fen and own of one score matrix."""
    return {"AA": average_accuracy(a), "F": forgetting(a), "Fen": first_forgetting(a), "own": own_accuracy(a)}
