"""The rows that a task can change, gathered into a small parameter; the rest follows in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CompactTable:
    """A part of a token table.

    Only tokens of the task's texts and the special tokens ever get a gradient. All other rows (idle rows) change by
    weight decay alone, row <- row * prod_k (1 - rate_k * decay * s_row), which needs no loop over the table.

    Attributes:
        row_ids: (R,) ids of the gathered rows, ascending.
        rows: (R, width) the trainable parameter.
    """

    def __init__(self, table: Tensor, row_ids: Tensor, device: torch.device) -> None:
        """Gather ``row_ids`` of a (V, width) table; the table itself is never written to."""
        self._table = table
        self.row_ids = row_ids
        self.rows = nn.Parameter(table[row_ids].to(device))
        self._local = torch.full((len(table),), -1, dtype=torch.int64)
        self._local[row_ids] = torch.arange(len(row_ids))

    def localise(self, ids: Tensor) -> Tensor:
        """Translate token ids of any shape into places of ``rows``.

        Raises:
            KeyError: an id is not among the gathered rows.
        """
        local = self._local[ids]
        if (local < 0).any():
            raise KeyError(f"rows {ids[local < 0].unique().tolist()} are not part of this task")
        return local

    def full(self, rates: list[float], weight_decay: float, decay_scale: Tensor) -> Tensor:
        """Return the whole (V, width) table as it stands now.

        Args:
            rates: learning rate of each step so far.
            weight_decay: decay of the optimiser.
            decay_scale: (V,) scale of the decay by row.
        """
        factors = torch.ones(len(self._table), dtype=torch.float64)
        for scale in decay_scale.unique().tolist():
            factor = 1.0
            for rate in rates:
                factor *= 1 - rate * weight_decay * scale
            factors[decay_scale == scale] = factor
        table = (self._table * factors[:, None]).to(self._table.dtype)
        table[self.row_ids] = self.rows.detach().cpu().to(table.dtype)
        return table
