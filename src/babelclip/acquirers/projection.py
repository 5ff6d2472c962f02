"""MLA's projection: token rows of any width, such as a language model's, to the width of the tower (papers 1.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from babelclip.acquirers.base import SHARED, Pick, Texts
from babelclip.acquirers.for_all import ForAll
from babelclip.acquirers.starts import linear_start
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert, TowerShape
from babelclip.encoders.layout import Layout


class Projection(ForAll):
    """x = P e + b for every token row e, one matrix for all languages; then the tower's own positions are added.

    Both start as ``torch.nn.Linear`` does: uniform in +-1 / sqrt(rows' width).
    """

    name = "projection"
    belongs_to_words = True

    def __init__(self, shape: TowerShape, rows_width: int) -> None:
        """Project rows of ``rows_width`` to ``shape.width``."""
        super().__init__(shape, rows_width=rows_width)
        self._rows_width = rows_width

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the matrix with the first language; all later ones share it."""
        if not self.modules:
            self.modules[SHARED] = {
                "weight": linear_start(generator, self.shape.width, self._rows_width).to(encoder.device),
                "bias": linear_start(generator, self.shape.width, fan_in=self._rows_width).to(encoder.device),
            }

    def pick(self, texts: Texts) -> Pick:
        """Give all texts the same."""
        return _Pick(self.modules[SHARED], len(texts.languages))


class _Pick(Pick):
    def __init__(self, modules: dict[str, Tensor], count: int) -> None:
        super().__init__(torch.zeros(count, dtype=torch.int64))
        self._modules = modules

    def insert(self, layout: Layout) -> Insert:
        return _Insert(self._modules)


class _Insert(Insert):
    def __init__(self, modules: dict[str, Tensor]) -> None:
        self._modules = modules

    def enter(self, rows: Tensor) -> Tensor:
        return linear(rows, self._modules["weight"], self._modules["bias"])
