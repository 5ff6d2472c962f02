"""How well a lexicon covers a language: what to look at before and after teaching it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from babelclip.lexicon.tokens import Tokens


@dataclass(frozen=True)
class Coverage:
    """Figures over the training texts of one language.

    Attributes:
        texts: number of texts.
        tokens_per_text: mean number of tokens without special tokens.
        tokens_per_word: the same per white-space separated word (Chinese, Japanese and Thai have few of those).
        over_limit: share of texts, 0 to 1, that are longer than the tower's limit and are cut there.
        unused: how many of the language's own new tokens occur in none of its training texts: old merges fire first, so
            that they are never reached, or they are only steps towards longer tokens.
        once: share of all tokens of the texts, 0 to 1, that stand in them just once.
    """

    texts: int
    tokens_per_text: float
    tokens_per_word: float
    over_limit: float
    unused: int
    once: float


def measure_coverage(texts: Sequence[str], tokens: Tokens, *, room: int, new_ids: range) -> Coverage:
    """Measure how the tokens of texts fit.

    Args:
        texts: the texts.
        tokens: their tokens.
        room: pieces that the tower has places for (75 for CLIP).
        new_ids: ids that were appended for this language.
    """
    words = sum(len(text.split()) for text in texts)
    lengths = tokens.lengths
    used = tokens.used()
    reached = int(((used >= new_ids.start) & (used < new_ids.stop)).sum())
    return Coverage(
        texts=len(texts),
        tokens_per_text=int(lengths.sum()) / max(1, len(texts)),
        tokens_per_word=int(lengths.sum()) / max(1, words),
        over_limit=int((lengths > room).sum()) / max(1, len(texts)),
        unused=len(new_ids) - reached,
        once=int((torch.bincount(tokens.ids.long()) == 1).sum()) / max(1, len(tokens.ids)),
    )
