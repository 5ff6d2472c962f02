"""Text towers of BERT's build, norms behind attention and MLP: they attend both ways and pool at the first token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from babelclip.encoders.arranged import Affine, ArrangedTower, Head, Layer, Modules, affine_of
from babelclip.encoders.insert import TowerBuild
from babelclip.encoders.layout import Layout, lay_out_apart


class PostNormTextTower(ArrangedTower):
    """A BERT or RoBERTa of ``transformers`` with what its family puts behind it, from token rows to vectors."""

    def __init__(self, model: Any, head: Head) -> None:
        """Arrange the weights of a model with ``embeddings`` and an ``encoder`` of ``layers``, or of ``layer``.

        All texts are of token type 0, so its row goes into the positions. RoBERTa's first position is the one behind
        the id of padding; the ones before it are cut off.
        """
        embeddings, config = model.embeddings, model.config
        positions = embeddings.position_embeddings.weight.detach()[first_position(model) :]
        self._entry_norm: Affine = affine_of(embeddings.LayerNorm)
        self.build = TowerBuild(causal=False, norms_last=True, pools="first", bends=head.bend)
        rows = positions + embeddings.token_type_embeddings.weight.detach()[0]
        super().__init__(config, rows, bert_blocks(model), head)

    def lay_out(self, ids: Tensor, ends: Tensor, groups: Tensor | None = None, *, bands: int | None = None) -> Layout:
        """Find the nodes of a batch; see ``TextTower``."""
        visible = torch.arange(ids.shape[1]) <= ends[:, None]
        return lay_out_apart(ids, visible, torch.zeros_like(ends), bands=self._bands(bands))

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name; the positions hold the row of token type 0."""
        found = super().weights()
        found["entry_norm.weight"], found["entry_norm.bias"] = self._entry_norm
        return found

    def with_weights(self, weights: Mapping[str, Tensor]) -> Self:
        """Return the same tower with other weights, named as in ``weights``; gradients flow to them."""
        tower = super().with_weights(weights)
        tower._entry_norm = weights["entry_norm.weight"], weights["entry_norm.bias"]
        return tower

    def _enter(self, hidden: Tensor) -> Tensor:
        return self._norm(hidden, self._entry_norm)

    def _before(self, layer: Layer, hidden: Tensor) -> Tensor:
        return hidden

    def _after(self, layer: Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = self._norm(hidden + mixed, layer.norm1)
        return self._norm(hidden + self._mlp(layer, hidden), layer.norm2)


def bert_blocks(model: Any) -> list[Modules]:
    """Return the modules of each block of a BERT or RoBERTa."""
    return [
        {
            "norm1": one.attention.output.LayerNorm,
            "attention_in": (one.attention.self.query, one.attention.self.key, one.attention.self.value),
            "attention_out": one.attention.output.dense, "norm2": one.output.LayerNorm,
            "mlp_in": one.intermediate.dense, "mlp_out": one.output.dense,
        }
        for one in (model.encoder.layers if hasattr(model.encoder, "layers") else model.encoder.layer)
    ]  # fmt: skip


def first_position(model: Any) -> int:
    """Return the row of the position table that the first token takes: RoBERTa counts from behind its padding's id."""
    padding: int | None = getattr(model.embeddings, "padding_idx", None)
    return 0 if padding is None else padding + 1
