"""Online elastic weight consolidation (Schwarz et al., ICML 2018), as CLL-CLIP compares it (papers 2.9)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from babelclip.methods.base import Method, Step, Task, Trained
from babelclip.methods.importance import Importance, quadratic


@dataclass
class OEWC(Method):
    """A quadratic penalty holds each entry to where it stood when the task began, as strongly as earlier tasks need it.

    strength sum_i F_i (theta_i - theta*_i)^2, without 1/2, over token rows and modules that all languages share. F of a
    task is the mean over its batches of the squared gradient of the batch's loss (batches where it is finite);
    F <- gamma F + F_task. theta* is taken after the lexicon has grown; new rows have F = 0. Rows with F > 0 are
    trained, because plain AdamW's decay moves them away from theta*.

    The released code takes F on the last epoch's weights although the best epoch's are kept; here F belongs to the
    weights that were kept. ``as-released`` differs only where a validation chose an earlier epoch. Where a task has
    several stages, as with ``nlt+le``, F is that of the last stage's loss alone.

    Attributes:
        strength: of the penalty.
        gamma: what is kept of F from task to task.
        variant: ``defined`` or ``as-released``.
    """

    strength: float = 1000.0
    gamma: float = 1.0
    variant: str = "defined"

    name = "oewc"
    idea = "A quadratic penalty holds entries that earlier languages need, weighed by their Fisher information."
    paper = "Schwarz et al., ICML 2018 (online EWC)"
    equation = "strength sum_i F_i (theta_i - theta*_i)^2"

    _fisher: Importance = field(init=False, repr=False, default_factory=Importance)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work and unknown variants."""
        self.check_number("strength", at_least=0)
        self.check_number("gamma", at_least=0, at_most=1)
        self.check_variant(self.variant)

    def extra_rows(self, task: Task) -> Tensor:
        """Return the rows that have Fisher information."""
        return self._fisher.row_ids

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the penalty."""
        weights = self._fisher.aligned(step.parameters, step.row_ids)
        return {"penalty": self.strength * quadratic(weights, step.parameters, step.start)} if weights else {}

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Add the Fisher information of the task."""
        with trained.last_weights() if self.variant == "as-released" else nullcontext():
            fisher = task.shared(mean_squared_gradients(trained))
        self._fisher.add(fisher, trained.row_ids, keep=self.gamma)
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the Fisher information."""
        return self._fisher.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the Fisher information."""
        self._fisher.load_state_dict(state)


def mean_squared_gradients(trained: Trained) -> dict[str, Tensor]:
    """Return the mean over batches of the squared gradient of the objective, by parameter.

    An entry that is not finite in a batch, as where float16 overflows, does not count in that batch.
    """
    total: dict[str, Tensor] = {}
    batches: dict[str, Tensor] = {}
    for batch in trained.batches():
        for name, gradient in trained.gradients(batch).items():
            finite = gradient.isfinite()
            nothing = torch.zeros_like(gradient)
            total[name] = total.get(name, nothing) + torch.where(finite, gradient, nothing).square()
            batches[name] = batches.get(name, nothing) + finite
    return {name: value / batches[name].clamp(min=1) for name, value in total.items()}
