"""Which English token a new token stands for, judged by the training pairs alone: IBM Model 1."""

from __future__ import annotations

import torch
from torch import Tensor

from babelclip.lexicon import Tokens

ROUNDS = 5
MOST_PAIRS = 20_000
"""Pairs that are looked at, the first ones; more take memory and hardly change the rows."""


def align(foreign: Tokens, english: Tokens, *, rounds: int = ROUNDS) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate how often each token of a language is the counterpart of each English one.

    IBM Model 1 (Brown et al. 1993): each place of a foreign text is the counterpart of one place of its English text or
    of none (NULL). With t(f | e) = 1 at first, each round spreads a place f over the English places,
    q(e) = t(f | e) / sum_e' t(f | e'), adds them up, c(f, e) = sum q(e), and sets t(f | e) = c(f, e) / sum_f' c(f', e).

    Args:
        foreign: tokens of M texts.
        english: tokens of their English texts.
        rounds: of the estimate.

    Returns:
        Foreign ids (K,), English ids (K,) and counts c (K,) float64 of all pairs that occur, NULL left out.
    """
    count = min(len(foreign), MOST_PAIRS)
    foreign, english = foreign.part(slice(0, count)), english.part(slice(0, count))
    null = int(english.ids.max()) + 1 if len(english.ids) else 0
    # Each foreign place meets the English places of its text and NULL, one entry each.
    sizes = (english.lengths + 1).repeat_interleave(foreign.lengths)
    place = torch.arange(len(foreign.ids)).repeat_interleave(sizes)
    text = torch.arange(count).repeat_interleave(foreign.lengths)
    first = english.offsets[text]
    within = torch.arange(len(place)) - (sizes.cumsum(0) - sizes)[place]
    last = within == sizes[place] - 1
    met = torch.where(last, null, torch.cat([english.ids, english.ids.new_zeros(1)])[
        torch.where(last, len(english.ids), first[place] + within)].long())  # fmt: skip
    both, entry = (foreign.ids.long()[place] * (null + 1) + met).unique(return_inverse=True)
    f, e = both // (null + 1), both % (null + 1)
    chance = torch.ones(len(both), dtype=torch.float64)
    counts = chance
    for _ in range(rounds):
        weight = chance[entry]
        whole = torch.zeros(len(foreign.ids), dtype=torch.float64).index_add_(0, place, weight)
        counts = torch.zeros_like(chance).index_add_(0, entry, weight / whole[place])
        total = torch.zeros(null + 1, dtype=torch.float64).index_add_(0, e, counts)
        chance = counts / total[e]
    kept = e != null
    return f[kept], e[kept], counts[kept]
