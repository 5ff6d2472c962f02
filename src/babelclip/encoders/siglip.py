"""SigLIP and SigLIP 2: texts are padded to the whole context, all places see each other, the last one is pooled.

The checkpoints of SigLIP 2 with pictures of one size are of the family ``siglip`` too, with the tokenizer of Gemma.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from babelclip.encoders.encoder import FrozenEncoder
from babelclip.encoders.frame import Frame
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.special import read_frame
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

    from babelclip.encoders.base import TextTower


class SiglipEncoder(FrozenEncoder):
    """A frozen SigLIP."""

    architecture = "SiglipModel"

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower; see ``FrozenEncoder``."""
        vision, dim = model.config.vision_config, model.text_model.head.out_features
        found = "" if vision.hidden_size == dim else f"pictures of {vision.hidden_size} numbers, but texts of {dim}"
        if not getattr(vision, "vision_use_head", True):
            found = "pictures without a head that pools them"
        if found:
            raise ModelError(f"{self.name} makes {found}", fix="Give a model whose towers have one shared space.")
        return FrozenTextTower(model.text_model, model.text_model.head, causal=False)

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        return read_frame(tokenizer, model.config.text_config.max_position_embeddings, self.name, padded=True)


class Siglip2Encoder(SiglipEncoder):
    """A frozen SigLIP 2 that takes pictures of any shape, as many patches as fit.

    A prepared picture is (P + 1, patch * patch * 3): its patches row by row, padding, and in the last row how many
    patches it is high and wide.
    """

    architecture = "Siglip2Model"

    def prepare(self, pictures: Sequence[Image]) -> Tensor:
        """Pictures in RGB to (N, P + 1, patch * patch * 3); see ``DualEncoder``."""
        made = self.processor(images=list(pictures), return_tensors="pt")
        patches: Tensor = made["pixel_values"]
        shapes = torch.zeros_like(patches[:, :1])
        shapes[:, 0, :2] = made["spatial_shapes"].to(shapes)
        return torch.cat([patches, shapes], dim=1)

    def _look(self, pixels: Tensor) -> dict[str, Tensor]:
        patches, shapes = pixels[:, :-1], pixels[:, -1, :2].long()
        seen = torch.arange(patches.shape[1], device=pixels.device) < shapes.prod(dim=1, keepdim=True)
        return {"pixel_values": patches, "pixel_attention_mask": seen.int(), "spatial_shapes": shapes}
