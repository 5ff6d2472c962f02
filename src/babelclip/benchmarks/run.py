"""A benchmark run: every method, order and seed of a plan, resumable, side by side if wanted.

OUT/bench.json            what all results in OUT have in common: code, data, base model, settings, device, threads
OUT/runs/KEY/run.json     a finished stream; KEY is METHOD-ORDER-seedN
OUT/runs/KEY/log.jsonl    its steps; OUT/runs/KEY/checkpoints/ while it is not finished
OUT/results.json          all finished streams, in the format of docs/results.md
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from babelclip import __version__
from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.job import LOCK, RUN, Job, Listener, put_together, read_run, run_stream_of
from babelclip.benchmarks.plan import Plan, order_languages
from babelclip.benchmarks.prepare import Prepared, Where, prepare
from babelclip.benchmarks.side_by_side import run_side_by_side
from babelclip.continual import code_fingerprint, data_fingerprint
from babelclip.continual.record import examples_of
from babelclip.encoders.names import name_for_others
from babelclip.errors import FormatError, SettingError
from babelclip.evaluation import Base, Results, write_results
from babelclip.files import alone, remove_temporaries, write_whole
from babelclip.lexicon import MultilingualLexicon
from babelclip.methods import compose
from babelclip.training.allocator import keep_freed_memory
from babelclip.training.workers import Workers

BENCH, RESULTS = "bench.json", "results.json"


def run_bench(plan: Plan, where: Where, out: Path, *, jobs: int = 1, listener: Listener | None = None) -> Results:
    """Run what is not finished of a plan, and write ``OUT/results.json``.

    Interrupted at any point, the same call goes on and ends with the same results apart from ``cost``.

    Args:
        plan: the run. More methods, orders and seeds can be added later; all else must stay as it was.
        where: where its data lies.
        out: folder for the results.
        jobs: streams that run side by side, each with an equal share of the cores. The share is fixed by the first run
            into ``out``, because sums in float32 depend on it.
        listener: told about progress.

    Raises:
        SettingError: the results in ``out`` are of other code, data, settings or base model, another process works
            there, or the plan cannot be run.
        BabelclipError: data or base model cannot be used, or a stream fails.
    """
    listener = listener or Listener()
    methods = [compose(method).name for method in plan.methods]
    with alone(out, out / LOCK, wait=0):
        remove_temporaries(out)
        if jobs > 1 and where.cache is None:
            raise SettingError(f"{jobs} processes have no cache to share", fix="Leave --cache off away, or --jobs.")
        prepared = prepare(plan, where, DATASETS, listener.bar)
        todo = _jobs(plan, prepared.languages, methods)
        common = _claim(out, plan, prepared, threads=max(1, (os.cpu_count() or 1) // jobs))
        listener.prepared(prepared)
        waiting = []
        for job in todo:
            found = read_run(out / "runs" / job.key / RUN)
            if found is None:
                _refuse_twins(job, out)
                waiting.append(job)
            else:
                listener.finished(job, found, 0.0)
        torch.set_num_threads(common["threads"])
        if jobs == 1:
            if prepared.student.encoder.device.type == "cpu":
                keep_freed_memory()
            for together in put_together(waiting):
                steps = listener.steps(together[0].key) if listener.steps else None
                found_runs, seconds = run_stream_of(together, prepared, plan, out, steps, listener.note)
                for job, runs in zip(together, found_runs, strict=True):
                    listener.finished(job, runs, seconds)
        elif waiting:
            run_side_by_side(
                put_together(waiting), plan, where, out, jobs=jobs, threads=common["threads"], listener=listener
            )
        results = Results(
            version=__version__, code=code_fingerprint(), data=prepared.data,
            base=Base(
                name=name_for_others(prepared.student.encoder.name), fingerprint=prepared.student.encoder.fingerprint,
                lexicon=_lexicon_name(plan, prepared),
            ),
            runs=[run for job in _finished(out, todo) for run in read_run(out / "runs" / job / RUN) or []],
        )  # fmt: skip
        write_results(results, out / RESULTS)
    return results


def _lexicon_name(plan: Plan, prepared: Prepared) -> str:
    """What results call the words: ``own``, or a multilingual lexicon with its fingerprint."""
    lexicon = prepared.student.lexicon
    if not isinstance(lexicon, MultilingualLexicon):
        return plan.lexicon
    return f"{name_for_others(plan.lexicon)} {lexicon.fingerprint}"


def _jobs(plan: Plan, languages: list[str], methods: list[str]) -> list[Job]:
    """All streams of a plan, seed by seed."""
    jobs = []
    for seed in plan.seeds:
        for order in plan.orders:
            tags = tuple(order_languages(order, languages))
            name = order if isinstance(order, str) else "order-" + hashlib.sha256(repr(tags).encode()).hexdigest()[:8]
            jobs += [Job(method, tags, name, seed) for method in methods]
    keys = [job.key for job in jobs]
    for key in keys:
        if keys.count(key) > 1:
            raise SettingError(f"the stream {key} stands twice in the plan", fix="Name methods, orders, seeds once.")
    for one, other in combinations(jobs, 2):
        if (one.method, one.order, one.seed) == (other.method, other.order, other.seed):
            raise SettingError(
                f"the orders {one.order_name!r} and {other.order_name!r} are the same here: {', '.join(one.order)}",
                fix="Leave one of them out.",
            )
    return jobs


def _refuse_twins(job: Job, out: Path) -> None:
    """Refuse a stream that is there already under another name of its order."""
    for file in (out / "runs").glob(f"{job.method}-*-seed{job.seed}/{RUN}"):
        found = read_run(file)
        if found and (found[0].method, found[0].order, found[0].seed) == (job.method, list(job.order), job.seed):
            raise SettingError(
                f"{file.parent} holds this stream already: the order {job.order_name!r} is the same here",
                fix="Name the order as before.",
            )


def _claim(out: Path, plan: Plan, prepared: Prepared, *, threads: int) -> dict[str, Any]:
    """Write down what all results in a folder have in common, or compare with what is written there."""
    student, settings = prepared.student, plan.task_settings()
    device = student.encoder.device
    examples = [part for tag in sorted(prepared.stages) for part in examples_of(prepared.stages[tag])]
    now = {
        "version": __version__, "code": code_fingerprint(), "torch": torch.__version__, "device": device.type,
        "precision": Workers(device, settings.precision).precision, "base model": student.encoder.fingerprint,
        "data": data_fingerprint(examples), "languages": prepared.languages,
        "train": plan.train.model_dump(), "test": [source.model_dump() for source in plan.test],
        "lexicon": _lexicon_name(plan, prepared), "incremental": plan.incremental,
        "settings": settings.as_dict(),
    }  # fmt: skip
    file = out / BENCH
    if not file.is_file():
        write_whole(file, json.dumps({**now, "threads": threads}, indent=1) + "\n")
        return {**now, "threads": threads}
    try:
        then: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        now["threads"] = int(then["threads"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"damaged ({error})", file=file, fix="Choose a new folder.") from error
    if listed := "; ".join(_differences(then, now)):
        raise SettingError(
            f"{out} holds results that cannot stand beside these: {listed}",
            fix="Choose a new --out, or go back to what it was.",
        )
    return now


def _differences(then: dict[str, Any], now: dict[str, Any], within: str = "") -> Iterator[str]:
    """Name each key that differs with both values; of a table of settings only those of its keys."""
    for name in then | now:
        was, is_ = then.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(is_, dict):
            yield from _differences(was, is_, f"{name}.")
        elif was != is_:
            yield f"{within}{name} was {_short(was)}, is {_short(is_)}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if len(text) == 64 else text


def _finished(out: Path, todo: list[Job]) -> list[str]:
    """Keys of all finished streams in a folder: those of the plan first, then earlier ones."""
    keys = {job.key: None for job in todo}
    keys |= {file.parent.name: None for file in sorted((out / "runs").glob(f"*/{RUN}"))}
    return list(keys)
