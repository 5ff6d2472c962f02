"""Texts through onnxruntime against texts through torch: time, and what int8 loses.

    python bench/onnx_texts.py --threads 1 2 --data report/data --out bench/results/onnx.json   # after make demo

All of ``Polyglot.encode_texts`` is measured, from texts to vectors. The tower ``b32`` has the shape of that of CLIP
B/32 and random weights; its words are those of the built-in model. A turn runs all three one after the other on the
same texts, in another order than the turn before; figures are medians over the turns. Captions are made up (``texts``).
With one thread the processor's time tells the same as the clock, and is hardly moved by other work on the machine.
``--threads`` takes several numbers; torch and onnxruntime then take as many in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import onnxruntime
import torch
from rich.console import Console
from step import TOWERS
from step import Encoder as RandomEncoder
from texts import load_captions
from torch import Tensor
from torch.nn.functional import cosine_similarity

from babelclip.data import Cache, Teacher, read_captions
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens
from babelclip.evaluation import retrieval_scores
from babelclip.export.onnx_tower import with_onnx
from babelclip.export.text_tower import PRECISIONS
from babelclip.files import write_whole
from babelclip.packs import Polyglot, load_polyglot
from babelclip.report.terminal import new_table

TURNS = {1: 31, 8: 15, 64: 5, 512: 3}
SCORES = ("img_r1", "img_r10", "txt_r1", "txt_r10")


def make_polyglot(tower: str) -> Polyglot:
    """The built-in model, or its words in front of a random tower."""
    whole = load_polyglot("pictoclip", device="cpu")
    if tower == "pictoclip":
        return whole
    made, own = RandomEncoder(TOWERS[tower], "cpu"), whole.encoder
    width, dim = TOWERS[tower][0], TOWERS[tower][4]
    table = torch.randn(len(whole.base.table), width, generator=torch.Generator().manual_seed(0)) * 0.02
    encoder: Any = SimpleNamespace(
        name=tower, fingerprint=tower, text_tower=made.text_tower, device=made.device, dim=dim, frame=own.frame
    )
    return Polyglot(encoder, replace(base_lexicon(own), table=table))


def in_turn(calls: Mapping[str, Callable[[int], object]], turns: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each call, and of the processor's work on it; called with the number of the turn."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in list(calls.items())[:: 1 if turn % 2 else -1]:
            time.sleep(0.003)  # threads of the one before stop looking for work
            started, worked = time.perf_counter(), time.process_time()
            call(turn)
            if turn:  # the first one builds tokenizers and asks for memory
                seconds[name].append((time.perf_counter() - started, time.process_time() - worked))
    clock, work = ({name: median(one[k] for one in found) for name, found in seconds.items()} for k in (0, 1))
    return clock, work


def bench_tower(tower: str, threads: int, texts: list[str]) -> list[dict[str, Any]]:
    """Every number of texts."""
    torch.set_num_threads(threads)
    polyglot = make_polyglot(tower)
    runners = {"torch": polyglot} | {
        precision: with_onnx(polyglot, precision=precision, threads=threads, cache=Cache(None))
        for precision in PRECISIONS
    }

    def call(one: Polyglot, count: int) -> Callable[[int], Tensor]:
        def encode(turn: int) -> Tensor:
            start = turn * count % (len(texts) - count + 1)
            return one.encode_texts(texts[start : start + count], language="en")

        return encode

    results: list[dict[str, Any]] = []
    for count, turns in TURNS.items():
        seconds, work = in_turn({name: call(one, count) for name, one in runners.items()}, turns)
        results.append({
            "tower": tower, "threads": threads, "texts": count,
            "ms": {name: 1000 * found for name, found in seconds.items()},
            "texts_per_s": {name: count / found for name, found in seconds.items()},
            "ratio": {name: seconds["torch"] / seconds[name] for name in PRECISIONS},
            "processor_ms": {name: 1000 * found for name, found in work.items()},
            "processor_ratio": {name: work["torch"] / work[name] for name in PRECISIONS},
        })  # fmt: skip
    return results


def bench_batches(tower: str, texts: list[str]) -> dict[str, dict[str, float]]:
    """Texts a second of the processor's work by the size of a batch, formed by length or as they come; one thread."""
    torch.set_num_threads(1)
    polyglot, found = make_polyglot(tower), {}
    sequences = polyglot.base.encode(texts)
    for precision in PRECISIONS:
        plain = with_onnx(polyglot, precision=precision, threads=1, cache=Cache(None)).tower

        def by_length(size: int, plain: Any = plain) -> Callable[[int], object]:
            return lambda _: encode_tokens(
                polyglot.encoder, polyglot.base.table, sequences, batch_size=size, plain=plain
            )

        def as_they_come(size: int, plain: Any = plain) -> Callable[[int], object]:
            return lambda _: [
                encode_tokens(polyglot.encoder, polyglot.base.table, sequences[k : k + size], plain=plain)
                for k in range(0, len(sequences), size)
            ]

        calls = {f"{size}": by_length(size) for size in (16, 32, 64, 128, 256)} | {"64 unsorted": as_they_come(64)}
        found[precision] = {name: len(texts) / one for name, one in in_turn(calls, 5)[1].items()}
    return found


def bench_start(tower: str) -> dict[str, dict[str, float]]:
    """Size of the graph in MB; seconds of building and of loading it."""
    polyglot, found = make_polyglot(tower), {}
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as place:
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                with_onnx(polyglot, precision=precision, threads=1, cache=Cache(place))
                seconds.append(time.perf_counter() - started)
            (file,) = Path(place).rglob("*.onnx")
            found[precision] = {"mb": file.stat().st_size / 1e6, "build_s": seconds[0], "load_s": seconds[1]}
    return found


def measure_loss(data: Path) -> dict[str, dict[str, float]]:
    """Scores in percent and similarity to torch's vectors, English test texts of the built-in data."""
    polyglot = load_polyglot("pictoclip", device="cpu")
    examples = Teacher(polyglot.encoder, Cache(None)).prepare(read_captions(data / "en.test.tsv", "en"))
    images, exact = examples.images[:], polyglot.encode_texts(examples.texts, language="en")
    found = {}
    for name in ("torch", *PRECISIONS):
        one = polyglot if name == "torch" else with_onnx(polyglot, precision=name, cache=Cache(None))
        vectors = one.encode_texts(examples.texts, language="en")
        scores = retrieval_scores(vectors, images, examples.owner)
        found[name] = {metric: scores[metric] for metric in SCORES}
        found[name]["lowest_cosine"] = float(cosine_similarity(vectors.double(), exact.double()).min())
    return found


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=list(TOWERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--data", type=Path, default=None, help="of make demo; without it no loss is measured")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    texts, source = load_captions(None, 1024)
    load = os.getloadavg()[0]
    plans = [(tower, threads) for threads in options.threads for tower in options.towers]
    results = [one for plan in plans for one in bench_tower(*plan, texts["en"])]
    console = Console()
    table = new_table("Milliseconds (times faster than torch: clock, processor)")
    for column in ("tower", "threads", "texts", "torch", *PRECISIONS):
        table.add_column(column)
    for one in results:
        cells = [f"{one['ms']['torch']:.2f}"]
        for name in PRECISIONS:
            cells.append(f"{one['ms'][name]:.2f} ({one['ratio'][name]:.2f}, {one['processor_ratio'][name]:.2f})")
        table.add_row(one["tower"], str(one["threads"]), str(one["texts"]), *cells)
    console.print(table)
    content: dict[str, object] = {
        "texts": source, "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "load_before": load, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "results": results,
        "start": {tower: bench_start(tower) for tower in options.towers},
        "texts_per_s_by_batch": bench_batches(options.towers[0], texts["en"][:512]),
    }  # fmt: skip
    console.print_json(json.dumps({name: content[name] for name in ("start", "texts_per_s_by_batch")}))
    if options.data is not None:
        content["loss"] = measure_loss(options.data)
        console.print_json(json.dumps(content["loss"]))
    if options.out is not None:
        write_whole(options.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
