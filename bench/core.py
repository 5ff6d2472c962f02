"""How fast the core is, against slow obvious versions measured in the same run; one table, and a JSON file.

    make bench                                     # about 18 minutes on 2 cores; writes build/speed.json
    python bench/core.py --quick                   # the built-in model's tower only; about 3 minutes
    python bench/core.py --captions FOLDER         # en.json and de.json, Karpathy style, in place of made-up captions
    python bench/core.py --only ranks --out FILE   # a part of it again; the other lines of FILE stay

Training steps are measured by ``step.py``, each in a process of its own; see there for what is compared.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from step import peak_above, reset_peak
from texts import load_captions
from torch.nn.functional import normalize

import babelclip
from babelclip.evaluation import retrieval_scores
from babelclip.lexicon import Lexicon, Vocabulary, Wish
from babelclip.lexicon.room import append_rows
from babelclip.report.terminal import new_table
from babelclip.training.table import CompactTable

HERE = Path(__file__).parent
COLUMNS = ("what", "babelclip (data/forward/backward/update in %)", "baseline", "ratio; share of a product")
Row = tuple[str, str, str, str]
PARTS = ("ranks", "growth", "float32", "bfloat16")


def seconds_of(call: Callable[[], object], runs: int) -> float:
    """Median seconds of some runs."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def bench_steps(captions: Path | None, precision: str, quick: bool) -> list[dict[str, object]]:
    """Every tower, table and batch size; in bfloat16 the large tower, where the processor has it.

    The baseline is in float32, as the published code is, whatever ours is in.
    """
    rows = (50_000, 150_000, 400_000) if precision == "float32" else (50_000, 400_000)
    towers = ("pictoclip", *(() if quick else ("b32",))) if precision == "float32" else ("b32",)
    results = []
    for tower, batch, count in itertools.product(towers, (32, 128), rows):
        command = [sys.executable, HERE / "step.py", "--tower", tower, "--rows", str(count), "--batch", str(batch)]
        command += ["--precision", precision, *(["--captions", captions] if captions else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout))
        print(".", end="", flush=True)
    return results


def bench_ranks() -> dict[str, float]:
    """Crossmodal-3600's size: 3,600 images x 7,200 texts, both directions; one language, and all 36."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3_600, 512, generator=generator)
    owner = torch.arange(3_600).repeat_interleave(2)
    texts = images[owner] + 3 * torch.randn(7_200, 512, generator=generator)

    def by_sorting() -> None:
        scores = normalize(texts, dim=-1) @ normalize(images, dim=-1).T
        for row, own in zip(scores, owner.tolist(), strict=True):
            (row.argsort(descending=True) == own).nonzero()
        for image, column in enumerate(scores.T):
            (owner[column.argsort(descending=True)] == image).nonzero()[0]

    retrieval_scores(texts, images, owner)
    each = [seconds_of(lambda: retrieval_scores(texts, images, owner), 1) for _ in range(36)]
    return {"one_language_s": statistics.median(each), "36_languages_s": sum(each),
            "by_sorting_s": seconds_of(by_sorting, 1)}  # fmt: skip


def bench_growth(texts: list[str]) -> list[dict[str, float]]:
    """10,000 tokens from the texts, into lexicons that hold more and more languages already; best of 5 turns."""
    base = babelclip.load(device="cpu").lexicon
    runs = {rows: [] for rows in (50_000, 150_000, 400_000)}
    lexicons = [fill(base, rows) for rows in runs]
    for lexicon in 5 * lexicons:
        grown = lexicon.copy()
        grown.table = append_rows(lexicon.table, lexicon.table[:0])  # with room behind, as a task leaves it
        gc.collect()  # of what earlier runs left
        started = time.perf_counter()
        growth = grown.grow("xx", texts, Wish(10_000), initialiser="matched", generator=torch.Generator())
        seconds = [time.perf_counter() - started, seconds_of(grown.tokenizer, 1)]
        changed = CompactTable(grown.table, torch.arange(len(lexicon.table), len(grown.table)), torch.device("cpu"))
        write_back = partial(changed.full, [1e-4] * 1_000, 0.1, torch.ones(len(grown.table)))
        held = reset_peak("cpu")
        seconds.append(seconds_of(write_back, 1))
        runs[len(lexicon.table)].append((growth.new_tokens, *seconds, peak_above(held, "cpu")))
    names = ("new_tokens", "grow_s", "build_tokenizer_s", "write_back_s", "write_back_mb")
    return [
        {"rows": rows, "texts": len(texts)} | dict(zip(names, map(min, zip(*figures, strict=True)), strict=True))
        for rows, figures in runs.items()
    ]


def fill(lexicon: Lexicon, rows: int) -> Lexicon:
    """Add made-up tokens and merges, as other languages would have, up to ``rows`` of width 512."""
    chance = random.Random(0)
    tokens, merges = list(lexicon.vocabulary.tokens), list(lexicon.vocabulary.merges)
    known, joined = set(tokens), set(merges)
    ends = [token for token in tokens if not token.startswith("<|")]
    starts = [token for token in ends if not token.endswith("</w>")]
    while len(tokens) < rows:
        pair = (chance.choice(starts), chance.choice(ends))
        token = "".join(pair)
        if token in known or pair in joined or len(token) > 24:
            continue
        tokens.append(token)
        merges.append(pair)
        known.add(token)
        joined.add(pair)
        if not token.endswith("</w>"):
            starts.append(token)
    filled = lexicon.copy()
    filled.vocabulary = Vocabulary(tuple(tokens), tuple(merges))
    filled.table = torch.empty(rows, 512).normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    filled.uses = torch.ones(rows, dtype=torch.int64)
    return filled


def rows_of(results: dict[str, list[dict] | dict]) -> list[Row]:
    """The table's lines: what, figure, baseline, ratio or share."""
    lines: list[Row] = []
    for step in results["float32"] + results["bfloat16"]:
        speed, held, phases = step["texts_per_s"], step["peak_mb"], step["phases"]
        name = f"{step['tower']}, {step['rows'] // 1000}k rows, batch {step['batch']}, {step['precision']}"
        spent = "/".join(f"{100 * share:.0f}" for share in phases.values())
        other = f"{speed['published']:,.1f} texts/s, {held['published']:,.0f} MB" if step["ratio"] else "-"
        ratio = f"{step['ratio']:.1f}x; " if step["ratio"] else ""
        share = f"{100 * step['share_of_matmul']:.0f} % of {step['matmul_gflops']:.0f} GFLOP/s"
        lines.append((name, f"{speed['ours']:,.0f} texts/s, {1000 * step['seconds_per_step']['ours']:,.0f} ms/step "
                      f"({spent}), {held['ours']:,.0f} MB", other,
                      ratio + share))  # fmt: skip
    ranks = results["ranks"]
    lines.append(("recalls, 3,600 images x 7,200 texts", f"{ranks['one_language_s']:.2f} s; 36 languages "
                  f"{ranks['36_languages_s']:.1f} s", f"sorting {ranks['by_sorting_s']:.1f} s",
                  f"{ranks['by_sorting_s'] / ranks['one_language_s']:.1f}x"))  # fmt: skip
    lines += [
        (f"grow a lexicon of {one['rows'] // 1000}k rows by {one['new_tokens']:,} tokens",
         f"{one['grow_s']:.1f} s + tokenizer {one['build_tokenizer_s']:.1f} s" + _write_back(one), "-",
         f"{one['texts']:,} texts")
        for one in results["growth"]
    ]  # fmt: skip
    return lines


def _write_back(one: dict) -> str:
    """What the end of a task takes, where it was measured."""
    return (
        f"; table written back {one['write_back_s']:.1f} s, {one['write_back_mb']:,.0f} MB"
        if "write_back_s" in one
        else ""
    )


def _machine() -> str:
    """The processor's name, where the system tells."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return name + " with AMX" * any("amx_bf16" in line for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--only", choices=PARTS, nargs="+", help="measure these again and keep the rest of --out")
    parser.add_argument("--out", type=Path, default=Path("build/speed.json"))
    given = parser.parse_args()
    if given.only and given.quick:
        parser.error("--only measures whole parts: leave --quick away")
    by_language, source = load_captions(given.captions, 30_000)
    results = {"machine": _machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), "texts": source}
    if given.only:
        if not given.out.is_file():
            parser.error(f"--only keeps the other lines of {given.out}, but there is no such file: leave --only away")
        kept = json.loads(given.out.read_text(encoding="utf-8"))
        if different := [name for name, value in results.items() if kept[name] != value]:
            sys.exit(f"{given.out} was measured with other {', '.join(different)}: measure all of it")
        results |= kept
    for part in given.only or PARTS:
        if part == "ranks":
            results[part] = bench_ranks()
        elif part == "growth":
            results[part] = bench_growth(by_language["de"])
        elif part == "float32" or (torch.ops.mkldnn._is_mkldnn_bf16_supported() and not given.quick):
            results[part] = bench_steps(given.captions, part, given.quick)
        else:
            results.setdefault(part, [])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = new_table(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {source}")
    for column in COLUMNS:
        table.add_column(column)
    for line in rows_of(results):
        table.add_row(*line)
    Console(width=200, highlight=False).print()
    Console(width=200, highlight=False).print(table)
    print(f"written to {given.out}")
