"""A stream of languages: teach one after another, and after each measure all learnt so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter

from babelclip.acquirers.store import load_learnt, pack_learnt
from babelclip.config import TaskSettings
from babelclip.continual.complete import complete_vocabulary
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.identity import identify
from babelclip.continual.measure import Evaluator
from babelclip.continual.record import (
    JOINT,
    Measured,
    Scored,
    Sizes,
    Stage,
    bytes_of,
    check_stages,
    examples_of,
    interval_seed,
    make_run,
)
from babelclip.continual.student import Student
from babelclip.data import join_examples
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.evaluation import Cost, Run
from babelclip.methods import Stack, compose
from babelclip.training import Checkpoints, OnStep, TaskReport, Workers


@dataclass(frozen=True)
class Stream:
    """A finished stream: its scores on each gallery, what happened in each task, and the model at the end."""

    runs: list[Run]
    reports: list[TaskReport]
    student: Student


@dataclass
class _Done(Scored):
    """What is known after some tasks; goes into checkpoints."""

    reports: list[TaskReport] = field(default_factory=list)
    texts: int = 0
    encoded: int = 0
    eval_seconds: float = 0.0


def run_stream(
    student: Student,
    stages: Sequence[Stage],
    *,
    method: str,
    settings: TaskSettings,
    incremental: bool = True,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> Stream:
    """Teach ``stages`` in order, starting from ``student``, which is not changed.

    Args:
        student: the base model, with or without languages.
        stages: one a language.
        method: names joined by ``+``; its memory, if it has one, lives as long as the stream. With ``joint`` there is
            one task of all languages, and its scores stand after every task.
        settings: the same for every task.
        incremental: encode only test texts that a task can have changed; False encodes all, with the same scores.
        on_step: told about every step of every task.
        checkpoints: the stream goes on from the newest; it is saved after every task and, within a task, every
            ``checkpoints.every`` seconds. The caller clears them when it has kept the result.

    Raises:
        SettingError: a language stands twice, or there is none; galleries differ between stages; the method keeps every
            language by itself; or the checkpoints are of another run.
        BabelclipError: a task fails.
    """
    order = check_stages(stages)
    stack = compose(method)
    stack.load_state_dict(student.learnt.remembered)
    stack.check_tower(student.encoder.text_tower.shape)
    if stack.isolated:
        raise SettingError(f"{method!r} keeps every language by itself", fix="Use packs.run_packs for it.")
    student = Student(student.encoder, student.learnt, student.teacher)
    evaluator = Evaluator(student.encoder, incremental)
    examples = [part for stage in stages for part in examples_of(stage)]
    identity = {} if checkpoints is None else identify(student, order, stack.name, settings, examples)
    start = len(student.lexicon.table)
    done = _restore(checkpoints, identity, student, stack, evaluator)
    if done is None:
        done = _Done([_measure(evaluator, student, stage) for stage in stages])
    complete_vocabulary(student, stack, settings, [stage.train for stage in stages], begun=bool(done.reports))
    groups = [list(stages)] if stack.joint else [[stage] for stage in stages]
    for i in range(len(done.reports), len(groups)):
        inside = None if checkpoints is None else checkpoints.inside(f"task-{i:02}")
        group = groups[i]
        done.before += [_measure(evaluator, student, stage) for stage in group]
        train = group[0].train if len(group) == 1 else join_examples([stage.train for stage in group], JOINT)
        report = student.learn(
            train.language, train, method=stack, settings=settings, on_step=on_step, checkpoints=inside,
            validation=[stage.validation for stage in group if stage.validation is not None],
        )  # fmt: skip
        known = len(done.scores)
        measured = [_measure(evaluator, student, stage) for stage in stages[: known + len(group)]]
        done.scores += [measured[: known + number] for number in range(1, len(group) + 1)]
        done.reports.append(report)
        done.texts, done.encoded, done.eval_seconds = evaluator.texts, evaluator.encoded, evaluator.seconds
        if checkpoints is not None and inside is not None and Workers(student.encoder.device).rank == 0:
            _save(checkpoints, identity, student, done)
            inside.clear()
    runs = [
        _make_run(student, stages, number, start, stack=stack, settings=settings, done=done, evaluator=evaluator)
        for number in range(len(stages[0].galleries))
    ]
    return Stream(runs, done.reports, student)


def _measure(evaluator: Evaluator, student: Student, stage: Stage) -> Measured:
    return {gallery.name: evaluator.score(student.learnt, gallery) for gallery in stage.galleries}


def _make_run(
    student: Student, stages: Sequence[Stage], number: int, start: int, *,
    stack: Stack, settings: TaskSettings, done: _Done, evaluator: Evaluator,
) -> Run:  # fmt: skip
    """Put the results on gallery ``number`` of each stage together; ``start``: rows before the first task."""
    intervals = [
        evaluator.intervals(student.learnt, stage.galleries[number], seed=interval_seed(stage)) for stage in stages
    ]
    ends = [student.lexicon.snapshots[stage.language].num_tokens for stage in stages]
    train_seconds = sum(report.seconds for report in done.reports)
    return make_run(
        stages, number, method=stack.name, settings=settings,
        needs_language=stack.needs_language or student.learnt.needs_language,
        scored=done, intervals=intervals,
        sizes=Sizes(
            new_tokens=[after - before for before, after in pairwise([start, *ends])],
            module_bytes=bytes_of(student.learnt.acquirers.tensors()),
            memory_bytes=bytes_of(stack.state_dict()),
            bytes_per_token=student.lexicon.table.shape[1] * student.lexicon.table.element_size(),
        ),
        cost=Cost(
            train_s=train_seconds,
            eval_s=done.eval_seconds,
            peak_mb=peak_memory_mb(student.encoder.device),
            texts_per_s=sum(report.texts for report in done.reports) / max(train_seconds, 1e-9),
            scored_texts=done.texts,
            encoded_texts=done.encoded,
        ),
    )  # fmt: skip


def _save(checkpoints: Checkpoints, identity: dict[str, Any], student: Student, done: _Done) -> None:
    """Save what is known after a task: words, modules, the method's memory, scores and reports."""
    files = pack_learnt(student.learnt, base_lexicon(student.encoder), student.encoder)
    checkpoints.save(identity, asdict(done), {}, files)


def _restore(
    checkpoints: Checkpoints | None, identity: dict[str, Any], student: Student, stack: Stack, evaluator: Evaluator
) -> _Done | None:
    """Put student, methods and evaluator where the newest good checkpoint stands; None where there is none."""
    found = None if checkpoints is None else checkpoints.latest(identity)
    Workers(student.encoder.device).agree(0 if found is None else len(found.state["reports"]), "languages")
    if found is None:
        return None
    student.learnt = load_learnt(found.folder, base_lexicon(student.encoder), student.encoder)
    stack.load_state_dict(student.learnt.remembered)
    done = TypeAdapter(_Done).validate_python(found.state)
    evaluator.texts, evaluator.encoded, evaluator.seconds = done.texts, done.encoded, done.eval_seconds
    return done
