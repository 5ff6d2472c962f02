"""Ranks in both directions by counting: how many candidates score higher than the right one? Nothing is sorted.

Ties: equal scores stand in random order, and every figure is its exact expectation over those orders. A model that
gives every pair the same score gets chance level, never more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
    layout = _Layout.of(owner, sizes)
    laid = _Laid.out(normalize(images, dim=-1), normalize(texts, dim=-1), layout)
    own = laid.texts.new_empty(len(owner))
    for place, tile in enumerate(layout.tiles):
        first, last = (int(layout.ranks[column]) // layout.height for column in (tile.start, tile.lowest))
        for block in range(first, last + 1):
            mine = layout.ranks[tile.start : tile.stop] // layout.height == block
            columns = mine.nonzero().squeeze(1)
            rows = layout.ranks[tile.start + columns] - block * layout.height
            own[tile.start + columns] = laid.scores(block, place)[rows, columns]
    return _count(laid, own)


@dataclass(frozen=True)
class _Tile:
    """Some columns of the layout: all texts of some images, or a part of the texts of one that has very many.

    Attributes:
        start: its first column.
        stop: the column behind its last one.
        rounds: how many images have a text in each round; the first is the number of its images.
        goes_on: whether the next tile has more texts of its only image.
    """

    start: int
    stop: int
    rounds: list[int]
    goes_on: bool = False

    @property
    def lowest(self) -> int:
        """The column of the first text of its last image."""
        return self.start + self.rounds[0] - 1

    def group_scores(self, scores: Tensor) -> Tensor:
        """(b, m) scores of the tile's texts -> (b, n) maxima over the texts of each of its images."""
        if self.rounds[0] == 1:
            return scores.amax(1, keepdim=True)
        groups: Tensor = scores[:, : self.rounds[0]].clone()
        for later in scores.split(self.rounds, dim=1)[1:]:
            torch.maximum(groups[:, : later.shape[1]], later, out=groups[:, : later.shape[1]])
        return groups


@dataclass(frozen=True)
class _Layout:
    """Images with many texts come first, and their texts in the same order, cut into tiles.

    In a tile texts lie in rounds: the first text of every image, the second of those that have two, and so on. So the
    maximum over the texts of each image is one of neighbouring columns.

    Attributes:
        images: (N,) numbers of the images.
        texts: (M,) numbers of the texts.
        ranks: (M,) place in ``images`` of the image of each text.
        tiles: of the texts.
        height: images of a block; times the texts of a tile at most ``BLOCK``.
    """

    images: Tensor
    texts: Tensor
    ranks: Tensor
    tiles: list[_Tile]
    height: int

    @classmethod
    def of(cls, owner: Tensor, sizes: Tensor) -> _Layout:
        """Lay out texts with (M,) owners; (N,) texts of each image."""
        width = max(1, min(len(owner), BLOCK, round((BLOCK * len(owner) / len(sizes)) ** 0.5)))
        images = sizes.argsort(descending=True, stable=True)
        by_image, begins = owner.argsort(stable=True), (sizes.cumsum(0) - sizes)[images]
        counts = sizes[images]
        ends, here = counts.cumsum(0), owner.device
        tiles: list[_Tile] = []
        texts, ranks = [], []
        first = start = 0
        while first < len(images):
            size = int(counts[first])
            if size > width:
                last = first + 1
                texts.append(by_image[begins[first] : begins[first] + size])
                ranks.append(torch.full((size,), first, device=here))
                cuts = [*range(0, size, width), size]
                tiles += [
                    _Tile(start + a, start + b, [1] * (b - a), goes_on=b < size) for a, b in pairwise(cuts)
                ]  # fmt: skip
            else:
                last = int(torch.searchsorted(ends, start + width, right=True))
                rounds = [int((counts[first:last] > turn).sum()) for turn in range(size)]
                texts += [by_image[begins[first : first + many] + turn] for turn, many in enumerate(rounds)]
                ranks += [torch.arange(first, first + many, device=here) for many in rounds]
                tiles.append(_Tile(start, start + sum(rounds), rounds))
            first, start = last, int(ends[last - 1])
        return cls(images, torch.cat(texts), torch.cat(ranks), tiles, min(len(images), max(1, BLOCK // width)))


@dataclass(frozen=True)
class _Laid:
    """Unit vectors of (A, height, d) images and (T, width, d) texts as laid out, with zeros where there are fewer.

    All products have one size: the same two vectors have the same score wherever they stand, and ties are ties.
    """

    layout: _Layout
    images: Tensor
    texts: Tensor

    @classmethod
    def out(cls, images: Tensor, texts: Tensor, layout: _Layout) -> _Laid:
        """Lay (N, d) and (M, d) vectors out."""
        rows, columns = images[layout.images].split(layout.height), texts[layout.texts]
        tiles = [columns[tile.start : tile.stop] for tile in layout.tiles]
        return cls(layout, pad_sequence(rows, batch_first=True), pad_sequence(tiles, batch_first=True))

    def scores(self, block: int, tile: int) -> Tensor:
        """Return (n, m) scores of the images of a block with the texts of a tile; n * m <= BLOCK."""
        columns = self.layout.tiles[tile]
        rows = min(self.layout.height, len(self.layout.images) - block * self.layout.height)
        scores: Tensor = self.images[block] @ self.texts[tile].T
        return scores[:rows, : columns.stop - columns.start]


def _count(laid: _Laid, own: Tensor) -> tuple[Standing, ImageStanding]:
    """Compare all scores with the right ones; own: (M,) score of each text with its image, as laid out."""
    layout, height = laid.layout, laid.layout.height
    best = own.new_full(layout.images.shape, -torch.inf)
    best.scatter_reduce_(0, layout.ranks, own, reduce="amax")
    right = torch.zeros_like(layout.images)
    right.scatter_add_(0, layout.ranks, (own == best[layout.ranks]).to(right.dtype))
    to_image = torch.zeros(2, len(own), dtype=torch.int64, device=own.device)
    to_text, to_group = (torch.zeros(2, len(best), dtype=torch.int64, device=own.device) for _ in range(2))
    for block in range(len(laid.images)):
        rows = slice(block * height, (block + 1) * height)
        mark, before = best[rows, None], None
        for place, tile in enumerate(layout.tiles):
            scores = laid.scores(block, place)
            to_image[:, tile.start : tile.stop] += _compare(scores, own[tile.start : tile.stop], 0)
            to_text[:, rows] += _compare(scores, mark, 1)
            groups = tile.group_scores(scores)
            groups = groups if before is None else torch.maximum(groups, before)
            before = groups if tile.goes_on else None
            if before is None:
                to_group[:, rows] += _compare(groups, mark, 1)
    # What is right was counted as level with itself.
    back, places = layout.images.argsort(), layout.texts.argsort()
    right, to_image, to_text, to_group = right[back], to_image[:, places], to_text[:, back], to_group[:, back]
    one, each = torch.ones_like(to_image[0]), torch.ones_like(right)
    groups_stand = Standing(to_group[0], to_group[1] - 1, each)
    return (
        Standing(to_image[0], to_image[1] - 1, one),
        ImageStanding(to_text[0], to_text[1] - right, right, groups_stand),
    )


def _compare(scores: Tensor, mark: Tensor, dim: int) -> Tensor:
    """Return (2, ...) how many scores along a dimension are above a mark, and how many level with it.

    Counted as numbers of the scores' own type: half the time of counting booleans, and exact, because a block is small
    (``BLOCK``).
    """
    found = torch.empty_like(scores)
    above = torch.gt(scores, mark, out=found).sum(dim)
    return torch.stack([above, torch.eq(scores, mark, out=found).sum(dim)]).long()
