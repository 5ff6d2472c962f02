"""Gradient projection (Saha et al., ICLR 2021), which on token rows is a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from babelclip.methods.base import NONE, Method, RowScale, Task, Trained


@dataclass
class GPM(Method):
    """Rows that an earlier language of the stream used stand still; all others are trained as ever.

    Gradient projection memory takes from the gradient of a layer whatever lies in the span of the inputs that earlier
    tasks gave it. The inputs of a token table are one-hot, so the span is that of the tokens that were used, and the
    projection leaves these rows alone; nothing has to be stored but their ids. Their decay is left out too, or it would
    move what the projection protects. Start and end of text are inputs of the first language, so they stand still from
    the second on. Modules in the tower are not projected. Chosen as the strongest protection without a memory: texts of
    earlier languages are encoded as before, unless new merges cut them anew. Where a language is learnt again, only
    rows that another one used stand still.
    """

    name = "gpm"
    idea = "Rows that an earlier language used are not trained again: gradient projection with one-hot inputs."
    paper = "Saha et al., ICLR 2021 (GPM)"
    equation = "s_i = 1[i in no earlier T_t]"

    _used: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)

    def row_scale(self, task: Task) -> RowScale | None:
        """Return 0 for rows that another language used before, else 1."""
        scale = torch.ones(len(task.lexicon.table))
        for language, rows in self._used.items():
            if language not in task.languages:
                scale[rows] = 0.0
        return RowScale(scale, scale)

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Remember what the task used."""
        specials = torch.tensor(task.lexicon.frame.specials)
        for language, tokens in task.by_language():
            before = self._used.get(language, NONE)
            self._used[language] = torch.cat([before, tokens.used(), specials]).unique()
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return by language the ids of the rows that it used."""
        return dict(self._used)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the ids of the rows."""
        self._used = dict(state)
