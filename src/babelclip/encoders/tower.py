"""Texts through a frozen tower: trimmed batches, pooled at the first end-of-text token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding

from babelclip.encoders.layout import lay_out

if TYPE_CHECKING:
    from babelclip.encoders.base import DualEncoder


def pad(sequences: Sequence[Sequence[int]], eos: int) -> Tensor:
    """Return (B, L) ids, cut at the longest of the batch and padded with ``eos``.

    The tower is causal and pools at the first ``eos``, so what stands behind it, and how much of it, changes nothing.
    """
    longest = max(map(len, sequences))
    return torch.tensor([[*ids, *[eos] * (longest - len(ids))] for ids in sequences])


def first_ends(ids: Tensor, eos: int) -> Tensor:
    """Return (B,) the position of the first ``eos`` in each row of (B, L) ids.

    Not the largest id, which is CLIP's own shortcut: ids of new tokens are larger than that of end-of-text.
    """
    return (ids == eos).int().argmax(dim=1)


def encode_batch(encoder: DualEncoder, table: Tensor, ids: Tensor, eos: int) -> Tensor:
    """Return (B, dim) vectors of texts, with gradient to the table.

    Args:
        encoder: the base model.
        table: (R, width) rows, on the encoder's device.
        ids: (B, L) places of the tokens' rows in the table, on the CPU; padded behind the first ``eos``.
        eos: place of the end-of-text token's row.
    """
    layout = lay_out(ids, first_ends(ids, eos)).to(encoder.device)
    return encoder.text_tower(embedding(layout.ids, table), layout)


@torch.inference_mode()
def encode_tokens(
    encoder: DualEncoder, table: Tensor, sequences: Sequence[Sequence[int]], *, batch_size: int = 256
) -> Tensor:
    """Encode token ids with a frozen tower and any table of rows.

    Batches are formed by length, so that little is padded; the order of the result is that of the input.

    Args:
        encoder: the base model.
        table: (V, width) rows; the base model's own table gives its own English vectors.
        sequences: ids with start and end tokens.
        batch_size: texts at a time.

    Returns:
        (N, dim) float32 on the CPU, not normalised.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    vectors = torch.empty(len(sequences), encoder.dim)
    table = table.to(encoder.device)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids = pad([sequences[i] for i in chosen], encoder.eos)
        vectors[chosen] = encode_batch(encoder, table, ids, encoder.eos).float().cpu()
    return vectors
