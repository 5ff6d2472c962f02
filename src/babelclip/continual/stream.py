"""A stream of languages: teach one after another, and after each measure all learnt so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from babelclip.acquirers.store import load_learnt, pack_learnt
from babelclip.config import TaskSettings, derive_seed
from babelclip.continual.complete import complete_vocabulary
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.identity import identify
from babelclip.continual.measure import Evaluator, Gallery, Scores
from babelclip.continual.student import Student
from babelclip.data import Examples, join_examples
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, RANKS, Cost, Run, chance_scores, summarise_run
from babelclip.methods import Stack, compose
from babelclip.training import Checkpoints, OnStep, TaskReport, Workers


@dataclass(frozen=True)
class Stage:
    """One task of a stream.

    Attributes:
        train: a language's training texts.
        galleries: what the language is measured on; every stage has galleries of the same names in the same order.
        validation: texts to choose the best epoch with (the papers' rule); None keeps the last epoch.
    """

    train: Examples
    galleries: Sequence[Gallery]
    validation: Examples | None = None

    @property
    def language(self) -> str:
        """The language's tag."""
        return self.train.language


@dataclass(frozen=True)
class Stream:
    """A finished stream: its scores on each gallery, what happened in each task, and the model at the end."""

    runs: list[Run]
    reports: list[TaskReport]
    student: Student


JOINT = "mul"  # "multiple languages" in BCP-47
Measured = dict[str, Scores]
"""All metrics of one language by gallery."""


@dataclass
class _Done:
    """What is known after some tasks; goes into checkpoints."""

    initial: list[Measured]
    """Scores on every language of the stream before its first task."""
    before: list[Measured] = field(default_factory=list)
    """before[j]: scores on language j directly before task j."""
    scores: list[list[Measured]] = field(default_factory=list)
    """scores[i][j]: scores on language j after task i."""
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
        SettingError: a language stands twice, or there is none; galleries differ between stages; or the checkpoints are
            of another run.
        BabelclipError: a task fails.
    """
    order = [stage.language for stage in stages]
    if not order or len(set(order)) < len(order):
        raise SettingError(f"the stream is {order}", fix="Name at least one language, each once.")
    names = [[gallery.name for gallery in stage.galleries] for stage in stages]
    if not names[0] or any(each != names[0] or len(set(each)) < len(each) for each in names):
        raise SettingError(f"the galleries of the stages are {names}", fix="Give all stages the same, at least one.")
    stack = compose(method)
    student = Student(student.encoder, student.learnt, student.teacher)
    evaluator = Evaluator(student.encoder, incremental)
    examples = [part for stage in stages for part in examples_of(stage)]
    identity = identify(student, order, stack.name, settings, examples)
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
            _save(checkpoints, identity, student, stack, done)
            inside.clear()
    runs = [
        _make_run(student, stages, number, start, stack=stack, settings=settings, done=done, evaluator=evaluator)
        for number in range(len(names[0]))
    ]
    return Stream(runs, done.reports, student)


def examples_of(stage: Stage) -> list[Examples]:
    """All texts of a stage."""
    validation = [] if stage.validation is None else [stage.validation]
    return [stage.train, *validation, *(gallery.examples for gallery in stage.galleries)]


def _measure(evaluator: Evaluator, student: Student, stage: Stage) -> Measured:
    return {gallery.name: evaluator.score(student.learnt, gallery) for gallery in stage.galleries}


def _make_run(
    student: Student, stages: Sequence[Stage], number: int, start: int, *,
    stack: Stack, settings: TaskSettings, done: _Done, evaluator: Evaluator,
) -> Run:  # fmt: skip
    """Put the results on gallery ``number`` of each stage together; ``start``: rows before the first task."""
    galleries = [stage.galleries[number] for stage in stages]
    name = galleries[0].name
    matrices = {metric: [[one[name][metric] for one in row] for row in done.scores] for metric in (*METRICS, *RANKS)}
    before = {metric: [one[name][metric] for one in done.before] for metric in METRICS}
    initial = {metric: [one[name][metric] for one in done.initial] for metric in METRICS}
    chance = [chance_scores(each.examples.owner, len(each.examples.files), folds=each.folds) for each in galleries]
    intervals = [
        evaluator.intervals(student.learnt, each, seed=derive_seed("bootstrap", each.examples.language))
        for each in galleries
    ]
    ends = [student.lexicon.snapshots[stage.language].num_tokens for stage in stages]
    train_seconds = sum(report.seconds for report in done.reports)
    return Run(
        method=stack.name,
        seed=settings.seed,
        order=[stage.language for stage in stages],
        gallery=name,
        needs_language=stack.needs_language or student.learnt.needs_language,
        settings=settings.as_dict(),
        scores={metric: matrices[metric] for metric in METRICS},
        ranks={metric: matrices[metric] for metric in RANKS},
        before=before,
        initial=initial,
        intervals={metric: [each[metric] for each in intervals] for metric in METRICS},
        chance={metric: sum(one[metric] for one in chance) / len(chance) for metric in METRICS},
        summary={metric: summarise_run(matrices[metric], before[metric], initial[metric]) for metric in METRICS},
        new_tokens=[after - before for before, after in pairwise([start, *ends])],
        module_bytes=_size(student.learnt.acquirers.tensors()),
        memory_bytes=_size(stack.state_dict()),
        bytes_per_token=student.lexicon.table.shape[1] * student.lexicon.table.element_size(),
        cost=Cost(
            train_s=train_seconds,
            eval_s=evaluator.seconds,
            peak_mb=peak_memory_mb(student.encoder.device),
            texts_per_s=sum(report.texts for report in done.reports) / max(train_seconds, 1e-9),
            scored_texts=done.texts,
            encoded_texts=done.encoded,
        ),
    )


def _size(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _save(checkpoints: Checkpoints, identity: dict[str, Any], student: Student, stack: Stack, done: _Done) -> None:
    """Save what is known after a task: words, modules, the method's memory, scores and reports."""
    files = pack_learnt(student.learnt, base_lexicon(student.encoder), student.encoder)
    checkpoints.save(identity, asdict(done), stack.state_dict(), files)


def _restore(
    checkpoints: Checkpoints | None, identity: dict[str, Any], student: Student, stack: Stack, evaluator: Evaluator
) -> _Done | None:
    """Put student, methods and evaluator where the newest good checkpoint stands; None where there is none."""
    found = None if checkpoints is None else checkpoints.latest(identity)
    if found is None:
        return None
    student.learnt = load_learnt(found.folder, base_lexicon(student.encoder), student.encoder)
    stack.load_state_dict(found.tensors)
    done = TypeAdapter(_Done).validate_python(found.state)
    evaluator.texts, evaluator.encoded, evaluator.seconds = done.texts, done.encoded, done.eval_seconds
    return done
