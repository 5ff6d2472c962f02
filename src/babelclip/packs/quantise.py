"""Token rows as a pack stores them: float32, float16, or int8 with one scale a row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from babelclip.errors import ModelError

LARGEST = 127
_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def pack_rows(rows: Tensor, dtype: str) -> dict[str, Tensor]:
    """Return (R, width) float32 rows as the tensors that are stored.

    int8: q = round(row / s) with s = max |row| / 127, a float32 for each row; an error of at most s / 2 an entry.

    Args:
        rows: the rows.
        dtype: one of ``ROW_DTYPES``.

    Raises:
        ModelError: an entry does not fit into float16, or is not finite.
    """
    if not bool(rows.isfinite().all()):
        raise ModelError("some token rows are not finite", fix="Learn again with a smaller --learning-rate.")
    if dtype == "int8":
        scale = rows.abs().amax(dim=1) / LARGEST
        steps = (rows / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round()
        return {"rows": steps.clamp(-LARGEST, LARGEST).to(torch.int8), "scale": scale}
    stored = rows.to(_DTYPES[dtype])
    if not bool(stored.isfinite().all()):
        raise ModelError(
            f"a token row has an entry of {rows.abs().max().item():.3g}, too large for float16",
            fix="Store the rows as float32.",
        )
    return {"rows": stored.contiguous()}


def unpack_rows(tensors: Mapping[str, Tensor], dtype: str) -> Tensor:
    """Return (R, width) float32 rows from what ``pack_rows`` returned, checked.

    Raises:
        ValueError: a tensor is missing, of another type or shape, or not finite.
    """
    rows = tensors["rows"]
    if rows.dim() != 2 or rows.dtype != (torch.int8 if dtype == "int8" else _DTYPES[dtype]):
        raise ValueError(f"rows are {tuple(rows.shape)} {rows.dtype}, expected (R, width) {dtype}")
    if dtype == "int8":
        scale = tensors["scale"]
        if scale.dtype != torch.float32 or scale.shape != rows.shape[:1]:
            raise ValueError(f"the scales of the rows are {tuple(scale.shape)} {scale.dtype}")
        rows = rows.float() * scale[:, None]
    rows = rows.float()
    if not bool(rows.isfinite().all()):
        raise ValueError("some rows are not finite")
    return rows
