"""The papers' retrieval scores: img_r@k, txt_r@k and r_mean, in percent, with their chance level."""

from __future__ import annotations

from math import comb

from torch import Tensor

from babelclip.evaluation.ranks import count_standings

CUTS = (1, 5, 10)
METRICS = (*(f"img_r{k}" for k in CUTS), *(f"txt_r{k}" for k in CUTS), "r_mean")


def retrieval_scores(texts: Tensor, images: Tensor, owner: Tensor) -> dict[str, float]:
    """Score one language (protocol ``caption``).

    ``img_r@k``: text->image, share of texts whose image is among the first k images. ``txt_r@k``: image->text, share of
    images with an own text among the first k of all texts. Others call these "image retrieval" and "text retrieval".
    ``r_mean`` = 1/2 [mean(txt_r1, txt_r5, txt_r10) + mean(img_r1, img_r5, img_r10)].

    Args:
        texts: (M, d) text vectors.
        images: (N, d) image vectors.
        owner: (M,) index of each text's image.
    """
    to_image, to_text = count_standings(texts, images, owner)
    scores = {f"img_r{k}": to_image.recall(k) for k in CUTS} | {f"txt_r{k}": to_text.recall(k) for k in CUTS}
    return scores | {"r_mean": _mean(scores)}


def chance_scores(owner: Tensor, num_images: int) -> dict[str, float]:
    """Return what random vectors would score on average: k/N, and 1 - C(M - m, k) / C(M, k) for an image of m texts."""
    num_texts = len(owner)
    own = owner.bincount(minlength=num_images).tolist()
    scores = {f"img_r{k}": 100 * min(k, num_images) / num_images for k in CUTS}
    for k in CUTS:
        drawn = min(k, num_texts)
        hits = [1 - comb(num_texts - m, drawn) / comb(num_texts, drawn) for m in own]
        scores[f"txt_r{k}"] = 100 * sum(hits) / num_images
    return scores | {"r_mean": _mean(scores)}


def _mean(scores: dict[str, float]) -> float:
    """Mean over both directions and all cuts."""
    return sum(scores.values()) / len(scores)
