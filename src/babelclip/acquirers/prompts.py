"""Prompts before the keys and values of a few layers; what both kinds of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from babelclip.acquirers.base import SHARED, Pick, Texts
from babelclip.acquirers.for_all import ForAll
from babelclip.encoders.insert import Insert, Prefix
from babelclip.encoders.layout import Layout


class Prompts(ForAll):
    """Chosen by the texts' queries: their vectors from the tower without any module, with the rows as they stand."""

    wants_queries = True

    @property
    def languages(self) -> list[str]:
        """Languages that were begun, sorted: the order in which a file is read changes nothing."""
        return sorted(set(self.modules) - {SHARED})

    def layers(self, first: int, last: int) -> range:
        """Return those of the layers from ``first`` to ``last`` that the tower has."""
        return range(first, min(last + 1, self.shape.layers))

    def queries(self, texts: Texts, like: Tensor) -> Tensor:
        """Return (B, dim) queries, in the type of ``like``; there are some because they were asked for."""
        return cast("Tensor", texts.queries).to(like)

    def together(self, name: str) -> Tensor:
        """Return a tensor of each language, one behind the other."""
        return torch.cat([self.modules[language][name] for language in self.languages])


class PromptInsert(Insert):
    """Prompts by layer: the first half of each are keys, the second half values."""

    def __init__(self, prompts: Mapping[int, Tensor]) -> None:
        """Keep ``prompts``: layer -> (B, length, width)."""
        self._prompts = prompts

    def prefix(self, layer: int) -> Prefix | None:
        """Return the halves."""
        if layer not in self._prompts:
            return None
        return Prefix(*self._prompts[layer].chunk(2, dim=1))


class PromptPick(Pick):
    """Prompts that were found while choosing."""

    def __init__(self, groups: Tensor, insert: PromptInsert) -> None:
        """Keep both."""
        super().__init__(groups)
        self._insert = insert

    def insert(self, layout: Layout) -> Insert:
        """Return the prompts."""
        return self._insert
