"""How fast the core is, as ratios against slow obvious versions measured in the same run.

    make bench                   # or: .venv/bin/python bench/core.py; about 2 minutes on 2 cores

Each figure is the median of several alternating runs of both versions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import normalize

import babelclip
from babelclip.config import PICTOCLIP
from babelclip.data import Examples
from babelclip.evaluation import retrieval_scores
from babelclip.methods import Stack, Task, compose
from babelclip.training.loop import _batches
from babelclip.training.trainer import Batch, TaskTrainer


def compare(fast: Callable[[], object], slow: Callable[[], object], runs: int = 5) -> tuple[float, float]:
    """Return median seconds of both, run in turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    fast()
    slow()
    for _ in range(runs):
        for version, kept in zip((fast, slow), seconds, strict=True):
            started = time.perf_counter()
            version()
            kept.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def show(name: str, fast: float, slow: float) -> None:
    """Print one comparison."""
    print(f"{name}: {fast:.3f} s against {slow:.3f} s, {slow / fast:.1f} times as fast", flush=True)


def bench_ranks() -> None:
    """Both directions, 10,000 texts x 2,000 images: counting against sorting every row and every column."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2_000, 512, generator=generator)
    owner = torch.arange(2_000).repeat_interleave(5)
    texts = images[owner] + 3 * torch.randn(10_000, 512, generator=generator)

    def by_sorting() -> None:
        scores = normalize(texts, dim=-1) @ normalize(images, dim=-1).T
        for row, own in zip(scores, owner.tolist(), strict=True):
            (row.argsort(descending=True) == own).nonzero()
        for image, column in enumerate(scores.T):
            (owner[column.argsort(descending=True)] == image).nonzero()[0]

    show("ranks by counting, against sorting", *compare(lambda: retrieval_scores(texts, images, owner), by_sorting, 3))


def fake_examples(student: babelclip.Student, count: int = 512) -> Examples:
    """Short and long English texts with random vectors; only the time matters here."""
    generator = torch.Generator().manual_seed(0)
    words = ["red", "woman", "judge", "medium-dark", "skin", "tone", "cat", "face", "flag", "square"]
    lengths = torch.randint(1, 13, (count,), generator=generator).tolist()
    texts = [" ".join(words[(i * 7 + k) % len(words)] for k in range(n)) for i, n in enumerate(lengths)]
    vectors = torch.randn(2, count, student.encoder.dim, generator=generator)
    return Examples("xx", texts, texts, [], torch.arange(count), vectors[0], vectors[1])


def bench_padding() -> None:
    """One epoch of training: batches by length and trimmed, against random batches padded to 77."""
    student = babelclip.load(device="cpu")
    examples = fake_examples(student)
    lexicon = student.lexicon
    sequences = lexicon.encode(examples.texts)
    used = torch.tensor(sorted({i for ids in sequences for i in ids} - {lexicon.bos, lexicon.eos}))
    task = Task("xx", 0, lexicon, used)
    stack: Stack = compose("teir")

    def epoch(padded: bool) -> None:
        trainer = TaskTrainer(student.encoder, task, stack, PICTOCLIP, total_steps=16)
        for batch in _batches(sequences, examples, 32, PICTOCLIP, lexicon.eos, torch.Generator().manual_seed(0)):
            ids = batch.ids
            if padded:
                ids = torch.nn.functional.pad(ids, (0, 77 - ids.shape[1]), value=lexicon.eos)
            trainer.step(Batch(ids, batch.image_ids, batch.teachers, batch.images))

    fast, slow = compare(lambda: epoch(False), lambda: epoch(True), 3)
    show("training on trimmed batches, against padding to 77", fast, slow)
    tokens = sum(map(len, sequences))
    tower = student.encoder._tower.weights
    spent = 4 * tower * tokens / fast  # forward 2, backward to the activations 2 operations a weight and token
    a, b = torch.randn(2, 1024, 1024)
    peak = 2 * 1024**3 / compare(lambda: a @ b, lambda: None, 20)[0]
    print(f"training uses {100 * spent / peak:.0f} % of the {peak / 1e9:.0f} GFLOP/s of a 1024 x 1024 float32 product")


def bench_compact() -> None:
    """The optimiser's part of a step: 8,000 rows of a 60,000 x 512 table, against the whole table."""

    def step(rows: int) -> Callable[[], None]:
        table = torch.nn.Parameter(torch.randn(rows, 512) * 0.01)
        optimiser = torch.optim.AdamW([table], fused=True)
        ids = torch.randint(0, rows, (128, 20))
        scale = torch.rand(rows, 1)

        def run() -> None:
            optimiser.zero_grad()
            torch.nn.functional.embedding(ids, table).square().sum().backward()
            torch.nn.utils.clip_grad_norm_([table], 1.0)
            with torch.no_grad():
                table.mul_(1 - 1e-6 * scale)
                table.grad.mul_(scale)
            optimiser.step()

        return run

    show("compact table, against the whole table", *compare(step(8_000), step(60_000), 9))


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    bench_ranks()
    bench_padding()
    bench_compact()
