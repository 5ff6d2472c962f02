"""What is mixed up with what: pairs of pictures, pictures that stand in the way, captions that say the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from babelclip.report.language.searches import Searches

OFTEN = 3
"""A picture stands in the way where at least so many captions of other pictures find it first."""


@dataclass(frozen=True)
class Pair:
    """Two pictures that are mixed up in both directions.

    Attributes:
        pictures: their numbers, the smaller one first.
        captions: numbers of the captions of one that find the other first.
    """

    pictures: tuple[int, int]
    captions: tuple[int, ...]


@dataclass(frozen=True)
class InTheWay:
    """A picture that is found first by captions of others.

    Attributes:
        picture: its number.
        captions: numbers of these captions.
    """

    picture: int
    captions: tuple[int, ...]


@dataclass(frozen=True)
class SameWords:
    """One caption that stands for several pictures: no search can tell them apart.

    Attributes:
        text: the caption.
        pictures: their numbers.
    """

    text: str
    pictures: tuple[int, ...]


def find_pairs(searches: Searches) -> list[Pair]:
    """Return the pairs of pictures of which a caption of each finds the other first, the most captions first."""
    captions = defaultdict(list)
    for caption, (own, first) in _wrong(searches):
        captions[own, first].append(caption)
    pairs = [
        Pair((own, first), tuple(sorted(of + captions[first, own])))
        for (own, first), of in list(captions.items())
        if own < first and (first, own) in captions
    ]
    return sorted(pairs, key=lambda pair: (-len(pair.captions), pair.pictures))


def find_in_the_way(searches: Searches) -> list[InTheWay]:
    """Return the pictures that at least ``OFTEN`` captions of others find first, the most captions first."""
    captions = defaultdict(list)
    for caption, (_, first) in _wrong(searches):
        captions[first].append(caption)
    often = [InTheWay(first, tuple(of)) for first, of in captions.items() if len(of) >= OFTEN]
    return sorted(often, key=lambda one: (-len(one.captions), one.picture))


def find_same_words(texts: Sequence[str], searches: Searches) -> list[SameWords]:
    """Return the captions that are given, small and capital letters aside, to more than one picture."""
    pictures: dict[str, dict[int, None]] = defaultdict(dict)
    written: dict[str, str] = {}
    for text, picture in zip(texts, searches.owner.tolist(), strict=True):
        pictures[text.lower()][picture] = None
        written.setdefault(text.lower(), text)
    same = [SameWords(written[key], tuple(of)) for key, of in pictures.items() if len(of) > 1]
    return sorted(same, key=lambda one: (-len(one.pictures), one.text))


def count_lost(searches: Searches) -> Counter[bool]:
    """Return how many captions find another picture first (True), and how many their own (False)."""
    return Counter((searches.standing.above > 0).tolist())


def _wrong(searches: Searches) -> list[tuple[int, tuple[int, int]]]:
    """Number, own picture and first picture of the captions that find another one first."""
    wrong = (searches.standing.above > 0).nonzero().squeeze(1).tolist()
    return [(caption, (int(searches.owner[caption]), int(searches.instead[caption, 0]))) for caption in wrong]
