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

    def owner(self, language: str) -> str:
        """Return the tag that a language's modules are stored under."""
        return language

    def active(self, language: str | None) -> bool:
        """Whether the language was begun."""
        return language is not None and self.owner(language) in self.modules

    def concerns(self, language: str) -> dict[str, Tensor]:
        """Return the language's modules."""
        return dict(self.modules.get(self.owner(language), {}))

    def pick(self, texts: Texts) -> Pick:
        """Group texts by language."""
        owners = [self.owner(tag) if tag is not None and self.active(tag) else None for tag in texts.languages]
        known = sorted({owner for owner in owners if owner is not None})
        groups = torch.tensor([-1 if owner is None else known.index(owner) for owner in owners])
        return _PickByLanguage(groups, self.insert_type(), [self.modules[owner] for owner in known])

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
        groups = self.groups.to(layout.texts.device)
        return self._make(Grouped(self._modules, groups, groups[layout.texts]))
