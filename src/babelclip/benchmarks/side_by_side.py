"""Streams side by side: every worker process prepares once, from the caches that the first process has filled."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import torch

from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.job import LOG, Job, Listener, run_stream_of, stream_of
from babelclip.benchmarks.plan import Plan
from babelclip.benchmarks.prepare import Where, prepare
from babelclip.errors import BabelclipError
from babelclip.evaluation import Run
from babelclip.training.allocator import keep_freed_memory

_worker: dict[str, Any] = {}


def run_side_by_side(
    waiting: list[list[Job]], plan: Plan, where: Where, out: Path, *, jobs: int, threads: int, listener: Listener
) -> None:
    """Run streams in ``jobs`` processes; the first failure ends all of them, and they can go on later."""
    before = active_children()
    arguments = (plan, where, out, threads, os.getpid())
    with ProcessPoolExecutor(
        min(jobs, len(waiting)), mp_context=get_context("spawn"), initializer=_begin, initargs=arguments
    ) as pool:
        running = {pool.submit(_work, together): together for together in waiting}
        try:
            while running:
                done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for one in done:
                    together = running.pop(one)
                    found, seconds, notes = one.result()
                    for each in notes:
                        listener.note(each)
                    first = stream_of(together[0])
                    if listener.bar is not None:
                        listener.bar(f"{first.key}: languages")(len(first.order), len(first.order))
                    for job, runs in zip(together, found, strict=True):
                        listener.finished(job, runs, seconds)
                _show([stream_of(together[0]) for together in running.values()], out, listener)
        except BaseException as error:
            for child in active_children():
                if child not in before:
                    child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise BabelclipError(
                    "a process that ran a stream was ended from outside, as the system does where memory is short",
                    fix="The same command goes on; give it fewer --jobs.",
                ) from error
            raise


def _show(running: Iterable[Job], out: Path, listener: Listener) -> None:
    """Move one progress line a stream, by the languages that it has learnt, from the last step in its log."""
    for job in running:
        file = out / "runs" / job.key / LOG
        if listener.bar is None or not file.is_file():
            continue
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - 4096))
            *_, last, _ = [b"", b"", *opened.read().split(b"\n")]  # behind the last line end: nothing, or half a line
        if last.startswith(b"{"):
            listener.bar(f"{job.key}: languages")(json.loads(last)["task"], len(job.order))


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


def _work(together: list[Job]) -> tuple[list[list[Run]], float, list[str]]:
    notes: list[str] = []
    found, seconds = run_stream_of(together, _worker["prepared"], _worker["plan"], _worker["out"], None, notes.append)
    return found, seconds, notes
