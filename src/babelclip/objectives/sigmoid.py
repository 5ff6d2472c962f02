"""Cross-modal objective of SigLIP (Zhai et al., 2023): for each text and picture, whether they belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid, normalize

if TYPE_CHECKING:
    from torch import Tensor


def sigmoid(texts: Tensor, images: Tensor, image_ids: Tensor, scale: float, bias: float) -> Tensor:
    """Loss of all pairs of the batch, z_ij = 1 where text i and picture j are of one image, else -1.

    L = -1/B sum_i sum_j log sigmoid(z_ij (scale cos_ij + bias))

    Captions of one image are not each other's negatives, as in ``contrastive``.

    Args:
        texts: (B, d) student vectors, normalised here.
        images: (B, d) the base model's image vectors, normalised here; no gradient.
        image_ids: (B,) equal where two captions describe the same image.
        scale: multiplies the cosine similarities; the base model's own (``DualEncoder.scale``).
        bias: is added to them; the base model's own.
    """
    similarity = scale * (normalize(texts, dim=-1) @ normalize(images, dim=-1).T) + bias
    sign = 2 * (image_ids[:, None] == image_ids[None, :]).to(similarity.dtype) - 1
    return -logsigmoid(sign * similarity).sum(dim=1).mean()
