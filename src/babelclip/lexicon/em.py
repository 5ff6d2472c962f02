"""Learn the pieces of a Unigram model and their probabilities by expectation maximisation (Kudo 2018).

Begin with many frequent substrings; let EM tell how probable each is; drop those whose loss costs least; again, until
as few are left as were asked for. The library's trainer does the same, but adds up in the order of a hash table, so
that two runs give other scores, and pieces that are equally good in another order; this one gives the same each time.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

LONGEST = 16
"""Longest piece, in characters."""
SEEDS = 10
"""Substrings to begin with, as a multiple of the pieces asked for."""
KEPT = 0.75
"""Share of the pieces that each round keeps."""
SPARE = 1.1
"""Rounds end at so many times the pieces asked for; the most probable of them are taken."""
FEWEST = 0.5
"""Pieces that are expected to be used less often than this are dropped; single characters count so often at least."""
MOST = 2_000_000
"""Characters of words that are looked at, the most frequent words first; about 45 s and half a GB."""
DIGITS = 6
"""Decimals of scores, so that sums in another order make no difference."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def learn_pieces(words: Mapping[str, int], size: int, min_count: int = 0) -> list[tuple[str, float]]:
    """Return at most ``size`` pieces, the most probable first, with the logarithms of their probabilities.

    All characters are pieces, also where there are more of them. The order of ``words`` changes nothing.

    Args:
        words: how often each word occurs; pieces are parts of words.
        size: pieces asked for.
        min_count: how often a piece of several characters must occur; twice in any case.
    """
    texts = _frequent(words)
    counts = np.array([words[text] for text in texts], dtype=np.float64)
    frequent = _substrings(texts, counts, max(2, min_count))
    frequent[0] = dict.fromkeys(set().union(*words), 1) | frequent[0]
    characters = sorted(frequent[0])
    longer = _seeds(frequent, size * SEEDS)
    pieces = characters + [piece for piece, _ in longer]
    if not pieces:
        return []
    scores = np.log([*(max(1, frequent[0][one]) for one in characters), *(weight for _, weight in longer)])
    scores -= np.log(np.exp(scores).sum())
    alive = np.ones(len(pieces), dtype=bool)
    bound = np.arange(len(pieces)) < len(characters)
    prefixes = frozenset().union(*frequent)
    lattice = _Lattice.of(texts, pieces, prefixes)
    inside = _Lattice.of(pieces[len(characters) :], pieces, prefixes, whole=False)
    most = max(size, len(characters))
    while True:
        for _ in range(2):
            lattice, alive, scores, expected = _round(lattice, counts, scores, alive, bound)
        left = int(alive.sum())
        if left <= SPARE * most:
            break
        inside = inside.keep(alive)
        loss = np.full(len(pieces), np.inf)
        free = alive & ~bound
        loss[free] = expected[free] * (scores - inside.best(scores, len(characters)))[free]
        alive &= _largest(loss, pieces, max(int(SPARE * most), int(KEPT * left)), alive)
        lattice = lattice.keep(alive)
    alive &= _largest(np.where(bound, np.inf, scores), pieces, most, alive)
    _, alive, scores, _ = _round(lattice.keep(alive), counts, scores, alive, bound | alive)
    found = [(pieces[i], round(float(scores[i]), DIGITS)) for i in np.flatnonzero(alive)]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _frequent(words: Mapping[str, int]) -> list[str]:
    """Return words in the order of their letters: those that occur most often, of equal ones some at random."""
    ordered = sorted(words, key=lambda word: (-words[word], crc32(word.encode()), word))
    ends = np.cumsum([len(word) for word in ordered])
    return sorted(ordered[: max(1, int(np.searchsorted(ends, MOST, side="right")))])


def _substrings(texts: Sequence[str], counts: Floats, fewest: int) -> list[dict[str, int]]:
    """Return how often substrings occur, by their length from 1: all characters, and what occurs often enough."""
    found: list[dict[str, int]] = []
    for length in range(1, LONGEST + 1):
        before, level = found[-1] if found else {}, dict[str, int]()
        longer: list[tuple[str, float]] = []
        for text, count in zip(texts, counts, strict=True):
            seen = False
            for start in range(len(text) - length + 1):
                part = text[start : start + length]
                if length == 1 or (part[:-1] in before and part[1:] in before):
                    level[part] = level.get(part, 0) + int(count)
                    seen = True
            if seen:
                longer.append((text, count))
        texts, counts = [text for text, _ in longer], np.array([count for _, count in longer])
        found.append(level if length == 1 else {part: count for part, count in level.items() if count >= fewest})
        if not found[-1]:
            break
    return found


def _seeds(frequent: Sequence[Mapping[str, int]], most: int) -> list[tuple[str, int]]:
    """Return substrings with their frequency times length, the largest first.

    Those that only occur inside one and the same longer substring are left out.
    """
    found: list[tuple[str, int]] = []
    for length, level in enumerate(frequent[1:], start=2):
        above = frequent[length] if length < len(frequent) else {}
        within = {part for one, count in above.items() for part in (one[:-1], one[1:]) if level.get(part) == count}
        found += [(part, count * length) for part, count in level.items() if part not in within]
    return sorted(found, key=lambda one: (-one[1], one[0]))[:most]


def _largest(values: Floats, pieces: Sequence[str], count: int, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which living pieces have the largest values; of equal ones the first in the order of their letters."""
    with np.errstate(divide="ignore"):
        rounded = np.round(values, 9)
    order = sorted(np.flatnonzero(alive).tolist(), key=lambda i: (-rounded[i], pieces[i]))
    kept = np.zeros(len(pieces), dtype=bool)
    kept[order[:count]] = True
    return kept


def _round(
    lattice: _Lattice, counts: Floats, scores: Floats, alive: NDArray[np.bool_], bound: NDArray[np.bool_]
) -> tuple[_Lattice, NDArray[np.bool_], Floats, Floats]:
    """Run one E and one M step; return what is left, its scores, and how often each piece is expected."""
    expected = lattice.expect(counts, scores)
    alive = alive & (bound | (expected >= FEWEST))
    expected = np.where(alive, np.maximum(expected, FEWEST), 0.0)
    with np.errstate(divide="ignore"):
        scores = np.where(alive, _digamma(np.maximum(expected, FEWEST)) - _digamma(expected.sum()), -np.inf)
    return lattice.keep(alive), alive, scores, expected


def _digamma(values: Any) -> Any:
    """The logarithm of a count, lowered where it is small: what is seen rarely may well be chance."""
    import torch

    return torch.digamma(torch.as_tensor(values, dtype=torch.float64)).numpy()


@dataclass(frozen=True)
class _Lattice:
    """All ways to cut words into pieces: a node before, between and behind characters, an edge for each piece.

    Attributes:
        first: (W,) first node of each word.
        last: (W,) its last one.
        start: (E,) nodes where edges start, in the order of ``place``.
        end: (E,) nodes where they end.
        piece: (E,) their pieces.
        place: (E,) how many characters of the word end with the edge.
        word: (E,) their words.
    """

    first: Ints
    last: Ints
    start: Ints
    end: Ints
    piece: Ints
    place: Ints
    word: Ints

    @classmethod
    def of(
        cls, texts: Sequence[str], pieces: Sequence[str], prefixes: frozenset[str], *, whole: bool = True
    ) -> _Lattice:
        """Find all edges.

        Args:
            texts: the words.
            pieces: what they can be cut into.
            prefixes: all beginnings of pieces, and more.
            whole: whether a word may be a single piece.
        """
        id_of = {piece: i for i, piece in enumerate(pieces)}
        firsts, edges, node = array("q"), [array("q") for _ in range(5)], 0
        for word, text in enumerate(texts):
            firsts.append(node)
            size = len(text)
            for start in range(size):
                for end in range(start + 1, min(size, start + LONGEST) + 1):
                    part = text[start:end]
                    if part not in prefixes:
                        break
                    if part in id_of and (whole or end - start < size):
                        for column, value in zip(
                            edges, (node + start, node + end, id_of[part], end, word), strict=True
                        ):
                            column.append(value)
            node += size + 1
        first = np.array(firsts, dtype=np.int64)
        last = np.append(first[1:], node) - 1
        columns = [np.array(column, dtype=np.int64) for column in edges]
        order = np.lexsort((columns[0], columns[1], columns[3]))
        return cls(first, last, *(column[order] for column in columns))

    def keep(self, alive: NDArray[np.bool_]) -> _Lattice:
        """Return the lattice without the edges of pieces that are no more."""
        kept = alive[self.piece]
        if kept.all():
            return self
        columns = (self.start, self.end, self.piece, self.place, self.word)
        return _Lattice(self.first, self.last, *(column[kept] for column in columns))

    def expect(self, counts: Floats, scores: Floats) -> Floats:
        """Return how often each piece is used, over all ways to cut words, weighted by their probabilities.

        Args:
            counts: (W,) of the words.
            scores: (P,) of the pieces.
        """
        weight = scores[self.piece]
        begun = np.full(self._nodes, -np.inf)
        begun[self.first] = 0.0
        for part in _parts(self.place):
            _add_up(begun, self.start[part], self.end[part], weight[part])
        depth = self.start - self.first[self.word]
        order = np.lexsort((self.start, depth))[::-1]
        ended = np.full(self._nodes, -np.inf)
        ended[self.last] = 0.0
        start, end, heavy = self.start[order], self.end[order], weight[order]
        for part in _parts(depth[order]):
            _add_up(ended, end[part], start[part], heavy[part])
        share = np.exp(begun[self.start] + weight + ended[self.end] - begun[self.last][self.word])
        used = np.bincount(self.piece, weights=share * counts[self.word], minlength=len(scores))
        return used.astype(np.float64)

    def best(self, scores: Floats, before: int) -> Floats:
        """Return the score of the best way to cut each word, behind so many zeros."""
        weight = scores[self.piece]
        reached = np.full(self._nodes, -np.inf)
        reached[self.first] = 0.0
        for part in _parts(self.place):
            value = reached[self.start[part]] + weight[part]
            groups = _groups(self.end[part])
            reached[self.end[part][groups]] = np.maximum.reduceat(value, groups)
        return np.append(np.zeros(before), reached[self.last])

    @property
    def _nodes(self) -> int:
        return int(self.last[-1]) + 1 if len(self.last) else 0


def _parts(ordered: Ints) -> list[slice]:
    """Where equal numbers stand."""
    edges = [*_groups(ordered).tolist(), len(ordered)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _groups(ordered: Ints) -> Ints:
    """The first place of each number."""
    if not len(ordered):
        return np.empty(0, dtype=np.int64)
    return np.append(0, np.flatnonzero(np.diff(ordered)) + 1)


def _add_up(reached: Floats, source: Ints, target: Ints, weight: Floats) -> None:
    """Set reached[target] to log sum exp(reached[source] + weight); equal targets are neighbours."""
    value = reached[source] + weight
    groups = _groups(target)
    largest = np.maximum.reduceat(value, groups)
    sizes = np.diff(np.append(groups, len(target)))
    total = np.add.reduceat(np.exp(value - np.repeat(largest, sizes)), groups)
    reached[target[groups]] = largest + np.log(total)
