"""Every caption of a language as a search: at which place its picture stands, and what stands before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.data import Examples
from babelclip.evaluation import bootstrap_intervals, chance_scores
from babelclip.evaluation.ranks import Standing, count_standings

CUTS = (1, 10)
INSTEAD = 3
"""Pictures that are shown beside the right one."""
BLOCK = 2**20  # scores held at a time


@dataclass(frozen=True)
class Score:
    """How often a picture is among the first ``cut``, all in percent.

    Attributes:
        cut: how many pictures are looked at.
        own: with the captions of the language.
        low: lower end of the 95 % interval of ``own``, a bootstrap over pictures.
        high: its upper end.
        english: with the English captions of the same pictures and the base model.
        chance: with pictures in random order.
    """

    cut: int
    own: float
    low: float
    high: float
    english: float
    chance: float


@dataclass(frozen=True)
class Search:
    """One caption as a search.

    Attributes:
        caption: its number among the captions.
        picture: number of its own picture.
        first: best place at which its picture can be said to stand, counted from 1.
        last: worst one; another than ``first`` where pictures have exactly the same score.
        english: the same as ``first`` with the English caption.
        instead: numbers of the best other pictures, best first.
    """

    caption: int
    picture: int
    first: int
    last: int
    english: int
    instead: tuple[int, ...]


@dataclass(frozen=True)
class Searches:
    """All captions of a language as searches, M of them over N pictures.

    Attributes:
        scores: for each of ``CUTS``.
        ranks: (M,) expected place of each caption's picture, counted from 1; float64.
        english: (M,) best place with the English captions, counted from 1; int64.
        standing: of the captions.
        margin: (M,) cosine of the own picture less that of the best other one.
        instead: (M, K) numbers of the best other pictures, best first; K is at most ``INSTEAD``.
        owner: (M,) number of each caption's picture.
    """

    scores: tuple[Score, ...]
    ranks: Tensor
    english: Tensor
    standing: Standing
    margin: Tensor
    instead: Tensor
    owner: Tensor

    def search(self, caption: int) -> Search:
        """Return one of them."""
        above, level = int(self.standing.above[caption]), int(self.standing.level[caption])
        return Search(
            caption, int(self.owner[caption]), above + 1, above + level + 1, int(self.english[caption]),
            tuple(self.instead[caption].tolist()),
        )  # fmt: skip

    def best(self, count: int) -> list[Search]:
        """Those whose picture is first, alone, with the largest distance to the second; each picture once."""
        first = ((self.standing.above == 0) & (self.standing.level == 0)).nonzero().squeeze(1).tolist()
        margin = self.margin.tolist()
        return self._once(sorted(first, key=lambda caption: (-margin[caption], caption)), count)

    def worst(self, count: int) -> list[Search]:
        """Those whose picture stands furthest behind; each picture once, and none that is first."""
        ranks = self.ranks.tolist()
        missed = [caption for caption, rank in enumerate(ranks) if rank > 1]
        return self._once(sorted(missed, key=lambda caption: (-ranks[caption], caption)), count)

    def _once(self, captions: list[int], count: int) -> list[Search]:
        """The first captions of different pictures."""
        chosen: dict[int, int] = {}
        for caption in captions:
            chosen.setdefault(int(self.owner[caption]), caption)
        return [self.search(caption) for caption in list(chosen.values())[:count]]


def run_searches(texts: Tensor, examples: Examples) -> Searches:
    """Search all pictures with every caption, and with its English text and the base model.

    Args:
        texts: (M, dim) vectors of the captions, not normalised.
        examples: the captions, with vectors of pictures and English texts.

    Raises:
        ModelError: a vector is not finite.
    """
    images, owner = examples.images[:], examples.owner
    standing, _ = count_standings(texts, images, owner)
    english, _ = count_standings(examples.teachers[:], images, owner)
    intervals, chance = bootstrap_intervals(texts, images, owner), chance_scores(owner, len(images))
    scores = tuple(
        Score(k, standing.recall(k), *intervals[f"img_r{k}"], english.recall(k), chance[f"img_r{k}"]) for k in CUTS
    )
    margin, instead = _others(normalize(texts, dim=-1), normalize(images, dim=-1), owner)
    return Searches(scores, standing.ranks(), english.above + 1, standing, margin, instead, owner)


def _others(texts: Tensor, images: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Return (M,) margins and (M, K) best other pictures, for (M, dim) and (N, dim) unit vectors."""
    count = min(INSTEAD, len(images) - 1)
    margins, found = [], []
    size = max(1, BLOCK // len(images))
    for start in range(0, len(texts), size):
        scores = texts[start : start + size] @ images.T
        mine = owner[start : start + size, None]
        own = scores.gather(1, mine).squeeze(1)
        best = scores.scatter(1, mine, -torch.inf).topk(count, dim=1)
        margins.append(own - best.values[:, 0] if count else torch.full_like(own, torch.inf))
        found.append(best.indices)
    return torch.cat(margins), torch.cat(found)
