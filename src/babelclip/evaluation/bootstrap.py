"""How far a score would move with other test images: bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from babelclip.errors import SettingError
from babelclip.evaluation import ranks
from babelclip.evaluation.folds import cut_folds
from babelclip.evaluation.ranks import Standing
from babelclip.evaluation.recall import CUTS, METRICS, average, complete, standings_by_direction


def bootstrap_intervals(
    texts: Tensor,
    images: Tensor,
    owner: Tensor,
    *,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    folds: int = 1,
) -> dict[str, tuple[float, float]]:
    """Return (low, high) in percent for each of ``METRICS``: the percentile bootstrap over images.

    Each repeat draws N images with replacement, each with all its texts, because texts of one image are not
    independent. The gallery and with it all ranks stay as they are: only the mean over the queries is drawn anew. So
    the interval says what other queries would give on this gallery, and nothing about other seeds of training.

    Args:
        texts: (M, d) text vectors.
        images: (N, d) image vectors.
        owner: (M,) index of each text's image.
        repeats: how many times to draw.
        level: share of the drawn scores inside the interval, between 0 and 1.
        seed: equal seeds give equal intervals.
        folds: as for ``retrieval_scores``; images are drawn within each fold.

    Raises:
        SettingError: repeats is below 1, level is not between 0 and 1, or N is not a multiple of folds.
        ModelError: a vector is not finite.
        DataError: an image has no text, or a text belongs to none of the images.
    """
    if repeats < 1:
        raise SettingError(f"repeats is {repeats}", fix="It must be at least 1; 1000 is usual.")
    if not 0 < level < 1:
        raise SettingError(f"level is {level}", fix="It must be above 0 and below 1, such as 0.95.")
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for fold in cut_folds(owner, len(images), folds):
        standings = standings_by_direction(texts[fold.texts], images[fold.images], fold.owner)
        drawn.append(_draw(_per_image(standings, fold.owner), repeats, generator))
    scores = average(drawn)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low_high = {metric: scores[metric].quantile(ends).tolist() for metric in METRICS}
    return {metric: (low, high) for metric, (low, high) in low_high.items()}


def _per_image(standings: Mapping[str, Standing], owner: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return, for each recall, two (N,) float64 tensors: sum of the hits of an image's queries, and how many there are.

    Args:
        standings: as from ``standings_by_direction``.
        owner: (M,) index of each text's image.
    """
    found = {}
    for direction, standing in standings.items():
        num_images = len(standings["txt"].above)
        of = owner.cpu() if direction == "img" else torch.arange(num_images)
        queries = of.bincount(minlength=num_images).double()
        for k in CUTS:
            hits = standing.hits(k).cpu()
            found[f"{direction}_r{k}"] = (torch.zeros_like(queries).index_add(0, of, hits), queries)
    return found


def _draw(
    per_image: Mapping[str, tuple[Tensor, Tensor]], repeats: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return (repeats,) scores in percent for each metric, from the same drawn images for all metrics."""
    hits, queries = (torch.stack(columns, dim=1) for columns in zip(*per_image.values(), strict=True))
    recalls = torch.cat(
        [100 * (counts @ hits) / (counts @ queries) for counts in _counts(len(hits), repeats, generator)]
    )
    return complete(dict(zip(per_image, recalls.unbind(dim=1), strict=True)))


def _counts(num_images: int, repeats: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield (R, N) multinomial counts, how often each image was drawn in N draws, a block of repeats at a time."""
    size = max(1, ranks.BLOCK // num_images)
    for start in range(0, repeats, size):
        images = torch.randint(num_images, (min(size, repeats - start), num_images), generator=generator)
        yield torch.zeros(images.shape, dtype=torch.float64).scatter_add(1, images, torch.ones_like(images).double())
