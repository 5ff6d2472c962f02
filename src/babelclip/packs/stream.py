"""A stream of packs, as a row of the benchmark: every language alone, all measured after each task."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from babelclip.config import TaskSettings
from babelclip.continual import Gallery, Stage, Student
from babelclip.continual.cost import peak_memory_mb
from babelclip.continual.identity import identify
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
from babelclip.methods import compose
from babelclip.packs.container import SUFFIX, zip_files
from babelclip.packs.learn import learn_pack
from babelclip.packs.polyglot import Polyglot
from babelclip.packs.store import load_pack, pack_files
from babelclip.training import Checkpoints, OnStep, TaskReport


@dataclass
class _Done(Scored):
    """What is known after some tasks; goes into checkpoints."""

    reports: list[TaskReport] = field(default_factory=list)
    texts: int = 0
    eval_seconds: float = 0.0


@dataclass(frozen=True)
class PackStream:
    """A stream's results, one run a gallery, and the base model with all its packs."""

    runs: list[Run]
    polyglot: Polyglot


def run_packs(
    student: Student,
    stages: Sequence[Stage],
    *,
    method: str,
    settings: TaskSettings,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
) -> PackStream:
    """Learn a pack of each language but the base model's own, and measure all languages after each.

    Every text is encoded anew after every task, so that what does not change is seen not to change.

    Args:
        student: the base model; it must not have learnt anything.
        stages: one a language.
        method: with ``packs`` (languages are told) or ``packs-routed`` (they are found out) in it.
        settings: the same for every language.
        on_step: told about every step of every task.
        checkpoints: as for ``run_stream``.

    Returns:
        The runs, whose memory and modules are those of all packs together, and the packs.

    Raises:
        SettingError: the stages do not fit, the student has learnt languages, or the checkpoints are of another run.
        BabelclipError: a task fails.
    """
    order, stack = check_stages(stages), compose(method)
    if student.languages:
        raise SettingError(
            f"packs start from a base model, but this one has learnt {', '.join(student.languages)}",
            fix="Give the base model.",
        )
    encoder, base, routed = student.encoder, base_lexicon(student.encoder), not stack.needs_language
    examples = [part for stage in stages for part in examples_of(stage)]
    identity = identify(student, order, stack.name, settings, examples)
    polyglot, done = _restore(checkpoints, identity, Polyglot(encoder, base), order)
    if done is None:
        done = _Done([_measure(polyglot, stage, routed=routed) for stage in stages])
    for i in range(len(done.scores), len(stages)):
        stage = stages[i]
        inside = None if checkpoints is None else checkpoints.inside(f"task-{i:02}")
        started = time.perf_counter()
        done.before.append(_measure(polyglot, stage, routed=routed))
        done.eval_seconds += time.perf_counter() - started
        if stage.language != NATIVE:
            pack, report = learn_pack(
                polyglot, stage.language, stage.train, method=method, settings=stack.settle(settings),
                teacher=student.teacher, validation=stage.validation, on_step=on_step, checkpoints=inside,
            )  # fmt: skip
            polyglot = polyglot.install(pack)
            done.reports.append(report)
        started = time.perf_counter()
        done.scores.append([_measure(polyglot, one, routed=routed) for one in stages[: i + 1]])
        done.eval_seconds += time.perf_counter() - started
        done.texts += sum(len(gallery.examples.texts) for one in stages[: i + 1] for gallery in one.galleries)
        if checkpoints is not None:
            files = {f"{tag}{SUFFIX}": zip_files(pack_files(pack)) for tag, pack in polyglot.packs.items()}
            checkpoints.save(identity, asdict(done), {}, files)
            if inside is not None:
                inside.clear()
    runs = [
        _make_run(polyglot, stages, number, method=stack.name, settings=settings, done=done, routed=routed)
        for number in range(len(stages[0].galleries))
    ]
    return PackStream(runs, polyglot)


def _vectors(polyglot: Polyglot, gallery: Gallery, *, routed: bool) -> Tensor:
    """Vectors of a gallery's texts; a language that is not installed is read as the base model's own."""
    tag = gallery.examples.language
    told = None if routed else tag if tag in polyglot.languages else NATIVE
    return polyglot.encode_texts(gallery.examples.texts, language=told)


def _measure(polyglot: Polyglot, stage: Stage, *, routed: bool) -> Measured:
    return {
        gallery.name: retrieval_scores(
            _vectors(polyglot, gallery, routed=routed), gallery.examples.images[:], gallery.examples.owner,
            folds=gallery.folds,
        )
        for gallery in stage.galleries
    }  # fmt: skip


def _make_run(
    polyglot: Polyglot, stages: Sequence[Stage], number: int, *, method: str, settings: TaskSettings, done: _Done,
    routed: bool,
) -> Run:  # fmt: skip
    """Put the results on one gallery together."""
    galleries = [stage.galleries[number] for stage in stages]
    intervals = [
        bootstrap_intervals(
            _vectors(polyglot, gallery, routed=routed), gallery.examples.images[:], gallery.examples.owner,
            seed=interval_seed(stage), folds=gallery.folds,
        )
        for stage, gallery in zip(stages, galleries, strict=True)
    ]  # fmt: skip
    packs, seconds = polyglot.packs, sum(report.seconds for report in done.reports)
    sizes = [len(packs[stage.language].vocabulary.tokens) if stage.language in packs else 0 for stage in stages]
    return make_run(
        stages, number, method=method, settings=settings, needs_language=not routed, scored=done, intervals=intervals,
        sizes=Sizes(
            new_tokens=sizes,
            module_bytes=sum(bytes_of(pack.acquirers.tensors()) for pack in packs.values()),
            memory_bytes=0,
            bytes_per_token=polyglot.base.table.shape[1] * 2,  # float16
        ),
        cost=Cost(
            train_s=seconds, eval_s=done.eval_seconds, peak_mb=peak_memory_mb(polyglot.encoder.device),
            texts_per_s=sum(report.texts for report in done.reports) / max(seconds, 1e-9), scored_texts=done.texts,
            encoded_texts=done.texts,
        ),
    )  # fmt: skip


def _restore(
    checkpoints: Checkpoints | None, identity: dict[str, Any], polyglot: Polyglot, order: Sequence[str]
) -> tuple[Polyglot, _Done | None]:
    """Go on from the newest good checkpoint, if there is one."""
    found = None if checkpoints is None else checkpoints.latest(identity)
    if found is None:
        return polyglot, None
    done = TypeAdapter(_Done).validate_python(found.state)
    for tag in order[: len(done.scores)]:
        if tag != NATIVE:
            polyglot = polyglot.install(load_pack(found.folder / f"{tag}{SUFFIX}", polyglot.encoder, polyglot.base))
    return polyglot, done
