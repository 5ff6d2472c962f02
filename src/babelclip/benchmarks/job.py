"""One stream of a benchmark run, and its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from babelclip.benchmarks.plan import Plan
from babelclip.benchmarks.prepare import Bar, Prepared
from babelclip.continual import run_stream
from babelclip.errors import FormatError, SettingError
from babelclip.evaluation import Run
from babelclip.files import remove_temporaries, write_whole
from babelclip.methods import compose
from babelclip.packs.stream import run_packs
from babelclip.training import Checkpoints, JsonlLog, OnStep, StepReport

RUN, LOG, LOCK = "run.json", "log.jsonl", ".lock"


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


def run_job(
    job: Job, prepared: Prepared, plan: Plan, out: Path, steps: OnStep | None, note: Callable[[str], None]
) -> tuple[list[Run], float]:
    """Run one stream to its end and keep its result; returns it and the seconds that it took."""
    started = time.perf_counter()
    folder = out / "runs" / job.key
    with alone(folder / LOCK, wait=5):  # of a killed run, processes may live on for a second
        remove_temporaries(folder)
        checkpoints = Checkpoints(folder / "checkpoints", note=note)
        with closing(JsonlLog(folder / LOG)) as log:

            def tell(step: StepReport) -> None:
                log(step)
                if steps is not None:
                    steps(step)

            stages = [prepared.stages[language] for language in job.order]
            settings = replace(plan.task_settings(), seed=job.seed)
            if compose(job.method).isolated:
                runs = run_packs(
                    prepared.student, stages, method=job.method, settings=settings, on_step=tell,
                    checkpoints=checkpoints,
                ).runs  # fmt: skip
            else:
                runs = run_stream(
                    prepared.student, stages, method=job.method, settings=settings, incremental=plan.incremental,
                    on_step=tell, checkpoints=checkpoints,
                ).runs  # fmt: skip
        write_whole(folder / RUN, TypeAdapter(list[Run]).dump_json(runs, indent=1))
        checkpoints.clear()
    return runs, time.perf_counter() - started


def read_run(file: Path) -> list[Run] | None:
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


@contextmanager
def alone(file: Path, *, wait: float) -> Iterator[None]:
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
