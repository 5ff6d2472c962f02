"""Cross-modal objective: find the picture among those of the batch (CLL-CLIP, papers' L_cm)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import log_softmax, normalize

if TYPE_CHECKING:
    from torch import Tensor


def contrastive(texts: Tensor, images: Tensor, image_ids: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE with several positives: captions of one image are not each other's negatives.

    q_bj = 1[same image] / (items of that image in the batch);
    L_cm = mean of the two cross-entropies of softmax(cos / temperature) against q, rows and columns.

    Args:
        texts: (B, d) student vectors, normalised here.
        images: (B, d) the base model's image vectors, normalised here; no gradient.
        image_ids: (B,) equal where two captions describe the same image.
        temperature: divides the cosine similarities (0.07 is a scale of 14.3).
    """
    similarity = normalize(texts, dim=-1) @ normalize(images, dim=-1).T / temperature
    same = (image_ids[:, None] == image_ids[None, :]).to(similarity.dtype)
    targets = same / same.sum(dim=1, keepdim=True)
    to_image = -(targets * log_softmax(similarity, dim=1)).sum(dim=1).mean()
    to_text = -(targets * log_softmax(similarity.T, dim=1)).sum(dim=1).mean()
    return (to_image + to_text) / 2
