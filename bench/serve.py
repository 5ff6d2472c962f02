"""How many searches ``babelclip serve`` answers, with 200 clients that ask at once and with one; its memory meanwhile.

    python bench/serve.py                          # the demo's pictograms; 3 minutes; writes bench/results/serve.json
    python bench/serve.py --languages FOLDER       # packs (files or folders of them) beside the base model
    python bench/serve.py --images FOLDER --model MODEL

The server is a process of its own, started as a user would; so are the clients (``load.py``). The texts are one to
three names of emoji, in English and in the languages of the packs; each search asks for 20 results. All share the cores
of one machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from babelclip.benchmarks import openmoji
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DEFAULT_MODEL, load_encoder
from babelclip.languages import NATIVE
from babelclip.packs import install_pack, load_pack
from babelclip.packs.installed import begin_folder, pack_files_of
from babelclip.report.terminal import new_table

HERE = Path(__file__).parent
TEXTS = 20_000


class Server:
    """A running server.

    Attributes:
        process: of it.
        address: host and port.
    """

    def __init__(self, options: list[str], env: dict[str, str] | None = None) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "babelclip", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        for line in self.process.stdout or ():
            if found := re.search(r"Open http://(\S+:\d+)/", line):
                self.address = found[1]
                break
        else:
            raise SystemExit(f"the server did not start (exit code {self.process.wait()})")

    def read(self, path: str) -> str:
        """Return what it answers."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    @property
    def memory_mb(self) -> float:
        """What it holds in memory now (RSS)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().split("\n")
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))

    @property
    def cpu_s(self) -> float:
        """What it has computed so far, all threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def batches(self) -> dict[str, float]:
        """How many batches there were of each size, at most so many queries; their number and sum."""
        found = re.findall(r'babelclip_batch_size_(bucket\{le="([^"]+)"\}|count|sum) (\S+)', self.read("/metrics"))
        return {bound or name: float(value) for name, bound, value in found}

    def stop(self) -> int:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


class Watch(threading.Thread):
    """Writes down a server's memory."""

    def __init__(self, server: Server) -> None:
        """Begin to watch."""
        super().__init__(daemon=True)
        self.server, self.ended, self.seen = server, threading.Event(), [(0.0, server.memory_mb)]
        self.start()

    def run(self) -> None:
        """Look every second."""
        started = time.monotonic()
        while not self.ended.wait(1):
            self.seen.append((time.monotonic() - started, self.server.memory_mb))

    def after(self, seconds: float) -> float:
        """Return the memory at that moment, or the last one before."""
        return [memory for moment, memory in self.seen if moment <= seconds][-1]


def measure(server: Server, texts: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask, and return what they and the server say."""
    before, cpu, watch = server.batches(), server.cpu_s, Watch(server)
    command = [sys.executable, HERE / "load.py", server.address, texts, "--clients", str(clients)]
    load = subprocess.run([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, check=True)
    watch.ended.set()
    found: dict[str, Any] = json.loads(load.stdout)
    found["server_cpu_s"] = server.cpu_s - cpu
    after = server.batches()
    grown = {name: value - before[name] for name, value in after.items()}
    bounds = [name for name in grown if name not in {"count", "sum"}]
    sizes = {f"up to {bound}": grown[bound] - (grown[bounds[place - 1]] if place else 0) for place, bound in
             enumerate(bounds)}  # fmt: skip
    return found | {
        "batch_mean": grown["sum"] / max(1, grown["count"]), "batches": {name: n for name, n in sizes.items() if n},
        "memory_mb": {"start": watch.after(0), "after 10 s": watch.after(10), "end": watch.after(1e9)},
        "memory_mb_each_5_s": [round(watch.after(moment), 1) for moment in range(0, int(seconds) + 1, 5)],
    }  # fmt: skip


def make_texts(languages: list[str], count: int) -> list[str]:
    """Texts of one to three names, every language as often."""
    chance = random.Random(0)
    concepts, _ = openmoji.load_concepts()
    names = {tag: [name for one in concepts if (name := one.names.get(tag))] for tag in languages}
    pools = [pool for pool in names.values() if pool]
    return [" ".join(chance.sample(pools[n % len(pools)], chance.randint(1, 3))) for n in range(count)]


@contextlib.contextmanager
def packs_beside(model: str, languages: list[Path], work: Path) -> Iterator[tuple[str, list[str]]]:
    """A folder of packs where some are given; the model itself where none is."""
    if not languages:
        yield model, [NATIVE]
        return
    encoder = load_encoder(model, device="cpu")
    begin_folder(work / "packs", encoder)
    tags = [NATIVE]
    for file in (file for path in languages for file in pack_files_of(path)):
        pack = load_pack(file, encoder, base_lexicon(encoder))
        install_pack(work / "packs", pack, encoder)
        tags.append(pack.language)
    yield str(work / "packs"), tags


def run(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Index, serve, ask."""
    store = given.store or str(work / "index")
    with packs_beside(given.model, given.languages, work) as (model, tags):
        if not given.store:
            index = [sys.executable, "-m", "babelclip", "index", given.images, "--store", store]
            subprocess.run([*index, "--model", model], check=True)
        texts = work / "texts.json"
        texts.write_text(json.dumps(make_texts(tags, TEXTS)), encoding="utf-8")
        options = ["--store", store, "--model", model, "--precision", given.precision]
        server = Server([*options, *(["--threads", str(given.threads)] if given.threads else [])])
        try:
            results: dict[str, Any] = {
                "items": json.loads(server.read("/health"))["items"], "model": given.model, "languages": tags,
                "precision": given.precision, "threads": given.threads, "cores": os.cpu_count(),
                "load_average_before": round(os.getloadavg()[0], 2),
            }  # fmt: skip
            measure(server, texts, 8, 2)  # warms up
            results["one"] = measure(server, texts, 1, given.seconds / 6)
            results["many"] = measure(server, texts, given.clients, given.seconds)
            results["load_average_after"] = round(os.getloadavg()[0], 2)
        finally:
            results["exit_code"] = server.stop()
    return results


def line_of(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    memory = one["memory_mb"]
    return (name, f"{one['queries_per_second']:,.0f}", *(f"{1000 * one[key]:,.1f} ms" for key in ("p50_s", "p99_s")),
            f"{one['errors']:,}", f"{one['batch_mean']:.1f}", " / ".join(f"{value:,.0f}" for value in memory.values()),
            f"{one['server_cpu_s'] / one['seconds']:.2f} / {one['client_cpu_s'] / one['seconds']:.2f}")  # fmt: skip


def main() -> None:
    """Measure, print a table, write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("report/data/images"), help="indexed first")
    parser.add_argument("--store", help="an index that is there already, instead")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the base model")
    parser.add_argument("--languages", type=Path, nargs="*", default=[], help="packs: files, or folders of them")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, help="of the server's text tower")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--beside", default="", help="what else the machine was doing, written into the file")
    parser.add_argument("--out", type=Path, default=Path("bench/results/serve.json"))
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="serve-"))
    try:
        results = run(given, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    results["beside"] = given.beside
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = new_table(
        f"{results['items']:,} items, languages {', '.join(results['languages'])}, {results['cores']} cores, load "
        f"average {results['load_average_before']} before and {results['load_average_after']} after"
    )
    for column in ("clients", "queries/s", "p50", "p99", "errors", "batch", "memory MB: start / 10 s / end",
                   "cores: server / clients"):  # fmt: skip
        table.add_column(column, justify="right")
    for name in ("one", "many"):
        table.add_row(*line_of(f"{results[name]['clients']:,}", results[name]))
    Console(width=150, highlight=False).print(table)
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
