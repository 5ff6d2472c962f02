"""The streams of a benchmark run, and their folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from babelclip.benchmarks.plan import Plan
from babelclip.benchmarks.prepare import Bar, Prepared
from babelclip.continual import run_stream
from babelclip.errors import FormatError
from babelclip.evaluation import Run
from babelclip.files import alone, remove_temporaries, write_whole
from babelclip.methods import compose
from babelclip.packs.stream import learns_as, run_packs
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


def put_together(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the streams to run: jobs of packs that are learnt alike share one, each other job has its own."""
    streams: dict[Job, list[Job]] = {}
    for job in jobs:
        streams.setdefault(stream_of(job), []).append(job)
    return list(streams.values())


def stream_of(job: Job) -> Job:
    """Return the job that names the stream of a job: of the told packs for routed ones."""
    stack = compose(job.method)
    return replace(job, method=learns_as(stack)) if stack.isolated else job


def run_stream_of(
    jobs: Sequence[Job], prepared: Prepared, plan: Plan, out: Path, steps: OnStep | None, note: Callable[[str], None]
) -> tuple[list[list[Run]], float]:
    """Run the stream of some jobs (``put_together``) to its end and keep the results.

    Its log and checkpoints lie in the folder of ``stream_of``, so that it goes on also when others of the methods that
    share it are asked for.

    Returns:
        The results of each job, and the seconds that all took together.
    """
    started = time.perf_counter()
    first, methods = jobs[0], [job.method for job in jobs]
    folder = out / "runs" / stream_of(first).key
    with alone(folder, folder / LOCK, wait=5):  # of a killed run, processes may live on for a second
        remove_temporaries(folder)
        checkpoints = Checkpoints(folder / "checkpoints", note=note)
        with closing(JsonlLog(folder / LOG)) as log:

            def tell(step: StepReport) -> None:
                log(step)
                if steps is not None:
                    steps(step)

            stages = [prepared.stages[language] for language in first.order]
            settings = replace(plan.task_settings(), seed=first.seed)
            if compose(first.method).isolated:
                runs = run_packs(
                    prepared.student, stages, method=methods, settings=settings, incremental=plan.incremental,
                    on_step=tell, checkpoints=checkpoints,
                ).runs  # fmt: skip
            else:
                runs = run_stream(
                    prepared.student, stages, method=first.method, settings=settings, incremental=plan.incremental,
                    on_step=tell, checkpoints=checkpoints,
                ).runs  # fmt: skip
        found = [[run for run in runs if run.method == method] for method in methods]
        for job, own in zip(jobs, found, strict=True):
            write_whole(out / "runs" / job.key / RUN, TypeAdapter(list[Run]).dump_json(own, indent=1))
        checkpoints.clear()
    return found, time.perf_counter() - started


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
