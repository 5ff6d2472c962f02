"""What one training step sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Texts of one step.

    Attributes:
        ids: (B, L) token ids, padded with end-of-text.
        image_ids: (B,) equal where two texts share an image.
        teachers: (B, dim) English teacher vectors.
        images: (B, dim) image vectors.
        places: (B,) where the texts stand in their corpus; None where they come from elsewhere.
        languages: (B,) tags of the texts; None where all are of the task's language.
    """

    ids: Tensor
    image_ids: Tensor
    teachers: Tensor
    images: Tensor
    places: Tensor | None = None
    languages: Sequence[str] | None = None
