"""Averaged gradient episodic memory (Chaudhry et al., ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from babelclip.methods.base import Step, Task
from babelclip.methods.replay import Replay, distance


@dataclass
class AGEM(Replay):
    """A step must not raise the loss on the memory: what points against it is taken out of the gradient.

    With g the gradient of the loss and g_ref that of the mean squared error on as many texts of the memory, over all
    parameters: where g . g_ref < 0, g <- g - (g . g_ref / g_ref . g_ref) g_ref, before clipping.

    Attributes:
        memory: texts that are kept at most.
    """

    name = "agem"
    idea = "Texts of earlier languages are kept, and gradients that would raise their loss are projected."
    paper = "Chaudhry et al., ICLR 2019 (A-GEM)"
    equation = "g - (g . g_ref / g_ref . g_ref) g_ref where g . g_ref < 0"

    def gradient_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the projection."""
        found = self.replay(step)
        if found is None:
            return {}
        reference = step.gradient(distance(*found))
        own = {name: one.grad for name, one in step.parameters.items() if one.grad is not None}
        along = torch.stack([(gradient * reference[name]).sum() for name, gradient in own.items()]).sum()
        length = torch.stack([one.square().sum() for one in reference.values()]).sum()
        if not along < 0 or not 0 < length < torch.inf:
            return {}
        return {name: -(along / length) * one for name, one in reference.items()}
