"""Where modules enter a frozen text tower, and what the tower asks them.

A batch may mix languages: texts of one group get the same modules, and only such texts share nodes (``layout``). With
no insert at all the tower runs exactly as before, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from babelclip.encoders.layout import Layout

Part = Literal["query", "key", "value"]


@dataclass(frozen=True)
class TowerShape:
    """Sizes of a text tower.

    Attributes:
        layers: blocks.
        width: of the hidden states and the token rows.
        heads: attention heads; each is width / heads wide.
        dim: of the shared space.
    """

    layers: int
    width: int
    heads: int
    dim: int


@dataclass(frozen=True)
class TowerBuild:
    """How a text tower is built, beside its sizes and weights.

    Attributes:
        causal: a place sees only what stands before it; else all visible places see each other.
        norms_last: norms stand behind attention and MLP (BERT); else before them (CLIP).
        pools: at the first ``end`` of a text, at its ``first`` place, or at the ``last`` place of the whole context, in
            which padding is read like any token.
        bends: tanh follows the dense layer of the head.
    """

    causal: bool
    norms_last: bool
    pools: Literal["end", "first", "last"]
    bends: bool


class Prefix(NamedTuple):
    """Keys and values that every place of a text sees in a layer, before its own.

    Attributes:
        keys: (B, P, width).
        values: (B, P, width).
        visible: (B, P) false where a text has no such place; None where all have all.
    """

    keys: Tensor
    values: Tensor
    visible: Tensor | None = None


class Insert:
    """What the texts of one batch bring into the tower. This one adds nothing; override what the idea needs.

    ``nodes`` is None where a tensor has all N nodes of the layout, else the (M,) nodes that its rows are.
    """

    def enter(self, rows: Tensor) -> Tensor | None:
        """Return (N, width) to take the place of the token rows (N, any width), before positions are added."""

    def project(self, layer: int, part: Part, normed: Tensor, nodes: Tensor | None) -> Tensor | None:
        """Return (M, width) to add to the queries, keys or values that a layer makes of normed states (M, width)."""

    def prefix(self, layer: int) -> Prefix | None:
        """Return what every place of a text sees in a layer before its own."""

    def after_block(self, layer: int, hidden: Tensor, nodes: Tensor | None) -> Tensor | None:
        """Return (M, width) to add to the output of a layer (M, width)."""


class Choice(Protocol):
    """Which modules the texts of one batch get.

    Attributes:
        groups: (B,) on the CPU; texts with equal numbers get the same modules.
        weights: takes the place of the tower's own weights, as ``FrozenTextTower.weights`` names them; None keeps them.
    """

    groups: Tensor
    weights: Mapping[str, Tensor] | None

    def inserts(self, layout: Layout) -> list[Insert]:
        """Return the inserts of the batch, on the layout's device."""


class Modules(Protocol):
    """Everything that can be put into a tower, by language; the room ``acquirers`` makes them."""

    def active(self, languages: Sequence[str | None]) -> bool:
        """Whether any text of these languages gets anything."""

    def wants_queries(self) -> bool:
        """Whether the choice depends on the texts' vectors without any module."""

    def choose(self, languages: Sequence[str | None], queries: Tensor | None, *, training: bool) -> Choice:
        """Choose modules for B texts.

        Args:
            languages: (B,) tags; None where unknown.
            queries: (B, dim) vectors without any module, without gradient.
            training: whether the language may be used by modules that do not know it at test time.
        """
