"""Text towers of CLIP's build, norms before attention and MLP: CLIP and MetaCLIP 2, which are causal, and SigLIP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from babelclip.encoders.arranged import ArrangedTower, Head, Layer, Modules, affine_of, attend, bias_of, put_before
from babelclip.encoders.insert import Prefix, TowerBuild
from babelclip.encoders.layout import Band, Layout, lay_out, lay_out_apart


class FrozenTextTower(ArrangedTower):
    """The text half of a ``transformers`` CLIP or SigLIP, from token rows to projected vectors."""

    def __init__(self, text_model: Any, projection: Any, *, causal: bool = True) -> None:
        """Arrange the weights of the inner text model and of its projection.

        Args:
            text_model: with ``embeddings`` and an ``encoder``.
            projection: from the pooled state to the shared space.
            causal: whether a place sees only what stands before it, and texts are pooled at their first end; else all
                places see each other, padding too, and texts are pooled at their last place.
        """
        self.build = TowerBuild(causal, norms_last=False, pools="end" if causal else "last", bends=False)
        head = Head(
            norm=affine_of(text_model.final_layer_norm), dense=None, bend=False,
            projection=projection.weight.detach(), bias=bias_of(projection),
        )  # fmt: skip
        super().__init__(
            text_model.config, text_model.embeddings.position_embedding.weight.detach(), clip_blocks(text_model), head
        )

    def lay_out(self, ids: Tensor, ends: Tensor, groups: Tensor | None = None, *, bands: int | None = None) -> Layout:
        """Find the nodes of a batch; see ``TextTower``."""
        if self.build.causal:
            return lay_out(ids, ends, groups, bands=self._bands(bands))
        return lay_out_apart(ids, torch.ones_like(ids, dtype=torch.bool), torch.full_like(ends, ids.shape[1] - 1))

    def _before(self, layer: Layer, hidden: Tensor) -> Tensor:
        return self._norm(hidden, layer.norm1)

    def _after(self, layer: Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = hidden + mixed
        return hidden + self._mlp(layer, self._norm(hidden, layer.norm2))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, band: Band, prefix: Prefix | None) -> Tensor:
        if not self.build.causal:
            return super()._attend(query, key, value, band, prefix)
        if prefix is None:
            return attend(query, key, value, is_causal=True)
        seen = torch.ones(1, 1, band.length, band.length, dtype=torch.bool, device=query.device).tril()
        key, value, seen = put_before(prefix, key, value, seen)
        return attend(query, key, value, attn_mask=seen)


def clip_blocks(text_model: Any) -> list[Modules]:
    """Return the modules of each block of a text or image tower that is built as CLIP's."""
    return [
        {
            "norm1": one.layer_norm1,
            "attention_in": (one.self_attn.q_proj, one.self_attn.k_proj, one.self_attn.v_proj),
            "attention_out": one.self_attn.out_proj, "norm2": one.layer_norm2, "mlp_in": one.mlp.fc1,
            "mlp_out": one.mlp.fc2,
        }
        for one in text_model.encoder.layers
    ]  # fmt: skip
