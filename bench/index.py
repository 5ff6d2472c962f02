"""How long a store of pictures takes to fill, to index and to search, and how much of what is nearest it finds.

    python bench/index.py                                # 1,000,000 rows of width 512; writes bench/results/index.json
    python bench/index.py --rows 20000 --stores lance    # smaller

The vectors are made up: a mixture of 2,000 gaussians, seed 0, of length 1. Queries are rows with noise. Every store is
measured in a process of its own, with the index that ``babelclip index`` builds first and the least effort whose recall
is 0.95 (else the greatest); ``numpy`` is exact search over one array in memory, what the others are measured against.
PostgreSQL is the one that the tests use, started for the purpose in a temporary folder; its memory is the sum
of the shares (PSS) of its processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from babelclip.report.terminal import new_table
from babelclip.search.approximate import BUILT_FOR, EFFORTS, WANTED, recall
from babelclip.search.items import WHOLE, File, Item
from babelclip.search.open import open_store
from babelclip.search.store import About, Approximate, VectorStore

DIM, CENTRES, SPREAD, BLOCK, NEAREST = 512, 2_000, 0.8, 10_000, 10
STORES = ("numpy", "lance", "postgres")
COLUMNS = ("store", "load", "index", "recall@10", "p50", "p99", "exact p50", "batch of 64", "memory", "disk")


def blocks(rows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The rows in blocks, each with the number of its first row; always the same."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIM), np.float32)
    for first in range(0, rows, BLOCK):
        chance = np.random.default_rng([0, first])
        count = min(BLOCK, rows - first)
        block = centres[chance.integers(0, CENTRES, count)]
        block = block + SPREAD * chance.standard_normal((count, DIM), np.float32)
        yield first, block / np.linalg.norm(block, axis=1, keepdims=True)


def make_queries(rows: int, count: int) -> NDArray[np.float32]:
    """Rows from all over, each with noise of length 0.3, of length 1 again."""
    chosen = np.random.default_rng(1).choice(rows, count, replace=False)
    parts = [block[chosen[(chosen >= first) & (chosen < first + len(block))] - first] for first, block in blocks(rows)]
    found = np.concatenate(parts)
    noise = np.random.default_rng(2).standard_normal(found.shape, np.float32)
    moved = found + 0.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def nearest(rows: int, queries: NDArray[np.float32]) -> list[set[str]]:
    """Paths of the ten nearest rows of each query, block by block."""
    best = np.full((len(queries), NEAREST), -2, np.float32)
    owner = np.full((len(queries), NEAREST), -1)
    for first, block in blocks(rows):
        scores = np.concatenate([best, queries @ block.T], axis=1)
        rows_of = np.concatenate(
            [owner, np.broadcast_to(np.arange(first, first + len(block)), (len(queries), len(block)))], 1
        )
        top = np.argpartition(-scores, NEAREST - 1, axis=1)[:, :NEAREST]
        best, owner = np.take_along_axis(scores, top, 1), np.take_along_axis(rows_of, top, 1)
    return [{path_of(row) for row in one} for one in owner.tolist()]


def path_of(row: int) -> str:
    """The name of a made-up picture: a thousand in a folder."""
    return f"/pictures/{row // 1000:05}/{row:08}.jpg"


def item_of(row: int, vector: NDArray[np.float32]) -> Item:
    """A made-up picture."""
    file = File(path_of(row), 1_000_000, row, f"{row:064x}")
    return Item(file, "picture", WHOLE, 1.5e9 + row, 640, 480, 0.0, vector, b"")


def times_of(call: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> list[float]:
    """Seconds that each query takes alone; the first ten warm up and are not counted."""
    times = []
    for number in range(-10, len(queries)):
        started = time.perf_counter()
        call(queries[number % len(queries)][None])
        times.append(time.perf_counter() - started)
    return times[10:]


def measure_numpy(rows: int, queries: NDArray[np.float32]) -> dict[str, Any]:
    """One array in memory, one product a query."""
    started = time.perf_counter()
    table = np.empty((rows, DIM), np.float32)
    for first, block in blocks(rows):
        table[first : first + len(block)] = block
    load = time.perf_counter() - started

    def search(asked: NDArray[np.float32]) -> object:
        scores = asked @ table.T
        return np.argpartition(-scores, NEAREST - 1, axis=1)[:, :NEAREST]

    times = times_of(search, queries[:50])
    return {"load_s": load, "index_s": 0.0, "recall": 1.0, **_latency(times), "exact_p50_s": float(np.median(times)),
            "batch64_s": _seconds(lambda: search(queries[:64])), "memory_mb": peak_mb(), "disk_mb": 0.0}  # fmt: skip


def measure_store(store: VectorStore, rows: int, queries: NDArray[np.float32], making: float) -> dict[str, Any]:
    """Fill, index and search; making the vectors themselves is not counted."""
    started = time.perf_counter()
    store.write_about(About(model="made up", fingerprint="0", dim=DIM, frames=1))
    for first, block in blocks(rows):
        store.put([item_of(first + number, vector) for number, vector in enumerate(block)])
        store.tidy()
    store.tidy()
    load = time.perf_counter() - started - making
    started = time.perf_counter()
    kind = store.build(BUILT_FOR)
    building, truth, curve = time.perf_counter() - started, nearest(rows, queries), {}
    for effort in EFFORTS:
        index = Approximate(kind=kind, rows=rows, effort=effort, recall=0.0, queries=len(queries), seconds=building)
        store.write_about(store.about().model_copy(update={"index": index}))
        found = [{hit.path for hit in hits} for hits in store.search(queries, NEAREST)]
        curve[effort] = recall(found, truth)
        if curve[effort] >= WANTED:
            break
    times = times_of(lambda one: store.search(one, NEAREST), queries)
    exact = times_of(lambda one: store.search(one, NEAREST, exact=True), queries[:10])
    return {
        "load_s": load, "index_s": building, "kind": kind, "effort": effort, "recall": curve[effort],
        "recall by effort": curve, **_latency(times), "exact_p50_s": float(np.median(exact)),
        "batch64_s": _seconds(lambda: store.search(queries[:64], NEAREST)),
    }  # fmt: skip


def measure(name: str, rows: int, count: int, work: Path) -> dict[str, Any]:
    """Measure one store in this process."""
    queries = make_queries(rows, count)
    if name == "numpy":
        return measure_numpy(rows, queries)
    making = _seconds(lambda: [None for _ in blocks(rows)])
    if name == "lance":
        with contextlib.closing(open_store(str(work / "lance"))) as store:
            result = measure_store(store, rows, queries, making)
        return result | {"memory_mb": peak_mb(), "disk_mb": disk_mb(work / "lance")}
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from postgres_server import binaries, server

    programs = binaries()
    if isinstance(programs, str):
        raise SystemExit(programs)
    with server(
        programs, folder=work, fsync="on", shared_buffers="2GB", full_page_writes="on", max_wal_size="8GB"
    ) as url:
        peak = Peak(work)
        with contextlib.closing(open_store(url)) as store:
            result = measure_store(store, rows, queries, making)
            with store.transaction() as connection:
                size = connection.execute("SELECT pg_database_size(current_database())").fetchone()[0]
        return result | {"memory_mb": peak.stop(), "client_mb": peak_mb(), "disk_mb": size / 1e6}


class Peak(threading.Thread):
    """Watches how much memory the processes of a server take together."""

    def __init__(self, folder: Path) -> None:
        """Begin to watch the server that lies in a folder."""
        super().__init__(daemon=True)
        self.folder, self.peak, self.ended = str(folder).encode(), 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look every half a second."""
        while not self.ended.wait(0.5):
            self.peak = max(self.peak, sum(_share_mb(process) for process in self._processes()))

    def _processes(self) -> list[Path]:
        """The server, which is called with its folder, and its children."""
        parents: dict[str, str] = {}
        servers = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[process.name] = (process / "stat").read_text().rpartition(")")[2].split()[1]
                command = (process / "cmdline").read_bytes()
                if self.folder in command and b"bin/postgres" in command:
                    servers.add(process.name)
        return [Path("/proc", name) for name, parent in parents.items() if name in servers or parent in servers]

    def stop(self) -> float:
        """Return the most that it was, in MB."""
        self.ended.set()
        self.join()
        return self.peak


def _share_mb(process: Path) -> float:
    """A process's share of memory: what is its own, and its part of what it shares."""
    with contextlib.suppress(OSError):
        for line in (process / "smaps_rollup").read_text().split("\n"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    return 0.0


def peak_mb() -> float:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().split("\n")
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


def disk_mb(folder: Path) -> float:
    """Size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _latency(times: list[float]) -> dict[str, float]:
    return {"p50_s": float(np.quantile(times, 0.5)), "p99_s": float(np.quantile(times, 0.99))}


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def line_of(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    kind = f"{name}, {one['kind']} {one['effort']}" if "kind" in one else f"{name}, exact"
    parts = [f"{1000 * one[key]:,.1f} ms" for key in ("p50_s", "p99_s", "exact_p50_s", "batch64_s")]
    return (kind, f"{one['load_s']:,.0f} s", f"{one['index_s']:,.1f} s", f"{one['recall']:.3f}", *parts,
            f"{one['memory_mb']:,.0f} MB", f"{one['disk_mb']:,.0f} MB")  # fmt: skip


def main() -> None:
    """Measure every store in a process of its own; print a table and write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--stores", default=",".join(STORES), help="any of numpy,lance,postgres")
    parser.add_argument("--out", type=Path, default=Path("bench/results/index.json"))
    parser.add_argument("--work", type=Path, help="where the stores lie meanwhile; by default a temporary folder")
    parser.add_argument("--one", choices=STORES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        json.dump(measure(given.one, given.rows, given.queries, given.work), sys.stdout)
        return
    results: dict[str, Any] = {"rows": given.rows, "dim": DIM, "queries": given.queries, "cores": os.cpu_count()}
    for name in given.stores.split(","):
        work = Path(tempfile.mkdtemp(prefix="index-", dir=given.work))
        command = [sys.executable, __file__, "--one", name, "--rows", str(given.rows), "--work", work]
        try:
            work.chmod(0o755)  # PostgreSQL may have to run as another user
            done = subprocess.run([*command, "--queries", str(given.queries)], stdout=subprocess.PIPE, check=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        results[name] = json.loads(done.stdout)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = new_table(f"{given.rows:,} rows of width {DIM}, {os.cpu_count()} cores")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "store" else "right")
    for name in STORES:
        if name in results:
            table.add_row(*line_of(name, results[name]))
    Console(width=150, highlight=False).print(table)
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
