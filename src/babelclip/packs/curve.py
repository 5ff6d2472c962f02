"""What quality to expect from how many pairs: a curve through measured runs, and a guess for anything else.

    share(n) = top / (1 + (half / n)^slope)

``share`` is img_r10 of the language in percent of the base model's own English img_r10 on the same pictures, ``n`` the
number of training pairs. ``python bench/warm.py fit bench/results/warm.json`` prints the constants.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Attributes:
        name: language and data that it was fitted on.
        top: share that no number of pairs exceeds, percent.
        half: pairs that reach half of it.
        slope: how steep it rises.
    """

    name: str
    top: float
    half: float
    slope: float

    def share(self, pairs: float) -> float:
        """Return the expected share of the English score, percent."""
        return self.top / (1 + float((self.half / max(pairs, 1.0)) ** self.slope))


CURVES: dict[str, tuple[Curve, ...]] = {
    "random": (
        Curve("flickr8k de", 100.0, 525, 0.54),
        Curve("flickr8k fr", 92.9, 263, 0.72),
        Curve("names it", 90.6, 234, 1.20),
    ),
    "pairs": (
        Curve("flickr8k de", 100.0, 562, 0.52),
        Curve("flickr8k fr", 100.0, 251, 0.58),
        Curve("names it", 97.7, 240, 1.06),
    ),
}
"""By start; all in Latin script, like English. Chinese is far below them (docs/warm.md)."""


def expect(texts: Sequence[str], start: str) -> tuple[float, float] | None:
    """Return the lowest and the highest share, percent, that the curves of a start promise for so many texts.

    None where nothing was measured: for other starts, and where less than half of the letters are Latin.
    """
    if not is_latin(texts):
        return None
    shares = [curve.share(len(texts)) for curve in CURVES.get(start, ())]
    return (min(shares), max(shares)) if shares else None


def is_latin(texts: Sequence[str]) -> bool:
    """Whether at least half of the letters of texts are Latin; of no letters, all are."""
    letters = Counter(character for text in texts for character in text if character.isalpha())
    latin = sum(n for character, n in letters.items() if unicodedata.name(character, "").startswith("LATIN"))
    return 2 * latin >= letters.total()
