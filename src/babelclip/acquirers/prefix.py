"""Prefix tuning: keys and values before those of a text, by language (papers 2.9)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from babelclip.acquirers.by_language import ByLanguage, Grouped, Tensors
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert, Prefix, TowerShape


class Prefixes(ByLanguage):
    """``length`` keys and values a layer, made from an embedding by a small network: they are trained through it.

    E (length, width) -> linear to ``inner`` -> tanh -> linear to (length, 2 layers width): for each layer keys, then
    values. E starts from N(0, 1), the rest from U(-1, 1) / sqrt(inputs). The network is what is kept, not what it
    makes: 26.3 MB a language in float32 for 12 layers, width 512, length 30 and inner 512; the result would be 1.5 MB.
    """

    name = "ptuning"

    def __init__(self, shape: TowerShape, *, length: int = 30, inner: int = 512) -> None:
        """Fit a tower."""
        super().__init__(shape, length=length, inner=inner)
        self._length, self._inner = length, inner

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the embedding and the network of a language."""
        width, inner, made = self.shape.width, self._inner, 2 * self.shape.layers * self.shape.width

        def uniform(inputs: int, *size: int) -> Tensor:
            limit = 1 / math.sqrt(inputs)
            return torch.empty(size).uniform_(-limit, limit, generator=generator)

        tensors = {
            "embedding": torch.empty(self._length, width).normal_(generator=generator),
            "in.weight": uniform(width, inner, width), "in.bias": uniform(width, inner),
            "out.weight": uniform(inner, made, inner), "out.bias": uniform(inner, made),
        }  # fmt: skip
        self.modules[language] = {name: tensor.to(encoder.device) for name, tensor in tensors.items()}

    def insert_type(self) -> Callable[[Grouped], Insert]:
        """Return what makes the insert of a batch."""
        return lambda grouped: _Insert(grouped, self.shape)


class _Insert(Insert):
    def __init__(self, grouped: Grouped, shape: TowerShape) -> None:
        made = torch.stack([_make(modules, shape) for modules in grouped.modules])
        self._made = made.unbind(2)  # 2 * layers of (languages, length, width)
        self._texts = grouped.texts.clamp(min=0)
        none = grouped.texts < 0
        self._visible = (~none)[:, None].expand(-1, made.shape[1]) if bool(none.any()) else None

    def prefix(self, layer: int) -> Prefix:
        keys, values = self._made[2 * layer : 2 * layer + 2]
        return Prefix(keys[self._texts], values[self._texts], self._visible)


def _make(modules: Tensors, shape: TowerShape) -> Tensor:
    """Return (length, 2 * layers, width) of one language."""
    inner = linear(modules["embedding"], modules["in.weight"], modules["in.bias"]).tanh()
    return linear(inner, modules["out.weight"], modules["out.bias"]).view(len(inner), 2 * shape.layers, shape.width)
