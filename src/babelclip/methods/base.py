"""The hooks of a method. They only add: no method steps the optimiser, and none undoes another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from babelclip.lexicon import Lexicon


@dataclass(frozen=True)
class Task:
    """One language's turn, as methods see it.

    Attributes:
        language: its tag.
        number: 0 for the first task of the stream.
        lexicon: the lexicon, already grown for the language.
        used: (k,) sorted ids that occur in the training texts, T_t: without special tokens, before truncation.
    """

    language: str
    number: int
    lexicon: Lexicon
    used: Tensor


@dataclass(frozen=True)
class Step:
    """One training step, as methods see it.

    Attributes:
        row_ids: (R,) ids of the rows that this task trains.
        rows: (R, width) those rows, with gradient.
        texts: (B, dim) student vectors of the batch, with gradient.
        teachers: (B, dim) English teacher vectors.
        images: (B, dim) image vectors.
    """

    row_ids: Tensor
    rows: Tensor
    texts: Tensor
    teachers: Tensor
    images: Tensor


@dataclass(frozen=True)
class RowScale:
    """How strongly each row of the table is trained.

    Attributes:
        gradient: (V,) multiplies the gradient of a row after clipping and before Adam's moments, or its update with
            ``scale_at="update"``.
        decay: (V,) multiplies the weight decay of a row.
    """

    gradient: Tensor
    decay: Tensor

    @classmethod
    def ones(cls, num_rows: int) -> RowScale:
        """Plain AdamW: every row alike."""
        return cls(torch.ones(num_rows), torch.ones(num_rows))

    def __mul__(self, other: RowScale) -> RowScale:
        """Two scales at once."""
        return RowScale(self.gradient * other.gradient, self.decay * other.decay)


class Method:
    """Base of all methods: does nothing. Override the hooks that the idea needs.

    Attributes:
        name: what users type.
        idea: one sentence.
        paper: where it was published.
        needs_language: whether a text's language must be known at test time.
        initialiser: how it wants new rows to start, a name of ``lexicon.INITIALISERS``; None for no wish.
    """

    name: ClassVar[str]
    idea: ClassVar[str]
    paper: ClassVar[str]
    needs_language: ClassVar[bool] = False
    initialiser: ClassVar[str | None] = None

    def before_task(self, task: Task) -> None:
        """Look at a task before its first step; the lexicon has grown, nothing has been trained."""

    def row_scale(self, task: Task) -> RowScale | None:
        """Return the row scales of this task, or None for no scaling."""

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return named scalars to add to the loss of a step."""
        return {}

    def after_task(self, task: Task) -> None:
        """Look at a finished task; the trained rows are in the lexicon, the uses are not yet counted."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the method remembers between steps and tasks, by name; an interrupted run goes on from it.

        Chance must come from a generator whose state is part of it.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Remember what ``state_dict`` returned."""
