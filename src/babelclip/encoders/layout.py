"""Which places of a batch of texts must be computed: no padding, and no beginning twice.

In a causal tower a place sees what stands before it and nothing else. So two texts that begin alike have the same
hidden states there, in every layer, and padding behind the end is never seen. A node is one place that differs; a batch
of captions has fewer nodes than tokens (12 % at 32 captions of Flickr8k, 16 % at 128), because every text begins with
the start token and many with the same words. Matrix products run on nodes; attention alone is laid out as texts.

In a tower that attends both ways nothing is shared, and every visible place is a node (``lay_out_apart``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How N nodes make up B texts of at most L tokens.

    Attributes:
        batch: B.
        length: L.
        ids: (N,) token id of each node.
        positions: (N,) its position in the text.
        places: (N,) where it stands first, counted through the (B, L) places row by row.
        node_of: (B * L,) node at each place; behind the end, that of the end.
        again: (E,) places where a node stands another time.
        ends: (B,) node that each text is pooled at: in a causal tower its first end-of-text.
        visible: (B, L) true up to the end.
        full: whether all places are visible.
    """

    batch: int
    length: int
    ids: Tensor
    positions: Tensor
    places: Tensor
    node_of: Tensor
    again: Tensor
    ends: Tensor
    visible: Tensor
    full: bool = False

    @property
    def texts(self) -> Tensor:
        """(N,) text in which each node stands first."""
        return self.places // self.length

    def to(self, device: torch.device) -> Layout:
        """Return the same on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Layout(self.batch, self.length, **tensors, full=self.full)


def lay_out(ids: Tensor, ends: Tensor, groups: Tensor | None = None) -> Layout:
    """Find the nodes of a batch.

    Args:
        ids: (B, L) token ids on the CPU; what stands behind the end does not matter.
        ends: (B,) position of each text's first end-of-text.
        groups: (B,) on the CPU; texts of different groups share no node. By default all are of one group.
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
    end_nodes = numbers[np.arange(batch), last[order]]
    node_of = np.empty((batch, length), dtype=np.int64)
    node_of[order] = np.where(visible, numbers, end_nodes[:, None])
    rows, positions = new.nonzero()
    places = order[rows] * length + positions
    again_rows, again_positions = (visible & ~new).nonzero()
    back = np.empty(batch, dtype=np.int64)
    back[order] = np.arange(batch)
    return Layout(
        batch=batch, length=length, ids=torch.from_numpy(in_order[rows, positions]),
        positions=torch.from_numpy(positions), places=torch.from_numpy(places),
        node_of=torch.from_numpy(node_of.ravel()),
        again=torch.from_numpy(order[again_rows] * length + again_positions),
        ends=torch.from_numpy(end_nodes[back]), visible=torch.from_numpy(visible[back]),
    )  # fmt: skip


def lay_out_apart(ids: Tensor, visible: Tensor, pooled: Tensor) -> Layout:
    """Make every visible place a node of its own, for towers in which all places of a text see each other.

    Args:
        ids: (B, L) token ids on the CPU.
        visible: (B, L) true at places that are seen.
        pooled: (B,) visible position that each text is pooled at.
    """
    batch, length = ids.shape
    places = visible.flatten().nonzero().squeeze(1)
    numbers = visible.flatten().cumsum(0) - 1
    ends = numbers[torch.arange(batch) * length + pooled]
    node_of = torch.where(visible, numbers.view(batch, length), ends[:, None])
    return Layout(
        batch=batch, length=length, ids=ids.flatten()[places], positions=places % length, places=places,
        node_of=node_of.flatten(), again=torch.empty(0, dtype=torch.int64), ends=ends, visible=visible,
        full=bool(visible.all()),
    )  # fmt: skip


class Spread(torch.autograd.Function):
    """Nodes to places and heads: (N, parts * width) to ``parts`` tensors (B, heads, L, width / heads)."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, nodes: Tensor, layout: Layout, parts: int, heads: int
    ) -> tuple[Tensor, ...]:
        """Copy each node to all its places."""
        ctx.layout = layout  # type: ignore[attr-defined]
        places = nodes.index_select(0, layout.node_of)
        by_head = places.view(layout.batch, layout.length, parts, heads, -1)
        return tuple(part.transpose(1, 2) for part in by_head.unbind(2))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Sum the gradients of a node's places; padding has none."""
        layout: Layout = ctx.layout  # type: ignore[attr-defined]
        flat = [gradient.transpose(1, 2).reshape(layout.batch * layout.length, -1) for gradient in gradients]
        summed = torch.cat([part.index_select(0, layout.places) for part in flat], dim=1)
        repeated = torch.cat([part.index_select(0, layout.again) for part in flat], dim=1)
        return summed.index_add_(0, layout.node_of[layout.again], repeated), None, None, None


class Pick(torch.autograd.Function):
    """Places to nodes: (B * L, width) to (N, width)."""

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
        whole = gradient.new_zeros(layout.batch * layout.length, gradient.shape[1])
        return whole.index_copy_(0, layout.places, gradient), None
