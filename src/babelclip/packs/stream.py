"""A stream of packs, as a row of the benchmark: every language alone, all measured after each task."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from babelclip.config import TaskSettings
from babelclip.continual import Gallery, Stage, Student
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.identity import identify
from babelclip.continual.measure import Scores
from babelclip.continual.record import (
    Measured,
    Scored,
    Sizes,
    bytes_of,
    check_stages,
    examples_of,
    interval_seed,
    make_run,
)
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.evaluation import Cost, Run, bootstrap_intervals, retrieval_scores
from babelclip.languages import NATIVE
from babelclip.methods import Stack, compose
from babelclip.methods.packs import Packs
from babelclip.packs.container import SUFFIX, zip_files
from babelclip.packs.learn import learn_pack
from babelclip.packs.polyglot import Chosen, Polyglot
from babelclip.packs.store import load_pack, pack_files
from babelclip.training import Checkpoints, OnStep, TaskReport
from babelclip.training.workers import Workers


@dataclass
class _Reading(Scored):
    """The scores of one way to read texts: told their language, or finding it out."""

    texts: int = 0
    encoded: int = 0
    eval_seconds: float = 0.0


@dataclass
class _Done:
    """What is known after some tasks; goes into checkpoints."""

    tasks: int = 0
    readings: dict[str, _Reading] = field(default_factory=dict)
    """By method; others than are asked for are kept."""
    reports: list[TaskReport] = field(default_factory=list)


@dataclass(frozen=True)
class PackStream:
    """A stream's results, one run a method and gallery, and the base model with all its packs."""

    runs: list[Run]
    polyglot: Polyglot


def run_packs(
    student: Student,
    stages: Sequence[Stage],
    *,
    method: str | Sequence[str],
    settings: TaskSettings,
    incremental: bool = True,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> PackStream:
    """Learn a pack of each language but the base model's own, and measure all languages after each.

    After the last task every text is encoded anew, so that what does not change is seen not to change.

    Args:
        student: the base model; it must not have learnt anything.
        stages: one a language.
        method: with ``packs`` (languages are told) or ``packs-routed`` (they are found out) in it; or several that
            learn alike (``learns_as``), which are measured on the same packs.
        settings: the same for every language.
        incremental: before the last task, encode only texts that other languages read than the last time; False encodes
            all, with the same scores.
        on_step: told about every step of every task.
        checkpoints: as for ``run_stream``.

    Returns:
        The runs, whose memory and modules are those of all packs together, and the packs.

    Raises:
        SettingError: the stages do not fit, the methods learn differently, the student has learnt languages, or the
            checkpoints are of another run.
        BabelclipError: a task fails.
    """
    order, stacks = check_stages(stages), [compose(one) for one in ([method] if isinstance(method, str) else method)]
    learnt_as = learns_as(stacks[0])
    if any(learns_as(stack) != learnt_as for stack in stacks):
        names = ", ".join(repr(stack.name) for stack in stacks)
        raise SettingError(f"one stream cannot learn as {names} do", fix="Give methods that learn alike.")
    if student.languages:
        raise SettingError(
            f"packs start from a base model, but this one has learnt {', '.join(student.languages)}",
            fix="Give the base model.",
        )
    encoder, base = student.encoder, base_lexicon(student.encoder)
    examples = [part for stage in stages for part in examples_of(stage)]
    identity = {} if checkpoints is None else identify(student, order, learnt_as, settings, examples)
    polyglot, done = _restore(checkpoints, identity, Polyglot(encoder, base), order)
    readers = {one.name: _Reader(told=one.needs_language, incremental=incremental) for one in stacks}
    for name, reader in readers.items():
        if name not in done.readings:
            done.readings[name] = reader.begin(Polyglot(encoder, base), stages)
        for i in range(len(done.readings[name].scores), done.tasks):  # packs do not change: it can be measured still
            known = [polyglot.packs[tag] for tag in order[: i + 1] if tag in polyglot.packs]
            without = [pack for pack in known if pack.language != order[i]]
            reader.follow(done.readings[name], Polyglot(encoder, base, without), Polyglot(encoder, base, known), stages)
    for i in range(done.tasks, len(stages)):
        stage, before = stages[i], polyglot
        inside = None if checkpoints is None else checkpoints.inside(f"task-{i:02}")
        if stage.language != NATIVE:
            pack, report = learn_pack(
                polyglot, stage.language, stage.train, method=learnt_as, settings=stacks[0].settle(settings),
                teacher=student.teacher, validation=stage.validation, on_step=_numbered(on_step, i), checkpoints=inside,
            )  # fmt: skip
            polyglot = polyglot.install(pack)
            done.reports.append(report)
        done.tasks = i + 1
        for name, reader in readers.items():
            reader.follow(done.readings[name], before, polyglot, stages)
        if checkpoints is not None and Workers(encoder.device).rank == 0:
            files = {f"{tag}{SUFFIX}": zip_files(pack_files(pack)) for tag, pack in polyglot.packs.items()}
            checkpoints.save(identity, asdict(done), {}, files)
            if inside is not None:
                inside.clear()
    runs = [
        _make_run(polyglot, stages, number, method=name, settings=settings, done=done, reader=reader)
        for name, reader in readers.items()
        for number in range(len(stages[0].galleries))
    ]
    return PackStream(runs, polyglot)


def _numbered(on_step: OnStep | None, task: int) -> OnStep | None:
    """Tell steps with the place of their language in the stream; for itself, each is learnt first."""
    return None if on_step is None else lambda step: on_step(replace(step, task=task))


def learns_as(stack: Stack) -> str:
    """Return the name of a method whose packs are the same: with ``packs`` for ``packs-routed``."""
    told = [Packs() if isinstance(method, Packs) else method for method in stack.methods]
    return Stack(told).name


@dataclass
class _Reader:
    """Measures one way to read texts, remembering vectors: they depend on the packs that read a text alone.

    Attributes:
        told: the language of each text; one that is not installed is read as the base model's own.
        incremental: False encodes every text again, every time.
    """

    told: bool
    incremental: bool
    texts: int = 0
    encoded: int = 0
    seconds: float = 0.0
    _known: dict[tuple[str, str], tuple[Chosen, Tensor, Scores]] = field(default_factory=dict, repr=False)

    def begin(self, polyglot: Polyglot, stages: Sequence[Stage]) -> _Reading:
        """Measure all languages with the base model."""
        return _Reading([self._measure(polyglot, stage) for stage in stages])

    def follow(self, reading: _Reading, before: Polyglot, after: Polyglot, stages: Sequence[Stage]) -> None:
        """Measure the next task's language before it, and all languages so far after it; after the last all anew."""
        task = len(reading.scores)
        reading.before.append(self._measure(before, stages[task]))
        if task == len(stages) - 1:
            self._known.clear()
        reading.scores.append([self._measure(after, stage) for stage in stages[: task + 1]])
        reading.texts += self.texts
        reading.encoded += self.encoded
        reading.eval_seconds += self.seconds
        self.texts = self.encoded = 0
        self.seconds = 0.0

    def _measure(self, polyglot: Polyglot, stage: Stage) -> Measured:
        """Return the scores of a language on each gallery."""
        started = time.perf_counter()
        found = {gallery.name: self._look(polyglot, gallery)[1] for gallery in stage.galleries}
        self.texts += sum(len(gallery.examples.texts) for gallery in stage.galleries)
        self.seconds += time.perf_counter() - started
        return found

    def vectors(self, polyglot: Polyglot, gallery: Gallery) -> Tensor:
        """Return the vectors of a gallery's texts."""
        return self._look(polyglot, gallery)[0]

    def _look(self, polyglot: Polyglot, gallery: Gallery) -> tuple[Tensor, Scores]:
        part = gallery.examples
        tag = part.language if part.language in polyglot.languages else NATIVE
        chosen = polyglot.choose(part.texts, language=tag if self.told else None)
        known = self._known.get((gallery.name, part.language)) if self.incremental else None
        if known is not None and known[0] == chosen:
            return known[1:]
        vectors = polyglot.encode_chosen(part.texts, chosen)
        self.encoded += len(part.texts)
        scores = retrieval_scores(vectors, part.images[:], part.owner, folds=gallery.folds)
        self._known[gallery.name, part.language] = chosen, vectors, scores
        return vectors, scores


def _make_run(
    polyglot: Polyglot, stages: Sequence[Stage], number: int, *, method: str, settings: TaskSettings, done: _Done,
    reader: _Reader,
) -> Run:  # fmt: skip
    """Put the results on one gallery together."""
    galleries = [stage.galleries[number] for stage in stages]
    intervals = [
        bootstrap_intervals(
            reader.vectors(polyglot, gallery), gallery.examples.images[:], gallery.examples.owner,
            seed=interval_seed(stage), folds=gallery.folds,
        )
        for stage, gallery in zip(stages, galleries, strict=True)
    ]  # fmt: skip
    packs, seconds, reading = polyglot.packs, sum(report.seconds for report in done.reports), done.readings[method]
    sizes = [len(packs[stage.language].vocabulary.tokens) if stage.language in packs else 0 for stage in stages]
    return make_run(
        stages, number, method=method, settings=settings, needs_language=reader.told, scored=reading,
        intervals=intervals,
        sizes=Sizes(
            new_tokens=sizes,
            module_bytes=sum(bytes_of(pack.acquirers.tensors()) for pack in packs.values()),
            memory_bytes=0,
            bytes_per_token=polyglot.base.table.shape[1] * 2,  # float16
        ),
        cost=Cost(
            train_s=seconds, eval_s=reading.eval_seconds, peak_mb=peak_memory_mb(polyglot.encoder.device),
            texts_per_s=sum(report.texts for report in done.reports) / max(seconds, 1e-9), scored_texts=reading.texts,
            encoded_texts=reading.encoded,
        ),
    )  # fmt: skip


def _restore(
    checkpoints: Checkpoints | None, identity: dict[str, Any], polyglot: Polyglot, order: Sequence[str]
) -> tuple[Polyglot, _Done]:
    """Go on from the newest good checkpoint, if there is one."""
    found = None if checkpoints is None else checkpoints.latest(identity)
    Workers(polyglot.encoder.device).agree(0 if found is None else found.state["tasks"], "languages")
    if found is None:
        return polyglot, _Done()
    done = TypeAdapter(_Done).validate_python(found.state)
    for tag in order[: done.tasks]:
        if tag != NATIVE:
            polyglot = polyglot.install(load_pack(found.folder / f"{tag}{SUFFIX}", polyglot.encoder, polyglot.base))
    return polyglot, done
