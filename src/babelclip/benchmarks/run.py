"""A benchmark run: every method, order and seed of a plan, one stream each, resumable, side by side if wanted.

OUT/bench.json            what all results in OUT have in common: code, data, base model, settings, threads
OUT/runs/KEY/run.json     a finished stream; KEY is METHOD-ORDER-seedN
OUT/runs/KEY/log.jsonl    its steps; OUT/runs/KEY/checkpoints/ while it is not finished
OUT/results.json          all finished streams, in the format of docs/results.md
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from babelclip import __version__
from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.plan import Plan, order_languages
from babelclip.benchmarks.prepare import Bar, Prepared, Where, prepare
from babelclip.continual import code_fingerprint, data_fingerprint, run_stream
from babelclip.continual.stream import examples_of
from babelclip.errors import FormatError, SettingError
from babelclip.evaluation import Base, Results, Run, write_results
from babelclip.files import remove_temporaries, write_whole
from babelclip.methods import compose
from babelclip.training import Checkpoints, JsonlLog, OnStep
from babelclip.training.allocator import keep_freed_memory

BENCH, RUN, RESULTS, LOCK = "bench.json", "run.json", "results.json", ".lock"


@dataclass(frozen=True)
class Job:
    """One stream: a method, an order and a seed."""

    method: str
    order: tuple[str, ...]
    order_name: str
    seed: int

    @property
    def key(self) -> str:
        """Its folder's name."""
        return f"{self.method}-{self.order_name}-seed{self.seed}"


@dataclass(frozen=True)
class Listener:
    """Who is told about a run; each does nothing by default.

    Attributes:
        bar: makes a progress callback for a line of text.
        steps: makes a callback for the training steps of a stream.
        note: told what a user should know.
        prepared: told when data and base model are ready.
        finished: told about each finished stream: job, results, seconds; 0 seconds if it was finished before.
    """

    bar: Bar | None = None
    steps: Callable[[str], OnStep] | None = None
    note: Callable[[str], None] = print
    prepared: Callable[[Prepared], None] = lambda _: None
    finished: Callable[[Job, list[Run], float], None] = lambda *_: None


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
    with _alone(out / LOCK, wait=0):
        remove_temporaries(out)
        prepared = prepare(plan, where, DATASETS, listener.bar)
        todo = _jobs(plan, prepared.languages, methods)
        common = _claim(out, plan, prepared, threads=max(1, (os.cpu_count() or 1) // jobs))
        listener.prepared(prepared)
        waiting = []
        for job in todo:
            found = _read_run(out / "runs" / job.key / RUN)
            if found is None:
                waiting.append(job)
            else:
                listener.finished(job, found, 0.0)
        torch.set_num_threads(common["threads"])
        if jobs == 1:
            if prepared.student.encoder.device.type == "cpu":
                keep_freed_memory()
            for job in waiting:
                steps = listener.steps(job.key) if listener.steps else None
                listener.finished(job, *_run_job(job, prepared, plan, out, steps, listener.note))
        elif waiting:
            _side_by_side(waiting, plan, where, out, jobs=jobs, threads=common["threads"], listener=listener)
        results = Results(
            version=__version__, code=code_fingerprint(), data=prepared.data,
            base=Base(name=_base_name(prepared), fingerprint=prepared.student.encoder.fingerprint),
            runs=[run for job in _finished(out, todo) for run in _read_run(out / "runs" / job / RUN) or []],
        )  # fmt: skip
        write_results(results, out / RESULTS)
    return results


def _base_name(prepared: Prepared) -> str:
    """The base model's name; of a folder its last part, because where it lies is nobody's business."""
    name = prepared.student.encoder.name
    return Path(name).name if Path(name).is_dir() else name


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
    return jobs


def _claim(out: Path, plan: Plan, prepared: Prepared, *, threads: int) -> dict[str, Any]:
    """Write down what all results in a folder have in common, or compare with what is written there."""
    examples = [part for stage in prepared.stages.values() for part in examples_of(stage)]
    now = {
        "version": __version__, "code": code_fingerprint(), "base model": prepared.student.encoder.fingerprint,
        "data": data_fingerprint(examples), "languages": sorted(prepared.languages),
        "train": plan.train.model_dump(), "test": [source.model_dump() for source in plan.test],
        "incremental": plan.incremental, "settings": plan.task_settings().as_dict(),
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
    different = [name for name in then | now if then.get(name) != now.get(name)]
    if different:
        listed = "; ".join(f"{name} was {_short(then.get(name))}, is {_short(now.get(name))}" for name in different)
        raise SettingError(
            f"{out} holds results that cannot stand beside these: {listed}",
            fix="Choose a new --out, or go back to what it was.",
        )
    return now


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if len(text) == 64 else text


def _run_job(
    job: Job, prepared: Prepared, plan: Plan, out: Path, steps: OnStep | None, note: Callable[[str], None]
) -> tuple[list[Run], float]:
    """Run one stream to its end and keep its result; returns it and the seconds that it took."""
    started = time.perf_counter()
    folder = out / "runs" / job.key
    with _alone(folder / LOCK, wait=5):  # of a killed run, processes may live on for a second
        remove_temporaries(folder)
        checkpoints = Checkpoints(folder / "checkpoints", note=note)
        with closing(JsonlLog(folder / "log.jsonl")) as log:

            def tell(step: Any) -> None:
                log(step)
                if steps is not None:
                    steps(step)

            stream = run_stream(
                prepared.student, [prepared.stages[language] for language in job.order], method=job.method,
                settings=replace(plan.task_settings(), seed=job.seed), incremental=plan.incremental, on_step=tell,
                checkpoints=checkpoints,
            )  # fmt: skip
        write_whole(folder / RUN, TypeAdapter(list[Run]).dump_json(stream.runs, indent=1))
        checkpoints.clear()
    return stream.runs, time.perf_counter() - started


def _read_run(file: Path) -> list[Run] | None:
    """A finished stream, or None."""
    if not file.is_file():
        return None
    try:
        return TypeAdapter(list[Run]).validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise FormatError(
            f"damaged ({first['msg']})", file=file, fix="Delete it; the stream will run again."
        ) from error


def _finished(out: Path, todo: list[Job]) -> list[str]:
    """Keys of all finished streams in a folder: those of the plan first, then earlier ones."""
    keys = {job.key: None for job in todo}
    keys |= {file.parent.name: None for file in sorted((out / "runs").glob(f"*/{RUN}"))}
    return list(keys)


@contextmanager
def _alone(file: Path, *, wait: float) -> Iterator[None]:
    """Hold a lock that the system gives back when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingError(
            f"another process works in {file.parent}", fix="Wait until it has ended, or choose a new --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


# Side by side: every worker process prepares once, from the caches that the first process has filled.

_worker: dict[str, Any] = {}


def _side_by_side(
    waiting: list[Job], plan: Plan, where: Where, out: Path, *, jobs: int, threads: int, listener: Listener
) -> None:
    """Run streams in ``jobs`` processes; the first failure ends all of them, and what was finished stays."""
    arguments = (plan, where, out, threads, os.getpid())
    with ProcessPoolExecutor(
        min(jobs, len(waiting)), mp_context=get_context("spawn"), initializer=_begin, initargs=arguments
    ) as pool:
        running = {pool.submit(_work, job): job for job in waiting}
        try:
            for one in as_completed(running):
                runs, seconds, notes = one.result()
                for each in notes:
                    listener.note(each)
                listener.finished(running[one], runs, seconds)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(plan: Plan, where: Where, out: Path, threads: int, parent: int) -> None:
    """Prepare a worker process; it ends when its parent has ended."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()
    _worker.update(plan=plan, out=out, prepared=prepare(plan, where, DATASETS))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(job: Job) -> tuple[list[Run], float, list[str]]:
    notes: list[str] = []
    runs, seconds = _run_job(job, _worker["prepared"], _worker["plan"], _worker["out"], None, notes.append)
    return runs, seconds, notes
