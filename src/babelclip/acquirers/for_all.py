"""Kinds whose modules any text can get, also one of a language that is unknown or was never begun."""

from __future__ import annotations

from torch import Tensor

from babelclip.acquirers.base import Acquirer


class ForAll(Acquirer):
    """Active for every text once anything was learnt; each task can change every language's vectors."""

    def active(self, language: str | None) -> bool:
        """Whether anything was learnt."""
        return bool(self.modules)

    def concerns(self, language: str) -> dict[str, Tensor]:
        """Return everything."""
        return {f"{owner}/{name}": one for owner, tensors in self.modules.items() for name, one in tensors.items()}
