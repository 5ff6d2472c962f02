"""Recall in both directions by counting: how many candidates score higher than the right one? Nothing is sorted.

Ties: equal scores stand in random order, and the recall is its exact expectation over those orders. A model that gives
every pair the same score gets chance level, never more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 2048  # texts scored at a time


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

    def recall(self, k: int) -> float:
        """R@k in percent: mean probability that a right answer is among the first k.

        With r = k - above places left, it is 1 - prod_{i<r} (level - i) / (level + right - i).
        """
        miss = torch.ones(len(self.above), dtype=torch.float64)
        for i in range(k):
            room = (self.above + i) < k
            left = (self.level - i).clamp(min=0).double()
            step = left / (self.level + self.right - i).clamp(min=1)
            miss = torch.where(room, miss * step, miss)
        return float(100 * (1 - miss).mean())


def count_standings(texts: Tensor, images: Tensor, owner: Tensor) -> tuple[Standing, Standing]:
    """Rank images for each text and texts for each image by cosine similarity.

    Args:
        texts: (M, d) text vectors, normalised here.
        images: (N, d) image vectors, normalised here.
        owner: (M,) index of the image that each text describes; each image has at least one text.

    Returns:
        The standing of each text's image among all images (text->image, (M,)), and of each image's best own text among
        all texts (image->text, the ``caption`` protocol, (N,)).
    """
    texts, images = normalize(texts, dim=-1), normalize(images, dim=-1)
    text_above, text_level = [], []
    best = torch.full((len(images),), -torch.inf, device=images.device)
    for scores, of in _blocks(texts, images, owner):
        own = scores.gather(1, of[:, None])
        text_above.append((scores > own).sum(1))
        text_level.append((scores == own).sum(1) - 1)
        best.scatter_reduce_(0, of, own.squeeze(1), reduce="amax")
    above, level, right = (torch.zeros(len(images), dtype=torch.int64, device=images.device) for _ in range(3))
    for scores, of in _blocks(texts, images, owner):
        is_own = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, of[:, None], True)
        equal = scores == best
        above += (scores > best).sum(0)
        level += (equal & ~is_own).sum(0)
        right += (equal & is_own).sum(0)
    to_image = Standing(torch.cat(text_above), torch.cat(text_level), torch.ones_like(owner))
    return to_image, Standing(above, level, right)


def _blocks(texts: Tensor, images: Tensor, owner: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (block of scores, owners of its texts); the same blocks each time, so equal pairs have equal scores."""
    for part, of in zip(texts.split(BLOCK), owner.split(BLOCK), strict=True):
        yield part @ images.T, of
