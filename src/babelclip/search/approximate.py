"""When an index searches approximately, and how good it is at it: measured against exact search, never assumed."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from babelclip.search.checks import begun
from babelclip.search.store import Approximate, VectorStore

EXACT_UP_TO = 100_000
"""Up to so many rows exact search takes a fraction of a second, and there is no index."""

WANTED, QUERIES, NEAREST = 0.95, 200, 10
EFFORTS = (16, 32, 64, 128, 256, 512, 1000)
BUILT_FOR, BUILT_AGAIN_FOR = 32, 128
"""Efforts that an index is built for. A graph of a million rows of width 512 took pgvector 10 minutes for the first."""

GROWTH = 1.5
NOISE = 0.3
"""Length of the noise that is added to a stored vector to make a query: their cosine is about 0.96."""


def fit(
    store: VectorStore, *, limit: int = EXACT_UP_TO, wanted: float = WANTED, queries: int = QUERIES
) -> Approximate | None:
    """Let a store search exactly up to a number of rows, above it approximately with a recall that was measured.

    The index is built, and its effort raised until the recall at ten is high enough; where the highest effort does not
    suffice, it is built once more with more care, and kept if it is good enough then, else dropped. An index that is
    good enough is kept as it is until the store has half as many rows again, or a third fewer; new rows are in it too.

    Args:
        store: where the right to write is held.
        limit: so many rows are searched exactly.
        wanted: recall at ten that is good enough, between 0 and 1.
        queries: how many it is measured with; see ``made_up``.

    Returns:
        The approximate index, as it now stands in what the store says of itself; None while search is exact.
    """
    index, total = begun(store.about(), store.place).index, len(store)
    if total <= limit:
        store.drop()
        return None
    if index is not None and index.recall >= wanted and total / GROWTH <= index.rows <= total * GROWTH:
        return index
    return _anew(store, wanted, queries)


def _anew(store: VectorStore, wanted: float, queries: int) -> Approximate | None:
    asked = made_up(store, queries)
    truth = _nearest(store, asked, exact=True)
    for built_for, efforts in ((BUILT_FOR, EFFORTS), (BUILT_AGAIN_FOR, EFFORTS[-1:])):
        started = time.perf_counter()
        kind = store.build(built_for)
        seconds = time.perf_counter() - started
        for effort in efforts:
            index = Approximate(
                kind=kind, rows=len(store), effort=effort, recall=0.0, queries=len(asked), seconds=seconds
            )
            index = _measured(store, index, asked, truth)
            if index.recall >= wanted:
                return index
    store.drop()
    return None


def check(store: VectorStore, *, wanted: float = WANTED, queries: int = QUERIES) -> Approximate | None:
    """Measure the approximate index of a store again, with other queries, and fit it anew where it has become too bad.

    Args:
        store: where the right to write is held.
        wanted: recall at ten that is good enough, between 0 and 1.
        queries: how many it is measured with.

    Returns:
        The approximate index; None where there is none, or where exact search was the way out.
    """
    index = begun(store.about(), store.place).index
    if index is None:
        return None
    asked = made_up(store, queries, seed=len(store))
    index = _measured(store, index, asked, _nearest(store, asked, exact=True))
    return index if index.recall >= wanted else _anew(store, wanted, queries)


def made_up(store: VectorStore, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (at most count, dim) queries that lie where rows lie, but are none.

    Each is a stored vector, taken by chance, plus noise in every direction of length 0.3, of length 1 again. A row
    itself would be too easy to find: approximate searches begin near it. Texts as queries would lie farther away; none
    are known to a store.
    """
    rows = store.sample(count, seed)
    noise = np.random.default_rng([seed, 1]).normal(size=rows.shape).astype(np.float32)
    moved = rows + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def recall(found: list[set[str]], truth: list[set[str]]) -> float:
    """Share of the rows that should be found which are, in the mean over queries."""
    return float(np.mean([len(one & right) / len(right) for one, right in zip(found, truth, strict=True)]))


def _measured(store: VectorStore, index: Approximate, asked: NDArray[np.float32], truth: list[set[str]]) -> Approximate:
    """Write an index with its recall into what the store says of itself."""
    about = begun(store.about(), store.place)
    store.write_about(about.model_copy(update={"index": index}))
    share = recall(_nearest(store, asked), truth)
    measured = index.model_copy(update={"recall": share, "queries": len(asked)})
    store.write_about(about.model_copy(update={"index": measured}))
    return measured


def _nearest(store: VectorStore, queries: NDArray[np.float32], *, exact: bool = False) -> list[set[str]]:
    return [{hit.id for hit in hits} for hits in store.search(queries, NEAREST, exact=exact)]
