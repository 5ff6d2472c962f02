"""What a pack knows of its language's spelling: how often each piece of a word stood in its training texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from babelclip.errors import DataError, FormatError
from babelclip.packs.ngrams import BUCKETS, ORDERS, chunks, cut, order_of

KEEP = 16_000
"""Pieces that a profile keeps: 8 bytes each, 128 KB (docs/routing.md has size against accuracy)."""

KEEP_NATIVE = 8_000
"""Pieces of the profile of a pack's English training texts: 64 KB. The profiles of several packs are merged."""

_TYPES = {"ids": torch.int32, "counts": torch.int32, "totals": torch.int64}
_LIMIT = 1 << 40  # of pieces in all: far above any corpus, and sums of many profiles stay exact


@dataclass(frozen=True)
class Profile:
    """Counts of the most frequent pieces of words, and totals of all.

    Attributes:
        ids: (G,) int32, rising, from 0 to below ``BUCKETS``: pieces that are kept.
        counts: (G,) int64, at least 1: how often each occurred.
        totals: (2, ORDERS) int64 by length of piece: how many pieces there were, and how many different ones, those
            that are not kept included.
    """

    ids: Tensor
    counts: Tensor
    totals: Tensor

    @classmethod
    def learn(
        cls, texts: Sequence[str], *, keep: int = KEEP, what: str = "training texts", file: Path | None = None
    ) -> Profile:
        """Count the pieces of training texts.

        Args:
            texts: a language's training texts; no other data may be used.
            keep: at most so many pieces are kept, the most frequent; of equally frequent ones those of lower number.
            what: what the texts are, for messages.
            file: where they come from, for messages.

        Raises:
            DataError: there is no letter in any of the texts.
        """
        counts = np.zeros(BUCKETS, dtype=np.int64)
        for part in chunks(texts):
            ids, found = np.unique(cut(part).ids.numpy(), return_counts=True)
            counts[ids] += found
        kinds = np.flatnonzero(counts)
        if not len(kinds):
            raise DataError(
                f"no letter in {len(texts):,} {what}, so their language cannot be recognised",
                file=file,
                fix="Check that the right column was read.",
            )
        by_order = counts.reshape(ORDERS, -1)
        totals = np.stack([by_order.sum(axis=1), (by_order > 0).sum(axis=1)])
        every = cls(torch.from_numpy(kinds.astype(np.int32)), torch.from_numpy(counts[kinds]), torch.from_numpy(totals))
        return every.cut_down(keep)

    @classmethod
    def merged(cls, profiles: Iterable[Profile], *, keep: int = KEEP) -> Profile:
        """Add profiles of one language, in any order: counts and totals add.

        Different pieces are added, too, though the same piece may stand in several: copies of one profile then merge
        to the same probabilities, and texts that many packs share do not make the language look better known.

        Args:
            profiles: at least one.
            keep: as for ``learn``.
        """
        members = list(profiles)
        places = torch.cat([profile.ids for profile in members])
        ids, place = places.unique(return_inverse=True)
        counts = torch.zeros(len(ids), dtype=torch.int64)
        counts.index_add_(0, place, torch.cat([profile.counts for profile in members]))
        totals = torch.stack([profile.totals for profile in members]).sum(dim=0)
        return cls(ids, counts, totals).cut_down(keep)

    def cut_down(self, keep: int) -> Profile:
        """Keep the ``keep`` most frequent pieces; totals stay."""
        if len(self.ids) <= keep:
            return self
        best = self.counts.sort(descending=True, stable=True).indices[:keep].sort().values
        return Profile(self.ids[best], self.counts[best], self.totals)

    def tensors(self) -> dict[str, Tensor]:
        """Return what ``from_tensors`` takes: ``ids`` and ``counts`` int32 (G,), ``totals`` int64 (2, ORDERS)."""
        largest = torch.iinfo(torch.int32).max
        counts = self.counts.clamp(max=largest).to(torch.int32)
        return {"ids": self.ids.clone(), "counts": counts, "totals": self.totals.clone()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], *, file: Path | None = None) -> Profile:
        """Take what ``tensors`` returned, perhaps from a stranger's file.

        Args:
            tensors: by name, nothing else among them.
            file: where they come from, for messages.

        Raises:
            FormatError: a name, type, shape or number that ``tensors`` cannot have returned.
        """
        problem = _problem(tensors)
        if problem:
            raise FormatError(f"not a profile of a language: {problem}", file=file, fix="Get the pack again.")
        return cls(tensors["ids"].clone(), tensors["counts"].to(torch.int64), tensors["totals"].clone())


def _problem(tensors: Mapping[str, Tensor]) -> str:
    """Say what is wrong with a profile's tensors; nothing where they can be used."""
    if set(tensors) != set(_TYPES):
        return f"tensors {sorted(tensors)}, expected {sorted(_TYPES)}"
    shapes = ", ".join(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}" for name in _TYPES)
    ids, counts, totals = (tensors[name].to(torch.int64) for name in _TYPES)
    sizes = (ids.ndim, counts.shape, totals.shape) == (1, ids.shape, (2, ORDERS))
    if not sizes or not len(ids) or any(tensors[name].dtype != kind for name, kind in _TYPES.items()):
        return f"{shapes}; expected int32 (G,), int32 (G,), int64 (2, {ORDERS}) with G at least 1"
    if int(ids.min()) < 0 or int(ids.max()) >= BUCKETS or not bool((ids.diff() > 0).all()):
        return f"ids from {int(ids.min())} to {int(ids.max())}, expected rising ones from 0 to below {BUCKETS}"
    if int(counts.min()) < 1:
        return f"a count of {int(counts.min())}, expected at least 1"
    order = order_of(ids) - 1
    kept = torch.zeros(ORDERS, dtype=torch.int64).index_add_(0, order, counts)
    pieces, kinds = totals
    fits = (kept <= pieces) & (order.bincount(minlength=ORDERS) <= kinds) & (kinds <= pieces) & (pieces <= _LIMIT)
    if not bool(fits.all()):
        return f"totals {totals.tolist()} do not go with counts that add up to {kept.tolist()}"
    return ""
