"""A CLIP text tower that is never trained, arranged for speed: gradients flow to the token rows and nowhere else.

Against running the layers one by one, four things change and the vectors do not (tested, 1e-5 of their size):

1. query, key and value weights are one matrix, so that a layer has four products instead of six;
2. quick_gelu(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702, so the factor goes into the frozen weights and one fused
   kernel remains; its backward keeps one tensor instead of three;
3. the last layer is computed at the end-of-text position only: nothing reads its other positions;
4. no mask: attention is causal and pooling stops at the first end-of-text, so what stands behind it changes nothing.

FLOPs: a weight of the layers' matrices costs 2 forward and 2 backward operations a token (the gradient of frozen
weights is never formed); ``FrozenTextTower.weights`` counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention, silu
from transformers.activations import ACT2FN

Affine = tuple[Tensor, Tensor]
"""Weight and bias."""


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
        weights: number of weights in the layers' matrices.
    """

    def __init__(self, text_model: Any, projection: Any) -> None:
        """Arrange the weights of a ``CLIPTextModel``'s inner model and of its projection; biases are kept."""
        config = text_model.config
        self._heads: int = config.num_attention_heads
        self._epsilon: float = config.layer_norm_eps
        folded = config.hidden_act == "quick_gelu"
        self._activation: Callable[[Tensor], Tensor] = silu if folded else ACT2FN[config.hidden_act]
        self._positions: Tensor = text_model.embeddings.position_embedding.weight.detach()
        self._layers = [_arrange(layer, 1.702 if folded else 1.0) for layer in text_model.encoder.layers]
        self._final_norm = _affine(text_model.final_layer_norm)
        self._projection: Tensor = projection.weight.detach()
        self.weights = sum(weight.numel() for layer in self._layers for weight, _ in layer if weight.dim() == 2)

    def __call__(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Token rows (B, L, width) and positions (B,) of the first end-of-text to vectors (B, dim)."""
        hidden = rows + self._positions[: rows.shape[1]]
        for layer in self._layers[:-1]:
            hidden = self._block(layer, hidden)
        pooled = self._last_block(self._layers[-1], hidden, ends)
        return linear(self._norm(pooled, self._final_norm), self._projection)

    def _block(self, layer: _Layer, hidden: Tensor) -> Tensor:
        """One layer, all positions: (B, L, width) to (B, L, width)."""
        query, key, value = self._split(linear(self._norm(hidden, layer.norm1), *layer.attention_in), 3)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + linear(mixed.transpose(1, 2).flatten(2), *layer.attention_out)
        return hidden + self._mlp(layer, hidden)

    def _last_block(self, layer: _Layer, hidden: Tensor, ends: Tensor) -> Tensor:
        """The last layer at one position a text: (B, L, width) to (B, width)."""
        width = hidden.shape[2]
        weight, bias = layer.attention_in
        texts = torch.arange(len(hidden), device=hidden.device)
        normed = self._norm(hidden, layer.norm1)
        (query,) = self._split(linear(normed[texts, ends], weight[:width], bias[:width])[:, None], 1)
        key, value = self._split(linear(normed, weight[width:], bias[width:]), 2)
        visible = torch.arange(hidden.shape[1], device=hidden.device) <= ends[:, None]
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None])
        pooled = hidden[texts, ends] + linear(mixed.flatten(1), *layer.attention_out)
        return pooled + self._mlp(layer, pooled)

    def _mlp(self, layer: _Layer, hidden: Tensor) -> Tensor:
        return linear(self._activation(linear(self._norm(hidden, layer.norm2), *layer.mlp_in)), *layer.mlp_out)

    def _norm(self, hidden: Tensor, affine: Affine) -> Tensor:
        return layer_norm(hidden, hidden.shape[-1:], *affine, self._epsilon)

    def _split(self, fused: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, L, parts * width) to ``parts`` tensors (B, heads, L, width / heads)."""
        batch, length, width = fused.shape
        by_head = fused.view(batch, length, parts, self._heads, width // parts // self._heads)
        return by_head.permute(2, 0, 3, 1, 4).unbind()


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
