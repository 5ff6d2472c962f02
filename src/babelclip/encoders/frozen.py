"""A CLIP text tower that is never trained, arranged for speed: gradients flow to the token rows and nowhere else.

Against running the layers one by one, five things change and the vectors do not (tested in float64, 1e-12):

1. query, key and value weights are one matrix, so that a layer has four products instead of six;
2. quick_gelu(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702, so the factor goes into the frozen weights and one fused
   kernel remains; its backward keeps one tensor instead of three;
3. the last layer is computed at the end-of-text position only: nothing reads its other positions;
4. matrix products see neither padding nor the same beginning of a text twice (``layout``);
5. attention is causal and needs no mask, because nothing reads what stands behind the first end-of-text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention, silu

from babelclip.encoders.insert import Insert, Part, Prefix, TowerShape
from babelclip.encoders.layout import Layout, Pick, Spread

Affine = tuple[Tensor, Tensor]
"""Weight and bias."""


# quick_gelu's factor is part of these weights and biases: multiplied in (1), divided out (-1), or neither (0).
_POWER_OF_FACTOR = {"mlp_in": (1, 1), "mlp_out": (-1, 0)}


class _Layer(NamedTuple):
    """One block of the tower."""

    norm1: Affine
    attention_in: Affine
    attention_out: Affine
    norm2: Affine
    mlp_in: Affine
    mlp_out: Affine


class FrozenTextTower:
    """The text half of a ``transformers`` CLIP, from token rows to projected vectors.

    Attributes:
        shape: its sizes.
        activation: of its MLPs, as ``transformers`` names it.
        epsilon: of its layer norms.
    """

    def __init__(self, text_model: Any, projection: Any) -> None:
        """Arrange the weights of a ``CLIPTextModel``'s inner model and of its projection; biases are kept."""
        from transformers.activations import ACT2FN

        config = text_model.config
        self.epsilon: float = config.layer_norm_eps
        self.activation: str = config.hidden_act
        folded = self.activation == "quick_gelu"
        self._factor = 1.702 if folded else 1.0
        self._activation: Callable[[Tensor], Tensor] = silu if folded else ACT2FN[self.activation]
        self._positions: Tensor = text_model.embeddings.position_embedding.weight.detach()
        self._layers = [_arrange(layer, self._factor) for layer in text_model.encoder.layers]
        self._final_norm = _affine(text_model.final_layer_norm)
        self._projection: Tensor = projection.weight.detach()
        width = config.hidden_size
        self._heads: int = config.num_attention_heads
        self.shape = TowerShape(len(self._layers), width, self._heads, len(self._projection))

    def __call__(self, rows: Tensor, layout: Layout, inserts: Sequence[Insert] = ()) -> Tensor:
        """Rows of a batch's nodes (N, width) to vectors of its texts (B, dim)."""
        for insert in inserts:
            entering = insert.enter(rows)
            rows = rows if entering is None else entering
        hidden = rows + self._positions[layout.positions]
        for number, layer in enumerate(self._layers[:-1]):
            hidden = self._block(number, layer, hidden, layout, inserts)
        pooled = self._last_block(self._layers[-1], hidden, layout, inserts)
        return linear(self._norm(pooled, self._final_norm), self._projection)

    def flops(self, layout: Layout) -> int:
        """Return the floating-point operations of one training step, matrix products with weights only.

        A weight costs 2 operations forward and 2 backward a node (the gradient of frozen weights is never formed). In
        the last layer only keys and values are formed for all nodes, everything else once a text.
        """
        sizes = [sum(weight.numel() for weight, _ in layer if weight.dim() == 2) for layer in self._layers]
        keys_and_values = self._layers[-1].attention_in[0].numel() * 2 // 3
        each_node = sum(sizes[:-1]) + keys_and_values
        each_text = sizes[-1] - keys_and_values + self._projection.numel()
        return 4 * (each_node * len(layout.ids) + each_text * layout.batch)

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name, as ``transformers`` scales them; query, key and value are one matrix."""
        found = {"positions": self._positions, "projection": self._projection}
        for number, layer in enumerate(self._layers):
            for name, (weight, bias) in layer._asdict().items():
                power = _POWER_OF_FACTOR.get(name, (0, 0))
                found[f"{number}.{name}.weight"] = weight / self._factor ** power[0]
                found[f"{number}.{name}.bias"] = bias / self._factor ** power[1]
        found["final_norm.weight"], found["final_norm.bias"] = self._final_norm
        return found

    def with_weights(self, weights: Mapping[str, Tensor]) -> FrozenTextTower:
        """Return the same tower with other weights, named as in ``weights``; gradients flow to them."""
        tower = copy(self)
        tower._positions, tower._projection = weights["positions"], weights["projection"]
        tower._final_norm = weights["final_norm.weight"], weights["final_norm.bias"]
        tower._layers = []
        for number in range(len(self._layers)):
            parts = {}
            for name in _Layer._fields:
                power = _POWER_OF_FACTOR.get(name, (0, 0))
                weight, bias = weights[f"{number}.{name}.weight"], weights[f"{number}.{name}.bias"]
                parts[name] = weight * self._factor ** power[0], bias * self._factor ** power[1]
            tower._layers.append(_Layer(**parts))
        return tower

    def _block(self, number: int, layer: _Layer, hidden: Tensor, layout: Layout, inserts: Sequence[Insert]) -> Tensor:
        """One layer, all nodes: (N, width) to (N, width)."""
        normed = self._norm(hidden, layer.norm1)
        fused = linear(normed, *layer.attention_in)
        fused = _project(fused, inserts, number, ("query", "key", "value"), normed)
        query, key, value = self._heads_of(fused, layout, 3)
        prefixes = self._prefixes(inserts, number)
        if prefixes is None:
            mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            seen = torch.ones(1, 1, layout.length, layout.length, dtype=torch.bool, device=hidden.device).tril()
            key, value, seen = _put_before(prefixes, key, value, seen)
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        hidden = hidden + linear(_pick(mixed.transpose(1, 2).flatten(2).flatten(0, 1), layout), *layer.attention_out)
        return _add_behind(hidden + self._mlp(layer, hidden), inserts, number)

    def _last_block(self, layer: _Layer, hidden: Tensor, layout: Layout, inserts: Sequence[Insert]) -> Tensor:
        """The last layer at one node a text: (N, width) to (B, width)."""
        number, width = len(self._layers) - 1, hidden.shape[1]
        weight, bias = layer.attention_in
        normed = self._norm(hidden, layer.norm1)
        asking = normed[layout.ends]
        query = linear(asking, weight[:width], bias[:width])
        query = _project(query, inserts, number, ("query",), asking, layout.ends).unflatten(1, (self._heads, 1, -1))
        fused = linear(normed, weight[width:], bias[width:])
        fused = _project(fused, inserts, number, ("key", "value"), normed)
        key, value = self._heads_of(fused, layout, 2)
        seen, prefixes = layout.visible[:, None, None], self._prefixes(inserts, number)
        if prefixes is not None:
            key, value, seen = _put_before(prefixes, key, value, seen)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        pooled = hidden[layout.ends] + linear(mixed.flatten(1), *layer.attention_out)
        return _add_behind(pooled + self._mlp(layer, pooled), inserts, number, layout.ends)

    def _prefixes(self, inserts: Sequence[Insert], number: int) -> Prefix | None:
        """All prefixes of a layer as one, keys and values by head: (B, heads, P, width / heads); None for none."""
        found = [one for insert in inserts if (one := insert.prefix(number)) is not None]
        if not found:
            return None
        keys, values = (
            torch.cat(parts, dim=1).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for parts in ([one.keys for one in found], [one.values for one in found])
        )
        if all(one.visible is None for one in found):
            return Prefix(keys, values)
        visible = [
            one.keys.new_ones(one.keys.shape[:2], dtype=torch.bool) if one.visible is None else one.visible
            for one in found
        ]
        return Prefix(keys, values, torch.cat(visible, dim=1))

    def _mlp(self, layer: _Layer, hidden: Tensor) -> Tensor:
        return linear(self._activation(linear(self._norm(hidden, layer.norm2), *layer.mlp_in)), *layer.mlp_out)

    def _norm(self, hidden: Tensor, affine: Affine) -> Tensor:
        return layer_norm(hidden, hidden.shape[-1:], *affine, self.epsilon)

    def _heads_of(self, fused: Tensor, layout: Layout, parts: int) -> tuple[Tensor, ...]:
        """(N, parts * width) to ``parts`` tensors (B, heads, L, width / heads)."""
        by_head: tuple[Tensor, ...] = Spread.apply(fused, layout, parts, self._heads)  # type: ignore[no-untyped-call]
        return by_head


def _put_before(prefix: Prefix, key: Tensor, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put a prefix, by head, before a layer's own keys and values.

    ``seen``: (B or 1, 1, places that look or 1, L) which of its own a place sees.
    """
    if prefix.visible is None:
        before = seen.new_ones(*seen.shape[:3], prefix.keys.shape[2])
    else:
        seen = seen.expand(len(key), -1, -1, -1)
        before = prefix.visible[:, None, None].expand(-1, 1, seen.shape[2], -1)
    keys = torch.cat([prefix.keys.to(key.dtype), key], dim=2)
    values = torch.cat([prefix.values.to(value.dtype), value], dim=2)
    return keys, values, torch.cat([before, seen], dim=3)


def _project(
    fused: Tensor, inserts: Sequence[Insert], number: int, parts: tuple[Part, ...], normed: Tensor,
    nodes: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Add what inserts add to some projections, which stand side by side in ``fused``."""
    for insert in inserts:
        added = [insert.project(number, part, normed, nodes) for part in parts]
        if any(one is not None for one in added):
            fused = fused + torch.cat([torch.zeros_like(normed) if one is None else one for one in added], dim=1)
    return fused


def _add_behind(hidden: Tensor, inserts: Sequence[Insert], number: int, nodes: Tensor | None = None) -> Tensor:
    """Add what inserts make of the output of a layer; each sees the layer's own output."""
    found = [one for insert in inserts if (one := insert.after_block(number, hidden, nodes)) is not None]
    return torch.stack([hidden, *found]).sum(0) if found else hidden


def _pick(places: Tensor, layout: Layout) -> Tensor:
    nodes: Tensor = Pick.apply(places, layout)  # type: ignore[no-untyped-call]
    return nodes


def _arrange(layer: Any, factor: float) -> _Layer:
    """Fuse query, key and value, and fold the activation's factor into both matrices of the MLP."""
    attention = layer.self_attn
    fused = [_affine(projection) for projection in (attention.q_proj, attention.k_proj, attention.v_proj)]
    mlp_in, mlp_out = _affine(layer.mlp.fc1), _affine(layer.mlp.fc2)
    return _Layer(
        norm1=_affine(layer.layer_norm1),
        attention_in=(torch.cat([weight for weight, _ in fused]), torch.cat([bias for _, bias in fused])),
        attention_out=_affine(attention.out_proj),
        norm2=_affine(layer.layer_norm2),
        mlp_in=(mlp_in[0] * factor, mlp_in[1] * factor),
        mlp_out=(mlp_out[0] / factor, mlp_out[1]),
    )


def _affine(module: Any) -> Affine:
    """Weight and bias of a linear layer or a layer norm, without gradient."""
    return module.weight.detach(), module.bias.detach()
