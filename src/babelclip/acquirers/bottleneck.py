"""MLA's language acquirers: a bottleneck after each block (papers 1.2, 2.9)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from babelclip.acquirers.base import SHARED
from babelclip.acquirers.by_language import ByLanguage, Grouped, Tensors
from babelclip.acquirers.starts import linear_start
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert, TowerShape


class Bottleneck(ByLanguage):
    """h <- h + W_up relu(W_down h + b_down) + b_up on the output of every block, width -> inner -> width.

    There is no normalisation. For 12 blocks of width 512 and inner 256: 3,154,944 numbers a language.
    """

    name = "mla"

    def __init__(self, shape: TowerShape, *, inner: int = 0, uniform: int = 0, shared: int = 0) -> None:
        """Fit a tower.

        Args:
            shape: its sizes.
            inner: width of the bottleneck; 0 for half the tower's.
            uniform: 0: weights start from N(0, 0.02^2) and biases from 0, as CLL-CLIP compares it; 1: both uniform in
                +-1 / sqrt(fan in), as MLA starts.
            shared: 1 for one set for all languages.
        """
        super().__init__(shape, inner=inner or shape.width // 2, uniform=uniform, shared=shared)
        self._inner, self._uniform, self._shared = inner or shape.width // 2, bool(uniform), bool(shared)

    def owner(self, language: str) -> str:
        """Return the language, or what stands for all."""
        return SHARED if self._shared else language

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the bottlenecks of a language; shared ones with the first."""
        width, inner, owner = self.shape.width, self._inner, self.owner(language)
        if self._shared and self.modules:
            return

        def weight(*size: int) -> Tensor:
            if self._uniform:
                return linear_start(generator, *size)
            return torch.empty(size).normal_(0.0, 0.02, generator=generator)

        def bias(size: int, fan_in: int) -> Tensor:
            return linear_start(generator, size, fan_in=fan_in) if self._uniform else torch.zeros(size)

        self.modules[owner] = {}
        for layer in range(self.shape.layers):
            made = {
                "down.weight": weight(inner, width), "down.bias": bias(inner, width),
                "up.weight": weight(width, inner), "up.bias": bias(width, inner),
            }  # fmt: skip
            self.modules[owner] |= {f"{layer}.{name}": one.to(encoder.device) for name, one in made.items()}

    def insert_type(self) -> Callable[[Grouped], Insert]:
        """Return what makes the insert of a batch."""
        return _Insert


class _Insert(Insert):
    def __init__(self, grouped: Grouped) -> None:
        self._grouped = grouped

    def after_block(self, layer: int, hidden: Tensor, nodes: Tensor | None) -> Tensor:
        def through(modules: Tensors, states: Tensor) -> Tensor:
            inner = relu(linear(states, modules[f"{layer}.down.weight"], modules[f"{layer}.down.bias"]))
            return linear(inner, modules[f"{layer}.up.weight"], modules[f"{layer}.up.bias"])

        return self._grouped.map(hidden, nodes, through)
