"""Modules of a frozen text tower: one kind of them, and all kinds together.

What a language needs is stored under its tag; what all share, under ``SHARED``. A tensor that a task does not train
never changes, so a language keeps its modules bit for bit.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert, TowerShape
from babelclip.encoders.layout import Layout

SHARED = ""


@dataclass(frozen=True)
class Texts:
    """The texts of one batch, as acquirers see them.

    Attributes:
        languages: (B,) tags; None where unknown.
        queries: (B, dim) vectors without any module and without gradient, where a kind asked for them.
        training: whether the language may be used by kinds that do not know it at test time.
    """

    languages: Sequence[str | None]
    queries: Tensor | None
    training: bool


class Pick:
    """What one kind puts into the tower for one batch; this one nothing.

    Attributes:
        groups: (B,) on the CPU; texts with equal numbers get the same.
        weights: takes the place of the tower's own weights.
    """

    weights: Mapping[str, Tensor] | None = None

    def __init__(self, groups: Tensor) -> None:
        """Keep the groups."""
        self.groups = groups

    def insert(self, layout: Layout) -> Insert:
        """Return what enters the tower, on the layout's device."""
        return Insert()


class Acquirer:
    """One kind of modules for all languages. Override what the idea needs.

    Attributes:
        name: the method that it belongs to.
        needs_language: whether a text's language must be known at test time.
        wants_queries: whether the choice depends on the texts' vectors without any module.
        belongs_to_words: whether it came with the lexicon, so that every method trains it.
        shape: sizes of the tower.
        options: what it was made with beside the shape.
        modules: tag, or ``SHARED``, -> name -> tensor.
    """

    name: ClassVar[str]
    needs_language: ClassVar[bool] = False
    wants_queries: ClassVar[bool] = False
    belongs_to_words: ClassVar[bool] = False

    def __init__(self, shape: TowerShape, **options: int | float) -> None:
        """Fit a tower; nothing is learnt yet."""
        self.shape, self.options = shape, options
        self.modules: dict[str, dict[str, Tensor]] = {}

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make what a new language needs, on the encoder's device.

        Args:
            language: its tag.
            encoder: the frozen base model; its tower's weights may be the start.
            generator: chance.
        """
        raise NotImplementedError

    def trained(self, language: str) -> dict[str, Tensor]:
        """Return what the language's task trains, by name; by default its own modules and the shared ones."""
        return {
            f"{owner}/{name}": tensor
            for owner in (language, SHARED)
            for name, tensor in self.modules.get(owner, {}).items()
        }

    def active(self, language: str | None) -> bool:
        """Whether texts of a language get anything; by default those whose language was begun."""
        return language in self.modules

    def concerns(self, language: str) -> dict[str, Tensor]:
        """Return all tensors that the vectors of a language's texts depend on at test time."""
        return dict(self.modules.get(language, {}))

    def pick(self, texts: Texts) -> Pick:
        """Choose for a batch in which at least one text is active."""
        raise NotImplementedError


class Acquirers:
    """All kinds of modules that a student has; see ``encoders.insert.Modules``."""

    def __init__(self, kinds: Mapping[str, Acquirer] | None = None) -> None:
        """Hold kinds by name."""
        self.kinds = dict(kinds or {})

    def copy(self) -> Acquirers:
        """Return the same that can be trained without changing this one."""
        copies = {}
        for name, kind in self.kinds.items():
            copies[name] = new = copy(kind)
            new.modules = {
                owner: {key: tensor.detach().clone() for key, tensor in tensors.items()}
                for owner, tensors in kind.modules.items()
            }
        return Acquirers(copies)

    def trained(self, language: str, kinds: Container[str]) -> dict[str, Tensor]:
        """Return what the language's task trains, named ``kind/owner/name``: of the kinds of its methods, and of words.

        What other methods made before stays as it is.
        """
        return {
            f"{name}/{key}": tensor
            for name, kind in self.kinds.items()
            if name in kinds or kind.belongs_to_words
            for key, tensor in kind.trained(language).items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return everything, named ``kind/owner/name``, as copies on the CPU."""
        return {
            f"{name}/{owner}/{key}": tensor.detach().cpu().clone()
            for name, kind in self.kinds.items()
            for owner, tensors in kind.modules.items()
            for key, tensor in tensors.items()
        }

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take what ``tensors`` returned into kinds of the same names."""
        for kind in self.kinds.values():
            kind.modules = {}
        for place, tensor in tensors.items():
            name, owner, key = place.split("/", 2)
            self.kinds[name].modules.setdefault(owner, {})[key] = tensor.to(device)

    def same_for(self, language: str, other: Acquirers) -> bool:
        """Whether the vectors of a language's texts cannot differ between these modules and others."""
        ours, theirs = (
            {
                (name, key): tensor
                for name, kind in each.kinds.items()
                for key, tensor in kind.concerns(language).items()
            }
            for each in (self, other)
        )
        return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)

    def active(self, languages: Sequence[str | None]) -> bool:
        """Whether any text of these languages gets anything."""
        return any(kind.active(language) for kind in self.kinds.values() for language in set(languages))

    def wants_queries(self) -> bool:
        """Whether any kind chooses by the texts' vectors."""
        return any(kind.wants_queries for kind in self.kinds.values())

    def choose(self, languages: Sequence[str | None], queries: Tensor | None, *, training: bool) -> _Together:
        """Let every active kind choose for B texts."""
        texts = Texts(languages, queries, training)
        return _Together([kind.pick(texts) for kind in self.kinds.values() if any(map(kind.active, set(languages)))])


class _Together:
    """The picks of all kinds for one batch."""

    def __init__(self, picks: Sequence[Pick]) -> None:
        self._picks = picks
        self.groups = torch.stack([pick.groups for pick in picks], dim=1).unique(dim=0, return_inverse=True)[1]
        self.weights = next((pick.weights for pick in picks if pick.weights is not None), None)

    def inserts(self, layout: Layout) -> list[Insert]:
        return [pick.insert(layout) for pick in self._picks]
