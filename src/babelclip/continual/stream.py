"""A stream of languages: teach one after another, and after each measure all learnt so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babelclip.config import TaskSettings
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.student import Student
from babelclip.data import Examples
from babelclip.encoders.base import Progress
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, Cost, Run, chance_scores, summarise
from babelclip.methods import compose
from babelclip.training import TaskReport


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


def run_stream(
    student: Student,
    stages: Sequence[Stage],
    *,
    method: str,
    settings: TaskSettings,
    progress: Callable[[str], Progress] | None = None,
) -> Stream:
    """Teach ``stages`` in order, starting from ``student``, which is not changed.

    Args:
        student: the base model, with or without languages.
        stages: one a language.
        method: names joined by ``+``; its memory, if it has one, lives as long as the stream.
        settings: the same for every task.
        progress: makes a progress callback for a language.

    Raises:
        SettingError: a language stands twice, or there is none.
        BabelclipError: a task fails.
    """
    order = [stage.language for stage in stages]
    if not order or len(set(order)) < len(order):
        raise SettingError(f"the stream is {order}", fix="Name at least one language, each once.")
    stack = compose(method)
    student = Student(student.encoder, student.lexicon, student.teacher)
    scores: dict[str, list[list[float]]] = {metric: [] for metric in METRICS}
    reports = []
    eval_seconds = 0.0
    for i, stage in enumerate(stages):
        shown = None if progress is None else progress(stage.language)
        reports.append(student.learn(stage.language, stage.train, method=stack, settings=settings, progress=shown))
        started = time.perf_counter()
        rows = [student.evaluate(earlier.test) for earlier in stages[: i + 1]]
        eval_seconds += time.perf_counter() - started
        for metric in METRICS:
            scores[metric].append([row[metric] for row in rows])
    train_seconds = sum(report.seconds for report in reports)
    chance = [chance_scores(stage.test.owner, len(stage.test.files)) for stage in stages]
    run = Run(
        method=stack.name,
        seed=settings.seed,
        order=order,
        needs_language=stack.needs_language,
        settings=settings.as_dict(),
        scores=scores,
        chance={metric: sum(one[metric] for one in chance) / len(chance) for metric in METRICS},
        summary={metric: summarise(scores[metric]) for metric in METRICS},
        cost=Cost(
            train_s=train_seconds,
            eval_s=eval_seconds,
            peak_mb=peak_memory_mb(student.encoder.device),
            texts_per_s=sum(report.texts for report in reports) / max(train_seconds, 1e-9),
        ),
    )
    return Stream(run, reports, student)
