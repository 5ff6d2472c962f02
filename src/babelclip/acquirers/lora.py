"""LoRA: changes of low rank to the query and value projections (papers 2.9)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from babelclip.acquirers.by_language import ByLanguage, Grouped, Tensors
from babelclip.acquirers.starts import linear_start
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert, Part, TowerShape

PARTS: tuple[Part, ...] = ("query", "value")


class LowRank(ByLanguage):
    """q <- q + (alpha / rank) B A x, and the same for v, in every layer; no dropout.

    A (rank, width) starts from U(-1, 1) / sqrt(width), which is Kaiming's uniform with a = sqrt(5); B (width, rank)
    from 0, so that a new language starts with the tower as it is. One language of 12 layers, width 512 and rank 8:
    196,608 numbers.

    It is our own module and not that of ``peft``, for two reasons. One pass takes texts of several languages, each with
    its own A and B, also in training. And where no text has any, nothing enters the tower: it runs as without modules,
    bit for bit, while ``peft`` puts layers of its own in the place of the tower's. Its start and its vectors are those
    of ``peft``, to 5e-6: ``tests/test_kinds.py`` compares them where ``peft`` is installed.
    """

    name = "lora"

    def __init__(self, shape: TowerShape, *, rank: int = 8, alpha: float = 8.0) -> None:
        """Fit a tower."""
        super().__init__(shape, rank=rank, alpha=alpha)
        self._rank, self._scale = rank, alpha / rank

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make both matrices of each layer and projection."""
        width = self.shape.width
        self.modules[language] = {}
        for layer in range(self.shape.layers):
            for part in PARTS:
                self.modules[language] |= {
                    f"{layer}.{part}.a": linear_start(generator, self._rank, width).to(encoder.device),
                    f"{layer}.{part}.b": torch.zeros(width, self._rank, device=encoder.device),
                }

    def change(self, language: str) -> dict[tuple[int, Part], Tensor]:
        """Return what a language adds to the weights, (width, width) by layer and projection: (alpha / rank) B A."""
        own = self.modules[self.owner(language)]
        return {
            (layer, part): own[f"{layer}.{part}.b"] @ own[f"{layer}.{part}.a"] * self._scale
            for layer in range(self.shape.layers)
            for part in PARTS
        }

    def insert_type(self) -> Callable[[Grouped], Insert]:
        """Return what makes the insert of a batch."""
        return lambda grouped: _Insert(grouped, self._scale)


class _Insert(Insert):
    def __init__(self, grouped: Grouped, scale: float) -> None:
        self._grouped, self._scale = grouped, scale

    def project(self, layer: int, part: Part, normed: Tensor, nodes: Tensor | None) -> Tensor | None:
        if part not in PARTS:
            return None

        def through(modules: Tensors, states: Tensor) -> Tensor:
            return linear(linear(states, modules[f"{layer}.{part}.a"]), modules[f"{layer}.{part}.b"]) * self._scale

        return self._grouped.map(normed, nodes, through)
