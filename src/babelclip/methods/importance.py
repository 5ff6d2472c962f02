"""How much each entry of the parameters matters to earlier languages, kept from task to task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from babelclip.methods.base import NONE

ROWS, IDS = "rows", "row_ids"


class Importance:
    """Non-negative weights of rows, by their ids in the whole table, and of modules, by name.

    Attributes:
        row_ids: (k,) sorted ids of rows that have any.
    """

    def __init__(self) -> None:
        """Nothing matters yet."""
        self.row_ids = NONE
        self._of: dict[str, Tensor] = {}
        self._aligned: tuple[Tensor, dict[str, Tensor]] | None = None

    def aligned(self, parameters: Mapping[str, Tensor], row_ids: Tensor) -> dict[str, Tensor]:
        """Return the weights of those parameters that have any, in their shapes: zeros for rows without.

        They are made once a task: for as long as ``row_ids`` is the same tensor and nothing is added.

        Args:
            parameters: by name; ``rows`` is (R, width).
            row_ids: (R,) ids of the rows, sorted; all rows that matter are among them.
        """
        if self._aligned is None or self._aligned[0] is not row_ids:
            self._aligned = row_ids, self._align(parameters, row_ids)
        return self._aligned[1]

    def _align(self, parameters: Mapping[str, Tensor], row_ids: Tensor) -> dict[str, Tensor]:
        """Put the weights into the parameters' shapes, on their device."""
        found = {
            name: self._of[name].to(parameter)
            for name, parameter in parameters.items()
            if name != ROWS and name in self._of
        }
        if len(self.row_ids) and ROWS in parameters:
            rows = torch.zeros_like(parameters[ROWS])
            rows[torch.searchsorted(row_ids, self.row_ids)] = self._of[ROWS].to(rows)
            found[ROWS] = rows
        return found

    def add(self, more: Mapping[str, Tensor], row_ids: Tensor, *, keep: float = 1.0) -> None:
        """Add weights in the shapes of parameters; what was there counts ``keep`` times, sums below 0 count as 0."""
        self._aligned = None
        for name, one in more.items():
            value = one.detach().cpu()
            if name != ROWS:
                before = keep * self._of[name] if name in self._of else torch.zeros_like(value)
                self._of[name] = (before + value).clamp(min=0)
                continue
            ids = torch.cat([self.row_ids, row_ids]).unique()
            together = torch.zeros(len(ids), value.shape[1])
            if len(self.row_ids):
                together[torch.searchsorted(ids, self.row_ids)] = keep * self._of[ROWS]
            together[torch.searchsorted(ids, row_ids)] += value
            together.clamp_(min=0)
            matters = together.any(dim=1)
            self.row_ids, self._of[ROWS] = ids[matters], together[matters]

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything by name."""
        return {IDS: self.row_ids, **self._of} if self._of else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state_dict`` returned."""
        self._of = {name: value for name, value in state.items() if name != IDS}
        self.row_ids = state.get(IDS, NONE)
        self._aligned = None


def quadratic(weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor:
    """Return sum_i w_i (theta_i - theta*_i)^2 over all parameters with weights."""
    terms = [(weight * (parameters[name] - start[name]).square()).sum() for name, weight in weights.items()]
    return torch.stack(terms).sum()
