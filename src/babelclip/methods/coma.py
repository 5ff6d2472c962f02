"""Continual model averaging: after each language, go back half of the way (Marouf et al., ECCV 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from babelclip.methods.base import Method, Task, Trained


@dataclass
class CoMA(Method):
    """Weights of before and after a task are averaged: kept = (1 - share) start + share end.

    Chosen as a strong modern method that needs no memory, no Fisher information and no second pass: a dozen lines. It
    acts on what existed before: old rows, and modules that all languages share. Rows that nothing used before and
    modules of its own language stay as trained. Rows that are not trained in the task keep all of their decay, of which
    averaging would undo the part 1 - share. The first task is left alone.

    Attributes:
        share: of the finished weights, above 0; 1 changes nothing.
    """

    share: float = 0.5

    name = "coma"
    idea = "After each language, its weights are averaged with those of before."
    paper = "Marouf et al., ECCV 2024 (CoMA)"
    moves = True
    equation = "(1 - share) theta_start + share theta_end"

    def __post_init__(self) -> None:
        """Refuse a share that cannot work."""
        self.check_number("share", above=0, at_most=1)

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Return the way back to the start, (1 - share) (theta_start - theta_end)."""
        if task.number == 0:
            return {}
        back = {}
        for name, end in trained.parameters.items():
            new = task.is_new(name, trained.row_ids).to(end.device)
            back[name] = (1 - self.share) * (trained.start[name] - end.detach()).masked_fill(new, 0.0)
        return back
