"""MLA's language acquirers as CLL-CLIP compares them: a bottleneck after each block (papers 2.9)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from babelclip.acquirers.by_language import ByLanguage, Grouped, Tensors
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert


class Bottleneck(ByLanguage):
    """h <- h + W_up relu(W_down h + b_down) + b_up on the output of every block, width -> width / 2 -> width.

    Weights start from N(0, 0.02^2), biases from 0; there is no normalisation.
    """

    name = "mla"

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the bottlenecks of a language."""
        width, inner = self.shape.width, self.shape.width // 2
        device = encoder.device

        def normal(*size: int) -> Tensor:
            return torch.empty(size).normal_(0.0, 0.02, generator=generator).to(device)

        self.modules[language] = {}
        for layer in range(self.shape.layers):
            self.modules[language] |= {
                f"{layer}.down.weight": normal(inner, width), f"{layer}.down.bias": torch.zeros(inner, device=device),
                f"{layer}.up.weight": normal(width, inner), f"{layer}.up.bias": torch.zeros(width, device=device),
            }  # fmt: skip

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
