"""The image tower of a ``CLIPModel`` as an ONNX graph.

pixel_values  (B, 3, side, side) float32   prepared as ``preprocessor_config.json`` says
vectors       (B, dim) float32             the output, not normalised
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from babelclip.encoders.insert import Build, TowerShape
from babelclip.export.text_ids import check_size
from babelclip.export.text_tower import Graph

if TYPE_CHECKING:
    from transformers import CLIPModel


def build_image_model(model: CLIPModel, facts: Mapping[str, str] | None = None) -> bytes:
    """Return an ONNX model that maps pixels to vectors, in float32.

    Args:
        model: a whole CLIP; only its image tower is used.
        facts: for the model's metadata.

    Raises:
        ModelError: there is no such activation, or it is too large for one file.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    tower = _ImageTower(model)
    graph = _ImageGraph(tower, "float32")
    check_size(graph.size, "image tower", "float32")
    graph.write_all(tower.patch, tower.places)
    pixels: list[int | str] = ["B", tower.channels, tower.side, tower.side]
    return graph.to_bytes("image", {"pixel_values": (graph.kinds.FLOAT, pixels)}, facts)


class _ImageTower:
    """Weights of an image tower by name, as a text tower has them."""

    def __init__(self, model: Any) -> None:
        vision, config = model.vision_model, model.config.vision_config
        self.shape = TowerShape(
            config.num_hidden_layers, config.hidden_size, config.num_attention_heads, model.config.projection_dim
        )
        self.build = Build(causal=False)
        self.activation: str = config.hidden_act
        self.epsilon: float = config.layer_norm_eps
        self.patch: int = config.patch_size
        self.side: int = config.image_size
        self.channels: int = config.num_channels
        self.places: int = (self.side // self.patch) ** 2 + 1
        self._vision, self._projection = vision, model.visual_projection

    def weights(self) -> dict[str, Tensor]:
        """Return all weights; query, key and value are one matrix."""
        vision, embeddings = self._vision, self._vision.embeddings
        found = {
            "patches": embeddings.patch_embedding.weight, "class": embeddings.class_embedding.view(1, 1, -1),
            "positions": embeddings.position_embedding.weight, "projection": self._projection.weight,
        }  # fmt: skip
        parts = {"first_norm": vision.pre_layrnorm, "final_norm": vision.post_layernorm}
        for number, layer in enumerate(vision.encoder.layers):
            attention = layer.self_attn
            parts |= {
                f"{number}.norm1": layer.layer_norm1, f"{number}.attention_out": attention.out_proj,
                f"{number}.norm2": layer.layer_norm2, f"{number}.mlp_in": layer.mlp.fc1,
                f"{number}.mlp_out": layer.mlp.fc2,
            }  # fmt: skip
            fused = (attention.q_proj, attention.k_proj, attention.v_proj)
            for kind in ("weight", "bias"):
                found[f"{number}.attention_in.{kind}"] = torch.cat([getattr(one, kind) for one in fused])
        found |= {f"{name}.{kind}": getattr(part, kind) for name, part in parts.items() for kind in ("weight", "bias")}
        return {name: tensor.detach() for name, tensor in found.items()}


class _ImageGraph(Graph):
    """Pictures have all the same number of places, and every place sees every other."""

    def write_all(self, patch: int, places: int) -> None:
        """Write the whole tower, for patches of ``patch`` pixels and ``places`` places a picture."""
        width = self._shape.width
        cut = self.node(
            "Conv", "pixel_values", self.constant(self._weights["patches"]), kernel_shape=[patch, patch],
            strides=[patch, patch],
        )  # fmt: skip
        cut = self.node("Reshape", cut, self.constant(np.array([0, width, -1])))
        cut = self.node("Transpose", cut, perm=[0, 2, 1])
        count = self.node("Slice", self.node("Shape", cut), *(self.constant(np.array([place])) for place in (0, 1)))
        whole = self.node("Concat", count, self.constant(np.array([1, width])), axis=0)
        first = self.node("Expand", self.constant(self._weights["class"]), whole)
        hidden = self.node("Concat", first, cut, axis=1)
        hidden = self._flat(self.node("Add", hidden, self.constant(self._weights["positions"])))
        hidden = self._norm(hidden, "first_norm")
        for layer in range(self._shape.layers):
            hidden = self._seeing_block(f"{layer}", hidden, places)
        pooled = self.node("Reshape", hidden, self.constant(np.array([-1, places, width])))
        pooled = self.node("Gather", pooled, self.constant(np.array(0)), axis=1)
        normed = self._operand(self._norm(pooled, "final_norm"))
        self.node("Identity", self._product(normed, self._weights["projection"], None), name="vectors")

    def _seeing_block(self, layer: str, hidden: str, places: int) -> str:
        """One layer: (B * places, width) to the same."""
        fused = self._linear(self._norm(hidden, f"{layer}.norm1"), f"{layer}.attention_in")
        fused = self.node("Reshape", fused, self.constant(np.array([-1, places, 3 * self._shape.width])))
        mixed = self._flat(self.node("Attention", *self._parts(fused, 3), **self._heads()))
        return self._mlp(layer, self.node("Add", hidden, self._linear(mixed, f"{layer}.attention_out")))
