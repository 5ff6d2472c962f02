"""Ranks in both directions by counting: how many candidates score higher than the right one? Nothing is sorted.

Ties: equal scores stand in random order, and every figure is its exact expectation over those orders. A model that
gives every pair the same score gets chance level, never more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from babelclip.errors import DataError, ModelError

BLOCK = 2**18  # scores held at a time: 1 MB, whatever the size of the gallery


@dataclass(frozen=True)
class Standing:
    """Where the right answer of each query stands.

    Attributes:
        above: (Q,) number of wrong candidates with a higher score than the best right one.
        level: (Q,) number of wrong candidates with exactly its score.
        right: (Q,) number of right candidates with exactly that score, at least 1.
    """

    above: Tensor
    level: Tensor
    right: Tensor

    def hits(self, k: int) -> Tensor:
        """Return (Q,) probabilities, from 0 to 1, that a right answer is among the first k; float64.

        With r = k - above places left, it is 1 - prod_{i<r} (level - i) / (level + right - i).
        """
        miss = torch.ones(len(self.above), dtype=torch.float64, device=self.above.device)
        for i in range(k):
            room = (self.above + i) < k
            left = (self.level - i).clamp(min=0).double()
            step = left / (self.level + self.right - i).clamp(min=1)
            miss = torch.where(room, miss * step, miss)
        return 1 - miss

    def recall(self, k: int) -> float:
        """R@k in percent: the mean of ``hits``."""
        return float(100 * self.hits(k).mean())

    def ranks(self) -> Tensor:
        """Return (Q,) expected ranks of the first right answer, counted from 1; float64.

        The level candidates fall evenly into the right + 1 gaps that the right ones leave: 1 + above + level/(right+1).
        """
        return 1 + self.above + self.level.double() / (self.right + 1)

    def median_rank(self) -> float:
        """Median of ``ranks``; the mean of the two in the middle where Q is even."""
        ranks = self.ranks().sort().values
        return float((ranks[(len(ranks) - 1) // 2] + ranks[len(ranks) // 2]) / 2)


@dataclass(frozen=True)
class ImageStanding(Standing):
    """Where the best own text of each image stands among all texts (protocol ``caption``).

    Attributes:
        groups: where its own group stands among the groups (protocol ``group``).
    """

    groups: Standing


def count_standings(texts: Tensor, images: Tensor, owner: Tensor) -> tuple[Standing, ImageStanding]:
    """Rank images for each text, and texts and groups of texts for each image, by cosine similarity.

    A group is all texts of one image; an image's similarity to it is the maximum over its texts (papers 1.7).

    Args:
        texts: (M, d) text vectors, normalised here.
        images: (N, d) image vectors, normalised here.
        owner: (M,) index of the image that each text describes, in any order; each image has at least one text.

    Returns:
        The standing of each text's image among all images (text->image, (M,)), and of each image's texts (image->text,
        (N,)), both protocols from one pass over the scores.

    Raises:
        ModelError: a vector is not finite; it would rank first everywhere.
        DataError: an image has no text, so it has no right answer.
    """
    for name, vectors in (("text", texts), ("picture", images)):
        finite = vectors.norm(dim=-1).isfinite()
        if not finite.all():
            raise ModelError(
                f"{int((~finite).sum())} of {len(vectors)} {name} vectors are not finite",
                fix="The model is broken or overflowed: learn again with a lower learning_rate.",
            )
    sizes = owner.bincount(minlength=len(images))
    if not sizes.all():
        raise DataError(
            f"{int((sizes == 0).sum())} of {len(images)} pictures have no text",
            fix="Give each picture at least one text, or leave these pictures out.",
        )
    tiles = _cut_tiles(owner, sizes)
    laid = _Laid.out(normalize(images, dim=-1), normalize(texts, dim=-1), tiles)
    marks = [tile.marks(laid.scores(place, place)) for place, tile in enumerate(tiles)]
    counts = _Counts(len(owner), len(sizes), owner.device)
    for place, other in product(range(len(tiles)), repeat=2):
        counts.add(laid.scores(place, other), tiles[place], marks[place], tiles[other], marks[other])
    return counts.standings(tiles, marks)


@dataclass(frozen=True)
class _Marks:
    """What the scores of a tile are compared with.

    Attributes:
        texts: (m,) the score of each text with its image.
        images: (n,) the score of each image with its best own text; it is also that of its group.
        right: (n,) how many of its own texts have that score.
    """

    texts: Tensor
    images: Tensor
    right: Tensor


@dataclass(frozen=True)
class _Tile:
    """Some images and all of their texts.

    Texts lie in rounds: the first text of every image, the second of those that have two, and so on, images with many
    texts first. So the maximum over the texts of each image is one of neighbouring columns.

    Attributes:
        images: (n,) their numbers, those with most texts first.
        texts: (m,) numbers of their texts.
        rows: (m,) place in ``images`` of the image of each text.
        rounds: how many images have a text in each round; the first is n.
    """

    images: Tensor
    texts: Tensor
    rows: Tensor
    rounds: list[int]

    def marks(self, scores: Tensor) -> _Marks:
        """Read (n, m) scores of the tile's own images and texts."""
        own = scores[self.rows, torch.arange(len(self.rows), device=scores.device)]
        best = torch.full_like(scores[:, 0], -torch.inf).scatter_reduce_(0, self.rows, own, reduce="amax")
        right = torch.zeros_like(self.images).scatter_add(0, self.rows, (own == best[self.rows]).to(self.rows.dtype))
        return _Marks(own, best, right)

    def group_scores(self, scores: Tensor) -> Tensor:
        """(b, m) scores of the tile's texts -> (b, n) maxima over the texts of each of its images."""
        groups: Tensor = scores[:, : self.rounds[0]].clone()
        for later in scores.split(self.rounds, dim=1)[1:]:
            torch.maximum(groups[:, : later.shape[1]], later, out=groups[:, : later.shape[1]])
        return groups


class _Counts:
    """How many candidates stand above, and level with, the right ones: texts, images, and groups of texts."""

    def __init__(self, num_texts: int, num_images: int, device: torch.device) -> None:
        """Begin with none."""
        texts, images = (torch.zeros(2, count, dtype=torch.int64, device=device) for count in (num_texts, num_images))
        self.texts, self.images, self.groups = texts, images, images.clone()

    def add(self, scores: Tensor, tile: _Tile, marks: _Marks, other: _Tile, others: _Marks) -> None:
        """Count (n, m) scores of the images of one tile with the texts of another."""
        best, found = marks.images[:, None], torch.empty_like(scores)
        self.texts[:, other.texts] += _compare(scores, others.texts, 0, found)
        self.images[:, tile.images] += _compare(scores, best, 1, found)
        groups = other.group_scores(scores)
        self.groups[:, tile.images] += _compare(groups, best, 1, found[:, : groups.shape[1]])

    def standings(self, tiles: Sequence[_Tile], marks: Sequence[_Marks]) -> tuple[Standing, ImageStanding]:
        """Put the standings together; right candidates were counted as level with themselves."""
        right = torch.empty_like(self.images[0])
        for tile, mark in zip(tiles, marks, strict=True):
            right[tile.images] = mark.right
        one, each = torch.ones_like(self.texts[0]), torch.ones_like(right)
        groups = Standing(self.groups[0], self.groups[1] - 1, each)
        return (
            Standing(self.texts[0], self.texts[1] - 1, one),
            ImageStanding(self.images[0], self.images[1] - right, right, groups),
        )


def _compare(scores: Tensor, mark: Tensor, dim: int, found: Tensor) -> Tensor:
    """Return (2, ...) how many scores along a dimension are above a mark, and how many level with it.

    Counted as numbers of the scores' own type in ``found``: half the time of counting booleans, and exact, because a
    block is small (``BLOCK``).
    """
    above = torch.gt(scores, mark, out=found).sum(dim)
    return torch.stack([above, torch.eq(scores, mark, out=found).sum(dim)]).long()


def _cut_tiles(owner: Tensor, sizes: Tensor) -> list[_Tile]:
    """Deal images, with their texts, into as few tiles as ``BLOCK`` allows; (M,) owners, (N,) texts of each image.

    Images with many texts are dealt first, one to each tile in turn, so that tiles are about equally large.
    """
    dealt = sizes.argsort(descending=True, stable=True)
    count, number = len(sizes), 1 + min(len(sizes) - 1, int((len(owner) * len(sizes) / BLOCK) ** 0.5))
    while number < count and -(-count // number) * int(sizes[dealt[::number]].sum()) > BLOCK:
        number += 1
    by_image, begins = owner.argsort(stable=True), sizes.cumsum(0) - sizes
    tiles = []
    for start in range(number):
        images = dealt[start::number]
        rounds = [int((sizes[images] > turn).sum()) for turn in range(int(sizes[images[0]]))]
        texts = torch.cat([by_image[begins[images[:many]] + turn] for turn, many in enumerate(rounds)])
        rows = torch.cat([torch.arange(many, device=owner.device) for many in rounds])
        tiles.append(_Tile(images, texts, rows, rounds))
    return tiles


@dataclass(frozen=True)
class _Laid:
    """Unit vectors of (T, n, d) images and (T, m, d) texts by tile, with zeros behind those of smaller tiles.

    All products then have one size: the same two vectors have the same score wherever they stand, and ties are ties.
    """

    tiles: Sequence[_Tile]
    images: Tensor
    texts: Tensor

    @classmethod
    def out(cls, images: Tensor, texts: Tensor, tiles: Sequence[_Tile]) -> _Laid:
        """Lay (N, d) and (M, d) vectors out."""
        parts = [(images, [tile.images for tile in tiles]), (texts, [tile.texts for tile in tiles])]
        return cls(tiles, *(pad_sequence([vectors[one] for one in by], batch_first=True) for vectors, by in parts))

    def scores(self, tile: int, other: int) -> Tensor:
        """Return (n, m) scores of the images of a tile with the texts of another; n * m <= BLOCK, or n = 1."""
        scores: Tensor = self.images[tile] @ self.texts[other].T
        return scores[: len(self.tiles[tile].images), : len(self.tiles[other].texts)]
