"""The text tower itself as the only module: nothing of it stays frozen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from babelclip.acquirers.base import SHARED, Pick, Texts
from babelclip.acquirers.for_all import ForAll
from babelclip.encoders import DualEncoder


class Whole(ForAll):
    """All weights of the tower, named as ``FrozenTextTower.weights`` names them; all languages share them.

    They start as the base model's and every task goes on from the last: 38 M numbers for CLIP B/32 and B/16, once.
    """

    name = "full"

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Copy the tower's weights before the first task; nothing later."""
        if SHARED not in self.modules:
            weights = encoder.text_tower.weights()
            self.modules[SHARED] = {name: weight.detach().clone() for name, weight in weights.items()}

    def pick(self, texts: Texts) -> Pick:
        """Choose the same for all texts."""
        return _Pick(torch.zeros(len(texts.languages), dtype=torch.int64), self.modules[SHARED])


class _Pick(Pick):
    def __init__(self, groups: Tensor, weights: Mapping[str, Tensor]) -> None:
        super().__init__(groups)
        self.weights = weights
