"""Kinds whose modules belong to one language each: a mixed batch is worked on language by language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from babelclip.acquirers.base import Acquirer, Pick, Texts
from babelclip.encoders.insert import Insert
from babelclip.encoders.layout import Layout

Tensors = Mapping[str, Tensor]


class ByLanguage(Acquirer):
    """Chooses the modules of each text's language; texts of other languages get nothing."""

    needs_language = True

    def pick(self, texts: Texts) -> Pick:
        """Group texts by language."""
        tags = sorted({tag for tag in texts.languages if tag is not None and self.active(tag)})
        number = {tag: place for place, tag in enumerate(tags)}
        groups = torch.tensor([number.get(tag, -1) if tag is not None else -1 for tag in texts.languages])
        return _PickByLanguage(groups, self.insert_type(), [self.modules[tag] for tag in tags])

    def insert_type(self) -> Callable[[Grouped], Insert]:
        """Return what makes the insert of a batch."""
        raise NotImplementedError


class Grouped:
    """The modules of the languages of a batch, and which node is whose.

    Attributes:
        modules: one set a language.
        texts: (B,) number of each text's language; -1 for texts that get nothing.
    """

    def __init__(self, modules: Sequence[Tensors], texts: Tensor, nodes: Tensor) -> None:
        """Keep them; ``nodes``: (N,) the same number for each node."""
        self.modules, self.texts, self._nodes = modules, texts, nodes
        self._alone = len(modules) == 1 and bool((texts == 0).all())

    def map(self, states: Tensor, nodes: Tensor | None, function: Callable[[Tensors, Tensor], Tensor]) -> Tensor:
        """Apply ``function(modules, states)`` to the (M, width) states of each language; zeros where there is none."""
        if self._alone:
            return function(self.modules[0], states)
        owner = self._nodes if nodes is None else self._nodes[nodes]
        result = torch.zeros_like(states)
        for number, modules in enumerate(self.modules):
            own = (owner == number).nonzero().squeeze(1)
            result = result.index_copy(0, own, function(modules, states[own]).to(result.dtype))
        return result


class _PickByLanguage(Pick):
    """Modules by language."""

    def __init__(self, groups: Tensor, make: Callable[[Grouped], Insert], modules: Sequence[Tensors]) -> None:
        super().__init__(groups)
        self._make, self._modules = make, modules

    def insert(self, layout: Layout) -> Insert:
        groups = self.groups.to(layout.places.device)
        return self._make(Grouped(self._modules, groups, groups[layout.texts]))
