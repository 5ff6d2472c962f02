"""The rows that a task can change, gathered into a small parameter; the rest follows in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from babelclip.errors import SettingError
from babelclip.lexicon.room import empty_table

BLOCK = 2_048  # rows of the whole table that are worked on at a time, in the cache (figures: dev/LOG.md)
LISTED = 10  # ids that a message names


class CompactTable:
    """A part of a token table.

    Only tokens of the task's texts and the special tokens ever get a gradient. All other rows (idle rows) change by
    weight decay alone, row <- row * prod_k (1 - rate_k * decay * s_row), which needs no loop over the table.

    Attributes:
        row_ids: (R,) ids of the gathered rows, ascending.
        rows: (R, width) the trainable parameter.
    """

    def __init__(self, table: Tensor, row_ids: Tensor, device: torch.device) -> None:
        """Gather ``row_ids``, ascending, of a (V, width) table; the table itself is never written to."""
        self._table = table
        self.row_ids = row_ids
        self.rows = nn.Parameter(table[row_ids].to(device))

    def localise(self, ids: Tensor) -> Tensor:
        """Translate token ids of any shape into places of ``rows``.

        Raises:
            SettingError: an id is not among the gathered rows.
        """
        local = torch.searchsorted(self.row_ids, ids).clamp(max=len(self.row_ids) - 1)
        unknown = self.row_ids[local] != ids
        if unknown.any():
            found = ids[unknown].unique().tolist()
            more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
            raise SettingError(
                f"texts that a method encodes have the token ids {str(found[:LISTED])[1:-1]}{more}, whose rows are not "
                f"among the {len(self.row_ids)} that this task trains",
                fix="Return these ids from extra_rows of the method.",
            )
        return local

    def full(
        self, rates: Sequence[float], weight_decay: float, decay_scale: Tensor, *, rows: Tensor | None = None
    ) -> Tensor:
        """Return the whole (V, width) table after the steps whose rates are given.

        Args:
            rates: learning rate of each step so far.
            weight_decay: decay of the optimiser.
            decay_scale: (V,) scale of the decay by row.
            rows: (R, width) the gathered rows after these steps; by default as they stand now.
        """
        idle = torch.ones(len(self._table), dtype=torch.bool)
        idle[self.row_ids] = False
        factors = torch.ones(len(self._table), dtype=torch.float64)
        for scale in decay_scale[idle].unique().tolist():  # a few, where those of gathered rows may all differ
            factor = 1.0
            for rate in rates:
                factor *= 1 - rate * weight_decay * scale
            factors[decay_scale == scale] = factor
        table = empty_table(self._table, len(self._table))
        for start in range(0, len(table), BLOCK):  # a float64 copy of all rows would be twice the table
            part = slice(start, start + BLOCK)
            table[part] = self._table[part] * factors[part, None]
        table[self.row_ids] = (self.rows.detach() if rows is None else rows).cpu().to(table.dtype)
        return table
