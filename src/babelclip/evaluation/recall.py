"""The papers' retrieval scores: recalls in percent with their chance level, and median ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import TypeVar

from torch import Tensor

from babelclip.evaluation.folds import cut_folds
from babelclip.evaluation.ranks import Standing, count_standings

CUTS = (1, 5, 10)
DIRECTIONS = ("img", "txt", "txt_group")
METRICS = (
    *(f"img_r{k}" for k in CUTS), *(f"txt_r{k}" for k in CUTS), "r_mean", *(f"txt_group_r{k}" for k in CUTS), "ar",
)  # fmt: skip
"""In percent, higher is better."""
RANKS = tuple(f"{direction}_medr" for direction in DIRECTIONS)
"""Median ranks, counted from 1, lower is better."""

Score = TypeVar("Score", float, Tensor)


def retrieval_scores(texts: Tensor, images: Tensor, owner: Tensor, *, folds: int = 1) -> dict[str, float]:
    """Score one language: ``METRICS`` in percent, then ``RANKS``.

    ``img_r@k``: text->image, share of texts whose image is among the first k images. ``txt_r@k``: image->text, protocol
    ``caption``: share of images with an own text among the first k of all texts. ``txt_group_r@k``: image->text,
    protocol ``group``: share of images whose group of texts is among the first k groups; the similarity to a group is
    the maximum over its texts (papers 1.7). Others call these "image retrieval" and "text retrieval".
    ``r_mean`` = 1/2 [mean(txt_r1, txt_r5, txt_r10) + mean(img_r1, img_r5, img_r10)] (CLL-CLIP, papers 2.10).
    ``ar`` = 1/2 [mean(img_r1, img_r5, img_r10) + mean(txt_group_r1, txt_group_r5, txt_group_r10)] (MLA, papers 1.7).
    ``*_medr``: median rank of the (first) right answer, in the same three rankings.

    Args:
        texts: (M, d) text vectors.
        images: (N, d) image vectors.
        owner: (M,) index of each text's image.
        folds: cut the images into so many consecutive equal parts, rank each part on its own and average the scores,
            median ranks included, over the parts. MSCOCO 1k is ``folds=5`` of the 5,000 images.

    Raises:
        SettingError: N is not a multiple of folds.
        ModelError: a vector is not finite.
        DataError: an image has no text, or a text belongs to none of the images.
    """
    return average([
        _score(standings_by_direction(texts[fold.texts], images[fold.images], fold.owner))
        for fold in cut_folds(owner, len(images), folds)
    ])  # fmt: skip


def chance_scores(owner: Tensor, num_images: int, *, folds: int = 1) -> dict[str, float]:
    """Return what random vectors would score on average, in percent, for all ``METRICS``.

    Text->image: k/N. Caption: 1 - C(M - m, k) / C(M, k) for an image of m texts. Group: exactly k/N in the mean over
    the images whatever the sizes, because the first k groups are drawn alike for every image (large ones more often),
    and the chances of all N groups to be among these k add up to k.

    Args:
        owner: (M,) index of each text's image.
        num_images: N.
        folds: as for ``retrieval_scores``.

    Raises:
        SettingError: N is not a multiple of folds.
        DataError: a text belongs to none of the images.
    """
    size = num_images // max(1, folds)
    return average([_chance(fold.owner, size) for fold in cut_folds(owner, num_images, folds)])


def standings_by_direction(texts: Tensor, images: Tensor, owner: Tensor) -> dict[str, Standing]:
    """Return the standings under the names of ``DIRECTIONS``; arguments and errors as for ``count_standings``."""
    to_image, to_text = count_standings(texts, images, owner)
    return dict(zip(DIRECTIONS, (to_image, to_text, to_text.groups), strict=True))


def complete(recalls: Mapping[str, Score]) -> dict[str, Score]:
    """Add r_mean and ar to the nine recalls and put all ``METRICS`` in order."""
    of = {direction: [recalls[f"{direction}_r{k}"] for k in CUTS] for direction in DIRECTIONS}
    scores = {**recalls, "r_mean": _mean(of["img"] + of["txt"]), "ar": _mean(of["img"] + of["txt_group"])}
    return {metric: scores[metric] for metric in METRICS}


def average(parts: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Mean of each entry over dictionaries with the same keys."""
    return {key: _mean([part[key] for part in parts]) for key in parts[0]}


def _score(standings: Mapping[str, Standing]) -> dict[str, float]:
    """All scores of one gallery."""
    recalls = {f"{name}_r{k}": standing.recall(k) for name, standing in standings.items() for k in CUTS}
    return complete(recalls) | {f"{name}_medr": standing.median_rank() for name, standing in standings.items()}


def _chance(owner: Tensor, num_images: int) -> dict[str, float]:
    """Chance level of one gallery."""
    num_texts = len(owner)
    own = owner.bincount(minlength=num_images).tolist()
    scores = {}
    for k in CUTS:
        scores[f"img_r{k}"] = scores[f"txt_group_r{k}"] = 100 * min(k, num_images) / num_images
        drawn = min(k, num_texts)
        hits = [1 - comb(num_texts - m, drawn) / comb(num_texts, drawn) for m in own]
        scores[f"txt_r{k}"] = 100 * sum(hits) / num_images
    return complete(scores)


def _mean(values: Sequence[Score]) -> Score:
    """Mean of numbers, or of tensors entry by entry."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)
