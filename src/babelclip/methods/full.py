"""The whole text tower in training, as CLL-CLIP's ablation of its trainable parts has it (papers 2.11)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.acquirers import Acquirer, Whole
from babelclip.encoders.insert import TowerShape
from babelclip.methods.base import Method


@dataclass
class Full(Method):
    """Nothing of the text tower is frozen: blocks, positions, last norm and projection are trained beside the rows.

    Decay acts on its matrices, not on its vectors; row scales such as TEIR's act on token rows alone.
    """

    name = "full"
    idea = "The whole text tower is trained beside the token rows; every language shares it."
    paper = "Yang et al., AAAI 2024 (ablation)"
    equation = "min over E, W of L_cl + 0.01 L_cm"

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the tower's weights."""
        return Whole(shape)
