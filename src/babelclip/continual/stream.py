"""A stream of languages: teach one after another, and after each measure all learnt so far."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from babelclip import __version__
from babelclip.config import TaskSettings
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.student import Student
from babelclip.data import Examples
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, Cost, Run, chance_scores, summarise
from babelclip.lexicon.store import load_lexicon, pack_lexicon
from babelclip.methods import Stack, compose
from babelclip.training import Checkpoints, OnStep, TaskReport, Workers


@dataclass(frozen=True)
class Stage:
    """One task of a stream: a language's training and test examples."""

    train: Examples
    test: Examples

    @property
    def language(self) -> str:
        """The language's tag."""
        return self.train.language


@dataclass(frozen=True)
class Stream:
    """A finished stream: its scores, what happened in each task, and the model at the end."""

    run: Run
    reports: list[TaskReport]
    student: Student


@dataclass
class _Done:
    """What is known after some tasks; goes into checkpoints."""

    reports: list[TaskReport]
    scores: list[list[dict[str, float]]]
    """scores[i][j]: all metrics of language j after task i."""
    eval_seconds: float


def run_stream(
    student: Student,
    stages: Sequence[Stage],
    *,
    method: str,
    settings: TaskSettings,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> Stream:
    """Teach ``stages`` in order, starting from ``student``, which is not changed.

    Args:
        student: the base model, with or without languages.
        stages: one a language.
        method: names joined by ``+``; its memory, if it has one, lives as long as the stream.
        settings: the same for every task.
        on_step: told about every step of every task.
        checkpoints: the stream goes on from the newest; it is saved after every task and, within a task, every
            ``checkpoints.every`` seconds. The caller clears them when it has kept the result.

    Raises:
        SettingError: a language stands twice, or there is none; or the checkpoints are of another run.
        BabelclipError: a task fails.
    """
    order = [stage.language for stage in stages]
    if not order or len(set(order)) < len(order):
        raise SettingError(f"the stream is {order}", fix="Name at least one language, each once.")
    stack = compose(method)
    student = Student(student.encoder, student.lexicon, student.teacher)
    identity = _identify(student, stages, stack, settings)
    done = _restore(checkpoints, identity, student, stack)
    for i in range(len(done.reports), len(stages)):
        inside = None if checkpoints is None else checkpoints.inside(f"task-{i:02}")
        report = student.learn(
            order[i], stages[i].train, method=stack, settings=settings, on_step=on_step, checkpoints=inside
        )
        started = time.perf_counter()
        done.scores.append([student.evaluate(earlier.test) for earlier in stages[: i + 1]])
        done.eval_seconds += time.perf_counter() - started
        done.reports.append(report)
        if checkpoints is not None and inside is not None and Workers(student.encoder.device).rank == 0:
            _save(checkpoints, identity, student, stack, done)
            inside.clear()
    return Stream(_make_run(student, stages, stack, settings, done), done.reports, student)


def _make_run(student: Student, stages: Sequence[Stage], stack: Stack, settings: TaskSettings, done: _Done) -> Run:
    """Put the results together."""
    scores = {metric: [[row[metric] for row in rows] for rows in done.scores] for metric in METRICS}
    train_seconds = sum(report.seconds for report in done.reports)
    chance = [chance_scores(stage.test.owner, len(stage.test.files)) for stage in stages]
    return Run(
        method=stack.name,
        seed=settings.seed,
        order=[stage.language for stage in stages],
        needs_language=stack.needs_language,
        settings=settings.as_dict(),
        scores=scores,
        chance={metric: sum(one[metric] for one in chance) / len(chance) for metric in METRICS},
        summary={metric: summarise(scores[metric]) for metric in METRICS},
        cost=Cost(
            train_s=train_seconds,
            eval_s=done.eval_seconds,
            peak_mb=peak_memory_mb(student.encoder.device),
            texts_per_s=sum(report.texts for report in done.reports) / max(train_seconds, 1e-9),
        ),
    )


def _identify(student: Student, stages: Sequence[Stage], stack: Stack, settings: TaskSettings) -> dict[str, Any]:
    """What must be the same when the stream is resumed."""
    parts = [part.fingerprint() for stage in stages for part in (stage.train, stage.test)]
    rows = hashlib.sha256(student.lexicon.table.numpy().tobytes())
    return {
        "babelclip": __version__, "base model": student.encoder.fingerprint[:12], "known": student.languages,
        "order": [stage.language for stage in stages], "method": stack.name,
        "data": hashlib.sha256(repr(parts).encode()).hexdigest()[:12], "rows": rows.hexdigest()[:12],
        **settings.as_dict(),
    }  # fmt: skip


def _save(checkpoints: Checkpoints, identity: dict[str, Any], student: Student, stack: Stack, done: _Done) -> None:
    """Save what is known after a task: the lexicon, the method's memory, scores and reports."""
    lexicon = pack_lexicon(
        student.lexicon, base_lexicon(student.encoder),
        base_name=student.encoder.name, fingerprint=student.encoder.fingerprint,
    )  # fmt: skip
    checkpoints.save(identity, asdict(done), stack.state_dict(), lexicon)


def _restore(checkpoints: Checkpoints | None, identity: dict[str, Any], student: Student, stack: Stack) -> _Done:
    """Put the student and the methods where the newest good checkpoint stands."""
    found = None if checkpoints is None else checkpoints.latest(identity)
    if found is None:
        return _Done([], [], 0.0)
    base = base_lexicon(student.encoder)
    student.lexicon = load_lexicon(found.folder, base, fingerprint=student.encoder.fingerprint)
    stack.load_state_dict(found.tensors)
    return TypeAdapter(_Done).validate_python(found.state)
