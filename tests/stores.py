"""Rows to fill stores with, and a search that is obviously right."""

from __future__ import annotations

import numpy as np

from babelclip.search.items import WHOLE, File, Filter, Item
from babelclip.search.store import About

DIM = 16


def about(dim: int = DIM, **changes) -> About:
    return About(**{"model": "tiny", "fingerprint": "f00d", "dim": dim, "frames": 8, **changes})


def file(path: str, content: str = "aa", modified: int = 1_700_000_000_000_000_000) -> File:
    return File(path, 1234, modified, content)


def unit(matrix) -> np.ndarray:
    matrix = np.asarray(matrix, np.float32)
    return matrix / np.linalg.norm(matrix, axis=-1, keepdims=True)


def picture(path: str, vector, content: str = "aa", taken: float = 1.5e9) -> Item:
    return Item(
        file(path, content),
        "picture",
        WHOLE,
        taken,
        40,
        30,
        0.0,
        np.asarray(vector, np.float32),
        b"\xff\xd8" + path.encode(),
    )


def video(path: str, vectors, content: str = "bb", taken: float = 1.6e9) -> list[Item]:
    return [
        Item(file(path, content), "video", 2.0 * i, taken, 64, 48, 99.5, np.asarray(vector, np.float32), b"jpeg%d" % i)
        for i, vector in enumerate(vectors)
    ]


def library(pictures: int = 60, videos: int = 5, dim: int = DIM, seed: int = 0) -> list[Item]:
    """Pictures in three folders and videos of four moments, at different times."""
    chance = np.random.default_rng(seed)
    items = [
        picture(f"/photos/{'abc'[i % 3]}/{i:03}.jpg", unit(chance.normal(size=dim)), f"{i:064x}", 1.5e9 + i)
        for i in range(pictures)
    ]
    for i in range(videos):
        items += video(f"/videos/{i}.mp4", unit(chance.normal(size=(4, dim))), f"{i + 1000:064x}", 1.6e9 + i)
    return items


def fits(item: Item, where: Filter | None) -> bool:
    if where is None:
        return True
    inside = [item.file.path == f or item.file.path.startswith(f.rstrip("/") + "/") for f in where.folders]
    return (
        (not where.folders or any(inside))
        and (where.since is None or item.taken >= where.since)
        and (where.before is None or item.taken < where.before)
        and (where.kind is None or item.kind == where.kind)
    )


def slow_search(items: list[Item], queries, k: int, where: Filter | None = None) -> list[list[tuple[str, float]]]:
    """Ids and cosines of the k nearest rows of each query, by sorting all of them."""
    counted = [item for item in items if fits(item, where)]
    return [
        sorted(((item.id, float(query @ item.vector)) for item in counted), key=lambda one: (-one[1], one[0]))[:k]
        for query in queries
    ]


def queries(count: int = 5, dim: int = DIM, seed: int = 9) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def same(found, expected) -> bool:
    return [[hit.id for hit in hits] for hits in found] == [[id for id, _ in one] for one in expected] and np.allclose(
        [hit.score for hits in found for hit in hits], [score for one in expected for _, score in one], atol=1e-6
    )
