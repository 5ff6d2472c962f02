"""Ranks in both directions by counting: how many candidates score higher than the right one? Nothing is sorted.

Ties: equal scores stand in random order, and every figure is its exact expectation over those orders. A model that
gives every pair the same score gets chance level, never more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.errors import DataError, ModelError

EXACT = 2**24  # ones that float32 can add up
BLOCK = 2**20  # scores held at a time: 4 MB, whatever the size of the gallery


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
    texts, images = normalize(texts, dim=-1), normalize(images, dim=-1)
    return _stand_texts(texts, images, owner), _stand_images(images, texts, owner, sizes)


def _stand_texts(texts: Tensor, images: Tensor, owner: Tensor) -> Standing:
    """Text->image, for (M, d) and (N, d) unit vectors."""
    counts = []
    for start, scores in _blocks(texts, images):
        rows = torch.arange(len(scores), device=owner.device)
        counts.append(_count(scores, rows, owner[start : start + len(scores)]))
    return _join(counts)


def _stand_images(images: Tensor, texts: Tensor, owner: Tensor, sizes: Tensor) -> ImageStanding:
    """Image->text, for (N, d) and (M, d) unit vectors; sizes: (N,) texts of each image.

    Texts are laid out in rounds: the first text of every image, the second of those that have two, and so on, images
    with many texts first. So the maximum over the texts of each image is one of neighbouring columns.
    """
    by_image = owner.argsort(stable=True)
    of = owner[by_image]
    place = sizes.argsort(descending=True, stable=True).argsort()
    turn = torch.arange(len(of), device=of.device) - (sizes.cumsum(0) - sizes)[of]
    rounds = [int((sizes > number).sum()) for number in range(int(sizes.max()))]
    begins = torch.tensor([0, *rounds], device=of.device).cumsum(0)
    column = begins[turn] + place[of]
    laid_out = torch.empty_like(texts)
    laid_out[column] = texts[by_image]
    counts, group_counts = [], []
    for start, scores in _blocks(images, laid_out):
        stop = start + len(scores)
        first, last = torch.searchsorted(of, torch.tensor([start, stop], device=of.device)).tolist()
        counts.append(_count(scores, of[first:last] - start, column[first:last]))
        groups = _group_scores(scores, rounds)
        group_counts.append(_count(groups, torch.arange(len(scores), device=of.device), place[start:stop]))
    captions = _join(counts)
    return ImageStanding(captions.above, captions.level, captions.right, _join(group_counts))


def _blocks(queries: Tensor, candidates: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of the first query and (B, C) scores of a block of B queries; B * C <= BLOCK, or B = 1."""
    size = max(1, BLOCK // len(candidates))
    for start in range(0, len(queries), size):
        yield start, queries[start : start + size] @ candidates.T


def _group_scores(scores: Tensor, rounds: list[int]) -> Tensor:
    """(B, M) scores of texts that are laid out in rounds -> (B, N) maxima over the texts of each image.

    Args:
        scores: (B, M), one column a text.
        rounds: how many images have a text in each round; the first is N.
    """
    groups: Tensor = scores[:, : rounds[0]].clone()
    for later in scores.split(rounds, dim=1)[1:]:
        torch.maximum(groups[:, : later.shape[1]], later, out=groups[:, : later.shape[1]])
    return groups


def _count(scores: Tensor, rows: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count above, level and right, (B,) each, of a block of queries.

    Args:
        scores: (B, C).
        rows: (P,) row of each pair that belongs together; every row has one.
        right: (P,) candidate of each pair.
    """
    own = scores[rows, right]
    best = torch.full_like(scores[:, 0], -torch.inf).scatter_reduce_(0, rows, own, reduce="amax")
    among = torch.zeros_like(rows[:1]).expand(len(scores)).scatter_add(0, rows, (own == best[rows]).to(rows.dtype))
    # Counted as numbers of the scores' own type: half the time of counting booleans, and exact up to EXACT.
    if scores.shape[1] > EXACT:
        scores, best = scores.double(), best.double()
    found = torch.empty_like(scores)
    above = torch.gt(scores, best[:, None], out=found).sum(1).long()
    level = torch.eq(scores, best[:, None], out=found).sum(1).long() - among
    return above, level, among


def _join(counts: list[tuple[Tensor, Tensor, Tensor]]) -> Standing:
    """Put the counts of all blocks behind each other."""
    above, level, right = (torch.cat(parts) for parts in zip(*counts, strict=True))
    return Standing(above, level, right)
