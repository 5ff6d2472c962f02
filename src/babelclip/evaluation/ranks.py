"""Recall in both directions by counting: how many candidates score higher than the right one? Nothing is sorted.

Ties: equal scores stand in random order, and the recall is its exact expectation over those orders. A model that gives
every pair the same score gets chance level, never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.errors import ModelError

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

    Raises:
        ModelError: a vector is not finite; it would rank first everywhere.
    """
    for name, vectors in (("text", texts), ("picture", images)):
        if not vectors.isfinite().all():
            raise ModelError(
                f"{int((~vectors.isfinite()).any(dim=1).sum())} of {len(vectors)} {name} vectors are not finite",
                fix="The model is broken or overflowed: learn again with a lower learning_rate.",
            )
    texts, images = normalize(texts, dim=-1), normalize(images, dim=-1)
    numbers = torch.arange(len(texts), device=owner.device)
    by_image = owner.argsort(stable=True)
    return _stand(texts, images, numbers, owner), _stand(images, texts, owner[by_image], by_image)


def _stand(queries: Tensor, candidates: Tensor, of: Tensor, right: Tensor) -> Standing:
    """Count for each query, a block of queries at a time.

    Args:
        queries: (Q, d) unit vectors.
        candidates: (C, d) unit vectors.
        of: (P,) query of each pair that belongs together, ascending; every query has one.
        right: (P,) candidate of each pair.
    """
    counts = []
    size = max(1, BLOCK // len(candidates))
    for start in range(0, len(queries), size):
        scores = queries[start : start + size] @ candidates.T
        first, last = torch.searchsorted(of, torch.tensor([start, start + len(scores)], device=of.device)).tolist()
        rows = of[first:last] - start
        own = scores[rows, right[first:last]]
        best = torch.full_like(scores[:, 0], -torch.inf).scatter_reduce_(0, rows, own, reduce="amax")
        among = torch.zeros_like(rows[:1]).expand(len(scores)).scatter_add(0, rows, (own == best[rows]).to(rows.dtype))
        above = (scores > best[:, None]).sum(1, dtype=torch.int32)
        level = (scores == best[:, None]).sum(1, dtype=torch.int32) - among
        counts.append((above.long(), level.long(), among))
    return Standing(*(torch.cat(parts) for parts in zip(*counts, strict=True)))
