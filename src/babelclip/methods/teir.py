"""TEIR: Token Embedding Initialisation and Regularisation (Yang et al., AAAI 2024; papers 2.5 and 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from babelclip.errors import UnknownNameError
from babelclip.lexicon import INITIALISERS
from babelclip.methods.base import Method, RowScale, Task

SCALES = ("both", "grad", "decay", "idle", "specials", "none")


@dataclass
class TEIR(Method):
    """New rows start distributed as the old ones; rows are protected by how often earlier languages used them.

    s_i = 1[i in T_t] / n_i, and 0 for the special tokens, scales the gradient and the decay of row i. Rows that the
    task does not use, and start and end of text, do not change at all. Replayed texts, and English sides that ``lwf``
    holds, belong to T_t, but only a task's own language is counted in n_i. (The released code counts every language of
    the memory again, after every task, so that what a row is scaled by depends on the memory; so does
    ``er(variant=as-released)``.)

    The scale enters before Adam's moments, as in the published code. A constant factor cancels in m / sqrt(v), so the
    gradient half acts through epsilon (1e-6, comparable to sqrt(v) for rare tokens) and through the zeros. The setting
    ``scale_at="update"`` makes the scale act as it reads: on the step.

    Attributes:
        init: how new rows start; ``matched`` is TEIR's half, ``normal`` leaves it out.
        scale: ``both``, or gradient or decay alone; ``idle``: only idle rows are spared their decay; ``specials``: only
            start and end of text are frozen; ``none`` leaves this half out.
    """

    init: str = "matched"
    scale: str = "both"

    name = "teir"
    idea = "New rows follow the old rows' distribution; gradient and decay of a row are divided by its earlier uses."
    paper = "Yang et al., AAAI 2024 (TEIR)"
    equation = "s_i = 1[i in T_t] / n_i"

    def __post_init__(self) -> None:
        """Refuse unknown values."""
        if self.scale not in SCALES:
            raise UnknownNameError("scale of teir", self.scale, SCALES)
        INITIALISERS[self.init]

    def wishes(self) -> dict[str, object]:
        """Ask for rows of the table's own distribution."""
        return {"initialiser": self.init}

    def row_scale(self, task: Task) -> RowScale | None:
        """Return s for gradient and decay, or for what ``scale`` keeps of it."""
        uses, specials = task.lexicon.uses, task.lexicon.frame.specials
        ones, scale = torch.ones(len(uses)), torch.zeros(len(uses))
        scale[task.trained] = 1.0 / uses[task.trained].float()
        scale[specials] = 0.0
        active, moving = scale.sign(), ones.clone()
        active[specials], moving[specials] = 1.0, 0.0
        return {
            "both": RowScale(scale, scale), "grad": RowScale(scale, ones), "decay": RowScale(ones, scale),
            "idle": RowScale(ones, active), "specials": RowScale(moving, moving), "none": None,
        }[self.scale]  # fmt: skip
