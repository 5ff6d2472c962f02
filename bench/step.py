"""One training step of one text tower, table and batch size, against the baseline of ``published.py``.

python bench/step.py --tower b32 --rows 400000 --batch 32 [--captions FOLDER]       # prints one JSON object
python bench/step.py --tower b32 --rows 400000 --batch 128 --device cuda             # memory is then the GPU's

A process of its own, so that its peak memory is that of this measurement (Linux: it is read from /proc). Both versions
and the products that give the machine's peak run in turn; figures are medians over the turns. FLOPs:
``FrozenTextTower.flops``: those that are done, attention's own products not counted.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from published import DenseTrainer
from texts import load_captions
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import babelclip
from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.layout import lay_out
from babelclip.encoders.tower import first_ends
from babelclip.lexicon import Lexicon, Tokens, Wish, tokenise
from babelclip.methods import Task, compose
from babelclip.training import TaskTrainer
from babelclip.training.allocator import keep_freed_memory
from babelclip.training.batches import plan_epoch, prepare_ahead

# width, layers, heads, MLP, dim of the shared space. The text towers of CLIP B/32 and B/16 are the same.
TOWERS = {"pictoclip": (192, 4, 3, 768, 192), "b32": (512, 12, 8, 2048, 512)}
TURNS = {32: 3, 128: 2}
SETTINGS = TaskSettings(warm_up=0)


class Encoder:
    """A text tower with random weights behind the interface that training needs."""

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        """Make the tower and keep the layers one by one for the baseline."""
        width, layers, heads, inner, dim = shape
        config = CLIPTextConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner,
            projection_dim=dim, vocab_size=8, bos_token_id=6, eos_token_id=7,
        )  # fmt: skip
        torch.manual_seed(0)
        self.device = torch.device(device)
        self.model = CLIPTextModelWithProjection(config).eval().requires_grad_(False).to(self.device)
        self.text_tower = FrozenTextTower(self.model.text_model, self.model.text_projection)


def make_task(texts: list[str], rows: int, width: int) -> tuple[Task, Tokens]:
    """The lexicon of the built-in model grown for the texts, its table filled up to ``rows`` as by other languages."""
    lexicon: Lexicon = babelclip.load(device="cpu").lexicon.copy()
    lexicon.grow("xx", texts, Wish(10_000), initialiser="normal", generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    table = torch.empty(rows, width).normal_(0, 0.02, generator=generator)
    lexicon = dataclasses.replace(lexicon, table=table, uses=torch.ones(rows, dtype=torch.int64))
    tokens = tokenise(lexicon.tokenizer(), texts)
    return Task("xx", 0, lexicon, tokens.used()), tokens


def now(device: str) -> float:
    """Seconds on a clock that is read when the device has done all that was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def matmul_peak(dtype: torch.dtype, device: str) -> float:
    """The FLOP/s that the machine sustains for half a second in the best of some products, in this process."""
    best = 0.0
    for rows, inner, columns in ((1024, 1024, 1024), (2048, 2048, 2048), (1792, 512, 2048), (4096, 1024, 1024)):
        a = torch.randn(rows, inner).to(device, dtype)
        b = torch.randn(columns, inner).to(device, dtype)
        torch.nn.functional.linear(a, b)
        done, started, at_once = 0, now(device), 1 if device == "cpu" else 100
        while (seconds := now(device) - started) < 0.5:
            for _ in range(at_once):
                torch.nn.functional.linear(a, b)
            done += at_once
        best = max(best, 2 * rows * inner * columns * done / seconds)
    return best


def peak_above(before: int, device: str) -> float:
    """MB that the process (or the GPU) held at most since ``reset_peak``, above ``before`` bytes."""
    if device != "cpu":
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return (peak - before) / 1e6


def reset_peak(device: str) -> int:
    """Give freed memory back and forget the peak so far (Linux); return the bytes held now."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    ctypes.CDLL(None).malloc_trim(0)  # else the next version would live in what the first has freed
    Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


class Ours:
    """Epochs of the real loop: plan, prepare ahead, train; with the time of each phase."""

    def __init__(self, encoder: Encoder, task: Task, tokens: Tokens, features: tuple[Tensor, Tensor], batch: int,
                 precision: str) -> None:  # fmt: skip
        """Prepare a training."""
        settings = dataclasses.replace(SETTINGS, precision=precision)
        self.trainer = TaskTrainer(encoder, task, compose("cll"), settings, total_steps=10**6)
        self._task, self._tokens, self._features, self._size = task, tokens, features, batch
        self._device = encoder.device.type
        self._generator = torch.Generator().manual_seed(0)
        self.phases = dict.fromkeys(("data", "forward", "backward", "update"), 0.0)
        self.seen: list[Tensor] = []
        for phase, name in (("forward", "losses"), ("backward", "backward"), ("update", "update")):
            setattr(self.trainer, name, self._timed(phase, getattr(self.trainer, name)))

    def epoch(self, texts: Tensor) -> None:
        """Train on texts once."""
        plan = plan_epoch(self._tokens.lengths[texts], self._size, SETTINGS.bucket, self._generator)
        batches = prepare_ahead([texts[places] for places in plan], self._make)
        for _ in plan:
            started = now(self._device)
            batch = next(batches)
            self.phases["data"] += now(self._device) - started
            self.trainer.step(batch)
            self.seen.append(batch.ids)

    def _make(self, chosen: Tensor) -> Batch:
        lexicon, (teachers, images) = self._task.lexicon, self._features
        ids = self._tokens.inputs(chosen, lexicon.frame)
        return Batch(ids, chosen // 5, teachers[chosen], images[chosen // 5])

    def _timed(self, phase: str, call: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object) -> object:
            started = now(self._device)
            result = call(*arguments)
            self.phases[phase] += now(self._device) - started
            return result

        return timed


def measure(
    tower: str, rows: int, batch: int, captions: Path | None, precision: str, baseline: bool, device: str
) -> dict[str, object]:
    """Run both versions in turn on the same texts and put the figures together."""
    by_language, source = load_captions(captions, 4096)
    texts = [text for language in by_language.values() for text in language]
    encoder = Encoder(TOWERS[tower], device)
    task, tokens = make_task(texts, rows, TOWERS[tower][0])
    generator = torch.Generator().manual_seed(2)
    features = (torch.randn(len(texts), TOWERS[tower][4], generator=generator),
                torch.randn(len(texts) // 5 + 1, TOWERS[tower][4], generator=generator))  # fmt: skip
    dtype, peaks = torch.float32 if precision == "float32" else torch.bfloat16, []
    count, rounds = SETTINGS.bucket, TURNS[batch]  # a whole window of batches, spread over both languages
    blocks = [torch.arange(batch) + len(texts) * k // count for k in range(count)]
    everything = torch.cat(blocks)
    memory = {}
    if baseline:
        before = reset_peak(device)
        dense = DenseTrainer(encoder.model, task.lexicon.table, task.lexicon.tokenizer(), SETTINGS,
                             bos=task.lexicon.bos, eos=task.lexicon.eos)  # fmt: skip
        dense_step(dense, texts, features, blocks[0])
        memory["published"] = peak_above(before, device)
    before = reset_peak(device)
    ours = Ours(encoder, task, tokens, features, batch, precision)
    ours.epoch(everything)
    memory["ours"] = peak_above(before, device)
    if baseline:
        dense_step(dense, texts, features, blocks[0])
    ours.phases = dict.fromkeys(ours.phases, 0.0)
    ours.seen.clear()
    turns: dict[str, list[float]] = {name: [] for name in memory}
    for _ in range(rounds):
        peaks.append(matmul_peak(dtype, device))
        started = now(device)
        ours.epoch(everything)
        turns["ours"].append((now(device) - started) / count)
        started = now(device)
        for block in blocks if baseline else ():
            dense_step(dense, texts, features, block)
        if baseline:
            turns["published"].append((now(device) - started) / count)
    peak = statistics.median(peaks)
    seconds = {name: statistics.median(values) for name, values in turns.items()}
    ends = [first_ends(ids, task.lexicon.eos) for ids in ours.seen]
    layouts = [lay_out(ids, last) for ids, last in zip(ours.seen, ends, strict=True)]
    flops = sum(encoder.text_tower.flops(layout) for layout in layouts)
    real = sum(int((last + 1).sum()) for last in ends)
    spent = sum(ours.phases.values())
    return {
        "tower": tower, "rows": rows, "batch": batch, "precision": precision, "texts": source, "device": device,
        "rows_in_training": len(ours.trainer.table.row_ids), "seconds_per_step": seconds,
        "texts_per_s": {name: batch / value for name, value in seconds.items()},
        "ratio": seconds["published"] / seconds["ours"] if baseline else None,
        "phases": {name: value / spent for name, value in ours.phases.items()},
        "tokens_per_text": real / len(layouts) / batch, "padding": 1 - real / sum(ids.numel() for ids in ours.seen),
        "nodes_per_token": sum(len(layout.ids) for layout in layouts) / real, "peak_mb": memory,
        "matmul_gflops": peak / 1e9, "share_of_matmul": flops / rounds / count / seconds["ours"] / peak,
    }  # fmt: skip


def dense_step(dense: DenseTrainer, texts: list[str], features: tuple[Tensor, Tensor], places: Tensor) -> None:
    """One step of the baseline on neighbours in the corpus."""
    dense.step([texts[place] for place in places.tolist()], features[0][places], features[1][places // 5], places // 5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tower", choices=TOWERS, default="pictoclip")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=32, choices=TURNS)
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--give-back", action="store_true", help="do without training/allocator.py")
    given = parser.parse_args()
    if not given.give_back:
        keep_freed_memory()
    print(json.dumps(measure(given.tower, given.rows, given.batch, given.captions, given.precision,
                             not given.no_baseline, given.device)))  # fmt: skip
