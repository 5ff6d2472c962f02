"""Transformer text towers that are never trained, arranged for speed: gradients flow to token rows and nowhere else.

Against running the layers one by one, five things change and the vectors do not (tested in float64, 1e-12):

1. query, key and value weights are one matrix, so that a layer has four products instead of six;
2. quick_gelu(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702, so the factor goes into the frozen weights and one fused
   kernel remains; its backward keeps one tensor instead of three;
3. the last layer is computed at the place that is pooled only: nothing reads its other positions;
4. matrix products see neither padding nor, in a causal tower, the same beginning of a text twice (``layout``);
5. causal attention needs no mask, because nothing reads what stands behind the first end-of-text. A tower that attends
   both ways needs one where texts of a batch differ in length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention, silu

from babelclip.encoders.insert import Insert, Part, Prefix, TowerBuild, TowerShape
from babelclip.encoders.layout import MOST_BANDS, Band, Layout, Pick, Spread, as_places

Affine = tuple[Tensor, Tensor]
"""Weight and bias."""

# quick_gelu's factor is part of these weights and biases: multiplied in (1), divided out (-1), or neither (0).
_POWER_OF_FACTOR = {"mlp_in": (1, 1), "mlp_out": (-1, 0)}


Modules = Mapping[str, Any]
"""Modules of a block by their place in ``Layer``; those of ``attention_in`` are query, key and value."""


class Layer(NamedTuple):
    """One block of a tower."""

    norm1: Affine
    attention_in: Affine
    attention_out: Affine
    norm2: Affine
    mlp_in: Affine
    mlp_out: Affine


class Head(NamedTuple):
    """What makes a vector of a pooled state: norm, dense layer, projection; only the last is always there.

    Attributes:
        norm: layer norm; None for none.
        dense: a linear layer; None for none.
        bend: whether tanh follows it.
        projection: (dim, width).
        bias: (dim,) of the projection; None for none.
    """

    norm: Affine | None
    dense: Affine | None
    bend: bool
    projection: Tensor
    bias: Tensor | None

    def __call__(self, pooled: Tensor, epsilon: float) -> Tensor:
        """(B, width) to (B, dim)."""
        if self.norm is not None:
            pooled = layer_norm(pooled, pooled.shape[-1:], *self.norm, epsilon)
        if self.dense is not None:
            pooled = linear(pooled, *self.dense)
            pooled = pooled.tanh() if self.bend else pooled
        return linear(pooled, self.projection, self.bias)


class ArrangedTower:
    """From token rows to projected vectors; a subclass says where its norms stand and how texts are laid out.

    Attributes:
        shape: its sizes.
        build: how it is put together.
        activation: of its MLPs, as ``transformers`` names it.
        epsilon: of its layer norms.
    """

    build: TowerBuild

    def __init__(self, config: Any, positions: Tensor, layers: Sequence[Modules], head: Head) -> None:
        """Arrange weights; biases are kept.

        Args:
            config: of the text model, for its sizes.
            positions: (max_length, width) what is added to the rows.
            layers: the modules of each block.
            head: what makes a vector of a pooled state.
        """
        from transformers.activations import ACT2FN

        self.epsilon: float = config.layer_norm_eps
        self.activation: str = config.hidden_act
        folded = self.activation == "quick_gelu"
        self._factor = 1.702 if folded else 1.0
        self._activation: Callable[[Tensor], Tensor] = silu if folded else ACT2FN[self.activation]
        self._positions, self._head = positions, head
        self._layers = [_arrange(modules, self._factor) for modules in layers]
        self._converted: dict[torch.dtype, list[Layer]] = {}
        self._heads: int = config.num_attention_heads
        self.shape = TowerShape(len(self._layers), config.hidden_size, self._heads, len(head.projection))

    def __call__(self, rows: Tensor, layout: Layout, inserts: Sequence[Insert] = ()) -> Tensor:
        """Rows of a batch's nodes (N, width) to vectors of its texts (B, dim)."""
        for insert in inserts:
            entering = insert.enter(rows)
            rows = rows if entering is None else entering
        hidden = self._enter(rows + self._positions[layout.positions])
        *layers, last = self._layers_for(rows.device.type)
        for number, layer in enumerate(layers):
            hidden = self._block(number, layer, hidden, layout, inserts)
        pooled = self._last_block(last, hidden, layout, inserts)
        return self._head(pooled, self.epsilon)

    def lay_out(self, ids: Tensor, ends: Tensor, groups: Tensor | None = None, *, bands: int | None = None) -> Layout:
        """Find the nodes of a batch; see ``TextTower``."""
        raise NotImplementedError

    def _bands(self, bands: int | None) -> int:
        """How many bands attention may take: several on a CPU alone, on a GPU padding costs less than small kernels."""
        return bands or (MOST_BANDS if self._positions.is_cpu else 1)

    def flops(self, layout: Layout) -> int:
        """Return the floating-point operations of one training step, matrix products with weights only.

        A weight costs 2 operations forward and 2 backward a node (the gradient of frozen weights is never formed). In
        the last layer only keys and values are formed for all nodes, everything else once a text.
        """
        sizes = [sum(weight.numel() for weight, _ in layer if weight.dim() == 2) for layer in self._layers]
        keys_and_values = self._layers[-1].attention_in[0].numel() * 2 // 3
        each_node = sum(sizes[:-1]) + keys_and_values
        dense = 0 if self._head.dense is None else self._head.dense[0].numel()
        each_text = sizes[-1] - keys_and_values + dense + self._head.projection.numel()
        return 4 * (each_node * len(layout.ids) + each_text * layout.batch)

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name, as ``transformers`` scales them; query, key and value are one matrix."""
        found = {"positions": self._positions, "projection": self._head.projection}
        for number, layer in enumerate(self._layers):
            for name, (weight, bias) in layer._asdict().items():
                power = _POWER_OF_FACTOR.get(name, (0, 0))
                found[f"{number}.{name}.weight"] = weight / self._factor ** power[0]
                found[f"{number}.{name}.bias"] = bias / self._factor ** power[1]
        for name, affine in (("final_norm", self._head.norm), ("dense", self._head.dense)):
            if affine is not None:
                found[f"{name}.weight"], found[f"{name}.bias"] = affine
        if self._head.bias is not None:
            found["projection_bias"] = self._head.bias
        return found

    def with_weights(self, weights: Mapping[str, Tensor]) -> Self:
        """Return the same tower with other weights, named as in ``weights``; gradients flow to them."""
        tower = copy(self)
        tower._positions = weights["positions"]
        norm, dense = (
            None if known is None else (weights[f"{name}.weight"], weights[f"{name}.bias"])
            for name, known in (("final_norm", self._head.norm), ("dense", self._head.dense))
        )
        beside = None if self._head.bias is None else weights["projection_bias"]
        tower._head = Head(norm, dense, self._head.bend, weights["projection"], beside)
        tower._layers, tower._converted = [], {}
        for number in range(len(self._layers)):
            parts = {}
            for name in Layer._fields:
                power = _POWER_OF_FACTOR.get(name, (0, 0))
                weight, bias = weights[f"{number}.{name}.weight"], weights[f"{number}.{name}.bias"]
                parts[name] = weight * self._factor ** power[0], bias * self._factor ** power[1]
            tower._layers.append(Layer(**parts))
        return tower

    def _layers_for(self, device: str) -> list[Layer]:
        """The layers; under autocast with their matrices converted once, where it would do so in every step."""
        if not torch.is_autocast_enabled(device):
            return self._layers
        dtype = torch.get_autocast_dtype(device)
        if dtype not in self._converted:
            with torch.inference_mode(False):  # gradients pass through them, also where an evaluation comes first
                self._converted[dtype] = [_convert(layer, dtype) for layer in self._layers]
        return self._converted[dtype]

    def _enter(self, hidden: Tensor) -> Tensor:
        """Rows with their positions to what the first block takes."""
        return hidden

    def _before(self, layer: Layer, hidden: Tensor) -> Tensor:
        """States to those that queries, keys and values are made of."""
        raise NotImplementedError

    def _after(self, layer: Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        """What entered a block, and what its attention made of it, to what leaves it."""
        raise NotImplementedError

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, band: Band, prefix: Prefix | None) -> Tensor:
        """Attention of all places of a band, by head; here both ways: every visible place sees every other."""
        if band.full and prefix is None:
            return attend(query, key, value)
        seen = band.visible[:, None, None]
        if prefix is not None:
            key, value, seen = put_before(prefix, key, value, seen)
        return attend(query, key, value, attn_mask=seen)

    def _block(self, number: int, layer: Layer, hidden: Tensor, layout: Layout, inserts: Sequence[Insert]) -> Tensor:
        """One layer, all nodes: (N, width) to (N, width)."""
        states = self._before(layer, hidden)
        fused = linear(states, *layer.attention_in)
        fused = _project(fused, inserts, number, ("query", "key", "value"), states)
        prefixes = self._prefixes(inserts, number, layout)
        attended = [
            self._attend(query, key, value, band, prefix)
            for (query, key, value), band, prefix in zip(
                self._heads_of(fused, layout, 3), layout.bands, prefixes, strict=True
            )
        ]
        mixed = linear(_pick(as_places(attended), layout), *layer.attention_out)
        return _add_behind(self._after(layer, hidden, mixed), inserts, number)

    def _last_block(self, layer: Layer, hidden: Tensor, layout: Layout, inserts: Sequence[Insert]) -> Tensor:
        """The last layer at one node a text: (N, width) to (B, width)."""
        number, width = len(self._layers) - 1, hidden.shape[1]
        weight, bias = layer.attention_in
        states = self._before(layer, hidden)
        asking = states[layout.ends]
        query = linear(asking, weight[:width], bias[:width])
        query = _project(query, inserts, number, ("query",), asking, layout.ends).unflatten(1, (self._heads, 1, -1))
        fused = linear(states, weight[width:], bias[width:])
        fused = _project(fused, inserts, number, ("key", "value"), states)
        prefixes = self._prefixes(inserts, number, layout)
        attended = [
            _attend_once(asked, key, value, band, prefix)
            for asked, (key, value), band, prefix in zip(
                layout.split(query), self._heads_of(fused, layout, 2), layout.bands, prefixes, strict=True
            )
        ]
        mixed = linear(layout.join(attended), *layer.attention_out)
        return _add_behind(self._after(layer, hidden[layout.ends], mixed), inserts, number, layout.ends)

    def _prefixes(self, inserts: Sequence[Insert], number: int, layout: Layout) -> list[Prefix | None]:
        """For each band all prefixes of a layer as one, by head: (T, heads, P, width / heads); None for none."""
        found = [one for insert in inserts if (one := insert.prefix(number)) is not None]
        if not found:
            return [None] * len(layout.bands)
        keys, values = (
            layout.split(torch.cat(parts, dim=1).unflatten(2, (self._heads, -1)).transpose(1, 2))
            for parts in ([one.keys for one in found], [one.values for one in found])
        )
        if all(one.visible is None for one in found):
            return [Prefix(*one) for one in zip(keys, values, strict=True)]
        visible = [
            one.keys.new_ones(one.keys.shape[:2], dtype=torch.bool) if one.visible is None else one.visible
            for one in found
        ]
        return [Prefix(*one) for one in zip(keys, values, layout.split(torch.cat(visible, dim=1)), strict=True)]

    def _mlp(self, layer: Layer, hidden: Tensor) -> Tensor:
        return linear(self._activation(linear(hidden, *layer.mlp_in)), *layer.mlp_out)

    def _norm(self, hidden: Tensor, affine: Affine) -> Tensor:
        return layer_norm(hidden, hidden.shape[-1:], *affine, self.epsilon)

    def _heads_of(self, fused: Tensor, layout: Layout, parts: int) -> list[tuple[Tensor, ...]]:
        """(N, parts * width) to ``parts`` tensors (T, heads, L, width / heads) for each band."""
        by_head: tuple[Tensor, ...] = Spread.apply(fused, layout, parts, self._heads)  # type: ignore[no-untyped-call]
        return [by_head[start : start + parts] for start in range(0, len(by_head), parts)]


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    """Attention by head; on a CPU in bfloat16 or float16 as plain products with the softmax in float32.

    The fused kernel's backward pass took a third of a step there (B/32 shape, 128 texts; dev/LOG.md).

    Args:
        query: (B, heads, places that look, width / heads).
        key: (B, heads, L, width / heads).
        value: as ``key``.
        attn_mask: true where a place is seen, of a shape that expands to (B, heads, places that look, L).
        is_causal: whether a place sees itself and those before it only; without a mask.
    """
    if not (query.is_cpu and query.dtype in (torch.bfloat16, torch.float16)):
        return scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, is_causal=is_causal)
    scores = (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).float()
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores.masked_fill_(~attn_mask, -torch.inf)
    mixed: Tensor = scores.softmax(-1).to(value.dtype) @ value
    return mixed


def _attend_once(query: Tensor, key: Tensor, value: Tensor, band: Band, prefix: Prefix | None) -> Tensor:
    """Attention of one place a text, query (T, heads, 1, d), that sees its whole text: (T, heads * d)."""
    seen = band.visible[:, None, None]
    if prefix is not None:
        key, value, seen = put_before(prefix, key, value, seen)
    return attend(query, key, value, attn_mask=seen).flatten(1)


def put_before(prefix: Prefix, key: Tensor, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def affine_of(module: Any) -> Affine:
    """Weight and bias of a linear layer or a layer norm, without gradient."""
    return module.weight.detach(), module.bias.detach()


def bias_of(module: Any) -> Tensor | None:
    """Bias of a linear layer, without gradient; None where it has none."""
    return None if module.bias is None else module.bias.detach()


def _project(
    fused: Tensor, inserts: Sequence[Insert], number: int, parts: tuple[Part, ...], states: Tensor,
    nodes: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Add what inserts add to some projections, which stand side by side in ``fused``."""
    for insert in inserts:
        added = [insert.project(number, part, states, nodes) for part in parts]
        if any(one is not None for one in added):
            nothing = torch.zeros_like(states, dtype=fused.dtype)
            fused = fused + torch.cat([nothing if one is None else one.to(fused.dtype) for one in added], dim=1)
    return fused


def _add_behind(hidden: Tensor, inserts: Sequence[Insert], number: int, nodes: Tensor | None = None) -> Tensor:
    """Add what inserts make of the output of a layer; each sees the layer's own output."""
    found = [one for insert in inserts if (one := insert.after_block(number, hidden, nodes)) is not None]
    return torch.stack([hidden, *found]).sum(0) if found else hidden


def _pick(places: Tensor, layout: Layout) -> Tensor:
    nodes: Tensor = Pick.apply(places, layout)  # type: ignore[no-untyped-call]
    return nodes


def _arrange(modules: Modules, factor: float) -> Layer:
    """Fuse query, key and value, and fold the activation's factor into both matrices of the MLP."""
    fused = [affine_of(projection) for projection in modules["attention_in"]]
    mlp_in, mlp_out = affine_of(modules["mlp_in"]), affine_of(modules["mlp_out"])
    return Layer(
        norm1=affine_of(modules["norm1"]),
        attention_in=(torch.cat([weight for weight, _ in fused]), torch.cat([bias for _, bias in fused])),
        attention_out=affine_of(modules["attention_out"]),
        norm2=affine_of(modules["norm2"]),
        mlp_in=(mlp_in[0] * factor, mlp_in[1] * factor),
        mlp_out=(mlp_out[0] / factor, mlp_out[1]),
    )


def _convert(layer: Layer, dtype: torch.dtype) -> Layer:
    """Matrices and their biases in another type; norms stay."""
    return Layer(*(affine if affine[0].dim() == 1 else (affine[0].to(dtype), affine[1].to(dtype)) for affine in layer))
