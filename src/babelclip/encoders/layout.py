"""Which places of a batch of texts must be computed: no padding, and no beginning twice.

In a causal tower a place sees what stands before it and nothing else. So two texts that begin alike have the same
hidden states there, in every layer, and padding behind the end is never seen. A node is one place that differs; a batch
of captions has fewer nodes than tokens (12 % at 32 captions of Flickr8k, 16 % at 128), because every text begins with
the start token and many with the same words. Matrix products run on nodes; attention alone is laid out as texts, in
bands of texts of similar length, so that one long text does not make all others as long.

In a tower that attends both ways nothing is shared, and every visible place is a node (``lay_out_apart``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
BAND_COST = 256
"""What one more band costs on a CPU, as many places: a band is cut off where it saves more."""
MOST_BANDS = 4


@dataclass(frozen=True)
class Band:
    """Texts of a batch that attention lays out together.

    Attributes:
        texts: (T,) their numbers in the batch.
        visible: (T, L) true up to the end.
        full: whether all places are visible.
    """

    texts: Tensor
    visible: Tensor
    full: bool

    @property
    def length(self) -> int:
        """L, the tokens of its longest text."""
        return self.visible.shape[1]


@dataclass(frozen=True)
class Layout:
    """How N nodes make up B texts, which stand in the P places of all bands, band by band and text by text.

    Attributes:
        ids: (N,) token id of each node.
        positions: (N,) its position in the text.
        texts: (N,) text in which it stands first.
        places: (N,) place where it does.
        node_of: (P,) node at each place; behind the end, that of the end.
        again: (E,) places where a node stands another time.
        ends: (B,) node that each text is pooled at: in a causal tower its first end-of-text.
        bands: each text in one of them.
        back: (B,) where each text stands among those of all bands.
    """

    ids: Tensor
    positions: Tensor
    texts: Tensor
    places: Tensor
    node_of: Tensor
    again: Tensor
    ends: Tensor
    bands: tuple[Band, ...]
    back: Tensor

    @property
    def batch(self) -> int:
        """B, how many texts there are."""
        return len(self.ends)

    def to(self, device: torch.device) -> Layout:
        """Return the same on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        bands = tuple(Band(band.texts.to(device), band.visible.to(device), band.full) for band in self.bands)
        return Layout(**tensors, bands=bands)

    def split(self, texts: Tensor) -> Sequence[Tensor]:
        """Cut (B, ...) by bands."""
        return [texts] if len(self.bands) == 1 else [texts[band.texts] for band in self.bands]

    def join(self, by_band: Sequence[Tensor]) -> Tensor:
        """Put what ``split`` has cut together again."""
        return by_band[0] if len(by_band) == 1 else torch.cat(list(by_band))[self.back]


def lay_out(ids: Tensor, ends: Tensor, groups: Tensor | None = None, *, bands: int = 1) -> Layout:
    """Find the nodes of a batch.

    Args:
        ids: (B, L) token ids on the CPU; what stands behind the end does not matter.
        ends: (B,) position of each text's first end-of-text.
        groups: (B,) on the CPU; texts of different groups share no node. By default all are of one group.
        bands: into how many bands texts may be cut.
    """
    batch, length = ids.shape
    table, last = ids.numpy(), ends.numpy()
    group = np.zeros(batch, dtype=np.int64) if groups is None else groups.numpy()
    order = np.lexsort((*table.T[::-1], group))  # texts of a group that begin alike become neighbours
    in_order, group = table[order], group[order]
    visible = np.arange(length) <= last[order, None]
    new = visible.copy()
    differs = (in_order[1:] != in_order[:-1]) | (group[1:] != group[:-1])[:, None]
    new[1:] &= np.logical_or.accumulate(differs, axis=1)
    # Nodes are numbered row by row; a place that is not new has the node of the neighbour above.
    numbers = np.where(new, new.cumsum().reshape(batch, length) - 1, 0)
    numbers = np.maximum.accumulate(numbers, axis=0)
    node_of, shown = np.empty((batch, length), dtype=np.int64), np.empty((batch, length), dtype=bool)
    node_of[order], shown[order] = numbers, visible
    rows, positions = new.nonzero()
    again_rows, again_positions = (visible & ~new).nonzero()
    return _place(
        in_order[rows, positions], (order[rows], positions), (order[again_rows], again_positions), node_of, shown,
        node_of[np.arange(batch), last], last + 1, bands,
    )  # fmt: skip


def lay_out_apart(ids: Tensor, visible: Tensor, pooled: Tensor, *, bands: int = 1) -> Layout:
    """Make every visible place a node of its own, for towers in which all places of a text see each other.

    Args:
        ids: (B, L) token ids on the CPU.
        visible: (B, L) true at places that are seen: the first ones of each text.
        pooled: (B,) visible position that each text is pooled at.
        bands: into how many bands texts may be cut.
    """
    shown = visible.numpy()
    texts, positions = shown.nonzero()
    nothing = np.empty(0, dtype=np.int64)
    node_of = np.where(shown, shown.cumsum().reshape(shown.shape) - 1, 0)
    return _place(
        ids.numpy()[texts, positions], (texts, positions), (nothing, nothing), node_of, shown,
        node_of[np.arange(len(shown)), pooled.numpy()], shown.sum(axis=1), bands,
    )  # fmt: skip


def _place(
    ids: Ints, first: tuple[Ints, Ints], again: tuple[Ints, Ints], node_of: Ints, visible: NDArray[np.bool_],
    ends: Ints, lengths: Ints, bands: int,
) -> Layout:  # fmt: skip
    """Cut texts into bands and count their places.

    Args:
        ids: (N,) token ids of the nodes.
        first: text and position where each node stands first.
        again: texts and positions where nodes stand another time.
        node_of: (B, L) nodes at visible places.
        visible: (B, L) true up to the end.
        ends: (B,) nodes that texts are pooled at.
        lengths: (B,) visible places of each text.
        bands: at most so many.
    """
    members = list(_cut(np.arange(len(lengths)), lengths, bands))
    node_of = np.where(visible, node_of, ends[:, None])
    starts, back, made, nodes, count, place = np.empty_like(lengths), np.empty_like(lengths), [], [], 0, 0
    for texts in members:
        length = int(lengths[texts].max())
        starts[texts] = place + length * np.arange(len(texts))
        back[texts] = count + np.arange(len(texts))
        count, place = count + len(texts), place + length * len(texts)
        nodes.append(node_of[texts, :length].ravel())
        seen = visible[texts, :length]
        made.append(Band(torch.from_numpy(texts), torch.from_numpy(seen), bool(seen.all())))
    texts, positions = first
    return Layout(
        ids=torch.from_numpy(ids), positions=torch.from_numpy(positions), texts=torch.from_numpy(texts),
        places=torch.from_numpy(starts[texts] + positions), node_of=torch.from_numpy(np.concatenate(nodes)),
        again=torch.from_numpy(starts[again[0]] + again[1]), ends=torch.from_numpy(ends), bands=tuple(made),
        back=torch.from_numpy(back),
    )  # fmt: skip


def _cut(texts: Ints, lengths: Ints, bands: int) -> Iterator[Ints]:
    """Cut off the texts that are shorter than the longest where it saves most places; then both halves likewise."""
    if bands > 1:
        order = texts[np.argsort(-lengths[texts], kind="stable")]
        sizes, ahead = lengths[order], np.arange(1, len(order))
        saved = (len(order) - ahead) * (sizes[0] - sizes[1:])
        if len(saved) and saved.max() > BAND_COST:
            at = int(saved.argmax()) + 1
            for half in (order[:at], order[at:]):
                yield from _cut(np.sort(half), lengths, bands // 2)
            return
    yield texts


class Spread(torch.autograd.Function):
    """Nodes to places and heads: (N, parts * width) to ``parts`` tensors (T, heads, L, width / heads) for each band."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, nodes: Tensor, layout: Layout, parts: int, heads: int
    ) -> tuple[Tensor, ...]:
        """Copy each node to all its places."""
        ctx.layout, ctx.parts = layout, parts  # type: ignore[attr-defined]
        places = nodes.index_select(0, layout.node_of)
        by_band = places.split([band.visible.numel() for band in layout.bands])
        return tuple(
            part.transpose(1, 2)
            for band, own in zip(layout.bands, by_band, strict=True)
            for part in own.view(*band.visible.shape, parts, heads, -1).unbind(2)
        )

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Sum the gradients of a node's places; padding has none."""
        layout: Layout = ctx.layout  # type: ignore[attr-defined]
        parts: int = ctx.parts  # type: ignore[attr-defined]
        flat = [as_places(gradients[part::parts]) for part in range(parts)]
        summed = torch.cat([part.index_select(0, layout.places) for part in flat], dim=1)
        repeated = torch.cat([part.index_select(0, layout.again) for part in flat], dim=1)
        return summed.index_add_(0, layout.node_of[layout.again], repeated), None, None, None


class Pick(torch.autograd.Function):
    """Places to nodes: (P, width) to (N, width)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, places: Tensor, layout: Layout) -> Tensor:
        """Take each node where it stands first."""
        ctx.layout = layout  # type: ignore[attr-defined]
        return places.index_select(0, layout.places)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        """Put the gradients back; all other places have none."""
        layout: Layout = ctx.layout  # type: ignore[attr-defined]
        (gradient,) = gradients
        whole = gradient.new_zeros(len(layout.node_of), gradient.shape[1])
        return whole.index_copy_(0, layout.places, gradient), None


def as_places(by_band: Sequence[Tensor]) -> Tensor:
    """Put heads beside each other, texts and bands behind each other: each (T, heads, L, d), to (P, heads * d)."""
    flat = [band.transpose(1, 2).flatten(2).flatten(0, 1) for band in by_band]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
