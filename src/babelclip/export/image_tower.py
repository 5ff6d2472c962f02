"""The image tower of a base model as an ONNX graph: that of CLIP and its relatives, and that of SigLIP.

pixel_values  (B, 3, side, side) float32   prepared as ``preprocessor_config.json`` says
vectors       (B, dim) float32             the output, not normalised
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from babelclip.encoders.frozen import clip_blocks
from babelclip.encoders.insert import TowerBuild, TowerShape
from babelclip.errors import ModelError
from babelclip.export.text_ids import check_size
from babelclip.export.text_tower import Graph


def build_image_model(model: Any, facts: Mapping[str, str] | None = None) -> bytes:
    """Return an ONNX model that maps pixels to vectors, in float32.

    Args:
        model: a whole dual encoder of ``transformers``; only its image tower is used.
        facts: for the model's metadata.

    Raises:
        ModelError: no graph has been written for such an image tower or its activation, or it is too large for one
            file.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    vision = model.vision_model
    kind = next((kind for kind in (_ClipGraph, _SiglipGraph) if kind.fits(vision)), None)
    if kind is None:
        raise ModelError(
            f"ONNX graphs have been written for the image towers of CLIP and of SigLIP with pictures of one size, not "
            f"for {type(vision).__name__}",
            fix="Take --to transformers, or use the model through babelclip (Python, search, serve).",
        )
    tower = _ImageTower(model, kind)
    graph = kind(tower, "float32")
    check_size(graph.size, "image tower", "float32")
    graph.write_all(tower.patch)
    pixels: list[int | str] = ["B", tower.channels, tower.side, tower.side]
    return graph.to_bytes("image", {"pixel_values": (graph.kinds.FLOAT, pixels)}, facts)


class _ImageTower:
    """Weights of an image tower by name, as a text tower has them."""

    def __init__(self, model: Any, kind: type[_ImageGraph]) -> None:
        config, self._model, self._kind = model.vision_model.config, model, kind
        dim = getattr(model.config, "projection_dim", config.hidden_size)
        self.shape = TowerShape(config.num_hidden_layers, config.hidden_size, config.num_attention_heads, dim)
        self.build = TowerBuild(causal=False, norms_last=False, pools="first", bends=False)
        self.activation: str = config.hidden_act
        self.epsilon: float = config.layer_norm_eps
        self.patch: int = config.patch_size
        self.side: int = config.image_size
        self.channels: int = config.num_channels

    def weights(self) -> dict[str, Tensor]:
        """Return all weights; query, key and value are one matrix."""
        embeddings = self._model.vision_model.embeddings
        found = {"positions": embeddings.position_embedding.weight, "patches": embeddings.patch_embedding.weight}
        found |= self._kind.own_weights(self._model)
        modules = self._kind.own_modules(self._model.vision_model)
        for number, block in enumerate(clip_blocks(self._model.vision_model)):
            fused = block["attention_in"]
            for kind in ("weight", "bias"):
                found[f"{number}.attention_in.{kind}"] = torch.cat([getattr(one, kind) for one in fused])
            modules |= {f"{number}.{name}": one for name, one in block.items() if name != "attention_in"}
        found |= {f"{name}.{kind}": getattr(one, kind) for name, one in modules.items() for kind in ("weight", "bias")}
        return {name: tensor.detach() for name, tensor in found.items()}


class _ImageGraph(Graph):
    """Pictures have all the same number of places, and every place sees every other."""

    @staticmethod
    def fits(vision: Any) -> bool:
        """Whether this is the graph of an image tower."""
        raise NotImplementedError

    @staticmethod
    def own_weights(model: Any) -> dict[str, Tensor]:
        """Return tensors beside positions, patches and blocks."""
        raise NotImplementedError

    @staticmethod
    def own_modules(vision: Any) -> dict[str, nn.Module]:
        """Return modules with weight and bias beside those of the blocks."""
        raise NotImplementedError

    def write_all(self, patch: int) -> None:
        """Write the whole tower, for patches of ``patch`` pixels."""
        raise NotImplementedError

    def _cut(self, patch: int) -> tuple[str, str]:
        """Pixels to the rows of patches (B, patches, width), and B."""
        bias = [self.constant(self._weights["patches_bias"])] if "patches_bias" in self._weights else []
        cut = self.node(
            "Conv", "pixel_values", self.constant(self._weights["patches"]), *bias, kernel_shape=[patch, patch],
            strides=[patch, patch],
        )  # fmt: skip
        cut = self.node("Reshape", cut, self.constant(np.array([0, self._shape.width, -1])))
        cut = self.node("Transpose", cut, perm=[0, 2, 1])
        count = self.node("Slice", self.node("Shape", cut), *(self.constant(np.array([place])) for place in (0, 1)))
        return cut, count

    def _repeat(self, row: np.ndarray, count: str) -> str:
        """A row for each picture: (B, 1, width)."""
        whole = self.node("Concat", count, self.constant(np.array([1, self._shape.width])), axis=0)
        return self.node("Expand", self.constant(row.reshape(1, 1, -1)), whole)

    def _enter(self, rows: str) -> str:
        """Rows with their positions, one behind the other."""
        return self._flat(self.node("Add", rows, self.constant(self._weights["positions"])))

    def _apart(self, value: str, parts: int = 1) -> str:
        """One behind the other to pictures: (B * places, parts * width) to (B, places, parts * width)."""
        places = len(self._weights["positions"])
        return self.node("Reshape", value, self.constant(np.array([-1, places, parts * self._shape.width])))

    def _blocks(self, hidden: str) -> str:
        for layer in map(str, range(self._shape.layers)):
            fused = self._apart(self._linear(self._before(layer, hidden), f"{layer}.attention_in"), 3)
            mixed = self._flat(self.node("Attention", *self._parts(fused, 3), **self._heads()))
            hidden = self._after(layer, hidden, self._linear(mixed, f"{layer}.attention_out"))
        return hidden


class _ClipGraph(_ImageGraph):
    """A row of its own stands before the patches; its state is normed and projected."""

    @staticmethod
    def fits(vision: Any) -> bool:
        return hasattr(vision, "pre_layrnorm")

    @staticmethod
    def own_weights(model: Any) -> dict[str, Tensor]:
        return {
            "class": model.vision_model.embeddings.class_embedding, "projection": model.visual_projection.weight,
        }  # fmt: skip

    @staticmethod
    def own_modules(vision: Any) -> dict[str, nn.Module]:
        return {"first_norm": vision.pre_layrnorm, "final_norm": vision.post_layernorm}

    def write_all(self, patch: int) -> None:
        cut, count = self._cut(patch)
        rows = self.node("Concat", self._repeat(self._weights["class"], count), cut, axis=1)
        hidden = self._blocks(self._norm(self._enter(rows), "first_norm"))
        pooled = self.node("Gather", self._apart(hidden), self.constant(np.array(0)), axis=1)
        self.node("Identity", self._head(pooled), name="vectors")


class _SiglipGraph(_ImageGraph):
    """Patches alone; a learnt query looks at their normed states once more, and an MLP follows."""

    @staticmethod
    def fits(vision: Any) -> bool:
        whole = isinstance(getattr(vision.embeddings, "patch_embedding", None), nn.Conv2d)
        return whole and hasattr(getattr(vision, "head", None), "probe")

    @staticmethod
    def own_weights(model: Any) -> dict[str, Tensor]:
        head = model.vision_model.head
        return {
            "patches_bias": model.vision_model.embeddings.patch_embedding.bias, "probe": head.probe,
            "head.attention_in.weight": head.attention.in_proj_weight,
            "head.attention_in.bias": head.attention.in_proj_bias,
        }  # fmt: skip

    @staticmethod
    def own_modules(vision: Any) -> dict[str, nn.Module]:
        head = vision.head
        return {
            "final_norm": vision.post_layernorm, "head.attention_out": head.attention.out_proj,
            "head.norm2": head.layernorm, "head.mlp_in": head.mlp.fc1, "head.mlp_out": head.mlp.fc2,
        }  # fmt: skip

    def write_all(self, patch: int) -> None:
        cut, count = self._cut(patch)
        states = self._norm(self._blocks(self._enter(cut)), "final_norm")
        width, weights = self._shape.width, self._weights
        weight, bias = weights["head.attention_in.weight"], weights["head.attention_in.bias"]
        query = self._repeat(weights["probe"].reshape(-1) @ weight[:width].T + bias[:width], count)
        seen = self._apart(self._product(self._operand(states), weight[width:], bias[width:]), 2)
        mixed = self._flat(self.node("Attention", query, *self._parts(seen, 2), **self._heads()))
        pooled = self._linear(mixed, "head.attention_out")
        inner = self._mlp("head", self._norm(pooled, "head.norm2"))
        self.node("Add", pooled, inner, name="vectors")
