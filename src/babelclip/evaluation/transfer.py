"""What a stream kept, forgot and passed on: AA, F, Fen, own, BWT and FWT (papers 2.10).

``a`` is lower triangular: ``a[i][j]`` is a score on language j after task i, both counted from 0 here and from 1 in the
papers and in the formulas below. All values have the unit of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from babelclip.errors import SettingError
from babelclip.registry import Registry

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


def backward_transfer(a: Matrix) -> float:
    """BWT_i = 1/(i-1) sum_{j<i} (a_ij - a_jj): what later tasks did to earlier languages. 0 after one task.

    Negative where they were forgotten. Against F it starts from the score directly after learning, not from the best.
    """
    last = len(a) - 1
    if last == 0:
        return 0.0
    return sum(a[last][j] - a[j][j] for j in range(last)) / last


def forward_transfer(before: Sequence[float], initial: Sequence[float]) -> float:
    """FWT_i = 1/(i-1) sum_{2<=j<=i} (a_{j-1,j} - b_j): what earlier tasks did to languages not yet learnt.

    0 after one task. Positive where earlier tasks helped.

    Args:
        before: (i,) a_{j-1,j}: score on each language directly before its own task.
        initial: (i,) b_j: score of the untouched base model on each language.
            The first entries of both do not count: before its task nothing was learnt.

    Raises:
        SettingError: the two have different lengths.
    """
    if len(before) != len(initial):
        raise SettingError(
            f"before has {len(before)} scores and initial has {len(initial)}", fix="Give one a language in both."
        )
    if len(before) <= 1:
        return 0.0
    return sum(score - base for score, base in zip(before[1:], initial[1:], strict=True)) / (len(before) - 1)


def _without_first_entry(a: Matrix) -> Matrix:
    """The table with a_11 = 0: the score file of English after task 1 was missing (papers 2.10, "Known hole")."""
    return [[0.0], *a[1:]]


VARIANTS: Registry[Callable[[Matrix], Matrix]] = Registry(
    "variant", {"paper": lambda a: a, "published-coco": _without_first_entry}
)
"""Which table F and Fen are computed from: the whole one, or the one behind the published MSCOCO figures."""


def summarise(a: Matrix, variant: str = "paper") -> dict[str, float]:
    """Return AA, F, Fen, own and BWT of one score matrix.

    Args:
        a: lower-triangular scores.
        variant: a name in ``VARIANTS``. ``paper``: the formulas. ``published-coco``: F and Fen as in the published
            MSCOCO figures, in which a_11, English after its own task, counts as 0. The other values do not change.

    Raises:
        UnknownNameError: there is no such variant.
    """
    table = VARIANTS[variant](a)
    return {
        "AA": average_accuracy(a), "F": forgetting(table), "Fen": first_forgetting(table), "own": own_accuracy(a),
        "BWT": backward_transfer(a),
    }  # fmt: skip


def _fall(a: Matrix, j: int) -> float:
    """Best score of language j before the last task, minus its score now."""
    last = len(a) - 1
    return max(a[k][j] for k in range(j, last)) - a[last][j]
