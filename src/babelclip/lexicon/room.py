"""Tables with room behind them: rows are appended where the table stands, and nothing is copied.

Tables that continue one another stand in the same memory, so no table may be written to once it is a lexicon's.
``copy.deepcopy`` and pickles of a table carry its room as well.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

LEAST = 16_384  # rows of room behind a small table

_LOCK = threading.Lock()


class _Buffer(Tensor):
    """Memory in which tables begin that continue one another; the longest of them has ``taken`` rows."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # slices are plain tensors
    taken: int


def empty_table(like: Tensor, rows: int) -> Tensor:
    """Return a table to be filled, (rows, width) as wide as the one given, with room for half as many rows more.

    Room takes no memory until it is written to, as far as the system gives memory page by page.
    """
    memory = torch.empty(rows + max(rows // 2, LEAST), like.shape[1], dtype=like.dtype, device=like.device)
    buffer = Tensor._make_subclass(_Buffer, memory)
    buffer.taken = rows
    return buffer[:rows]


def append_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Return (V + R, width): ``table`` (V, width), which stays as it is, and ``rows`` (R, width) behind it.

    Where there is room behind the table the two share its memory, and the time does not depend on V. Room is given
    once: whoever else appends to the same table gets a copy of it.

    Raises:
        ValueError: the rows are of another width or type.
    """
    if rows.shape[1:] != table.shape[1:] or rows.dtype != table.dtype:
        given, wanted = f"{tuple(rows.shape)} {rows.dtype}", f"(R, {table.shape[1]}) {table.dtype}"
        raise ValueError(f"rows are {given}, but must be {wanted} to stand behind a table {tuple(table.shape)}")
    before, after = len(table), len(table) + len(rows)
    longer = _take(table, after)
    if longer is None:
        longer = empty_table(table, after)
        longer[:before] = table
    longer[before:] = rows
    return longer


def _take(table: Tensor, count: int) -> Tensor | None:
    """Return a table of ``count`` rows that begins with the one given; None without room, or where it is taken."""
    buffer = table._base
    if not isinstance(buffer, _Buffer) or count > len(buffer):
        return None
    if table.shape[1] != buffer.shape[1] or table.stride() != buffer.stride():  # some columns, or turned over
        return None
    with _LOCK:
        if buffer.taken != len(table):
            return None
        buffer.taken = count
    return buffer[:count]
