"""``babelclip demo``: real data, real model, every method asked for, one report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from babelclip import __version__
from babelclip.benchmarks import openmoji
from babelclip.cli.console import console, note, progress_bars, quieten, tell_all, tell_precision
from babelclip.cli.demo_models import keep
from babelclip.cli.teaching import LOCK
from babelclip.config import PICTOCLIP, TaskSettings, change_settings
from babelclip.continual import Gallery, Stage, Student, code_fingerprint, load, run_stream
from babelclip.data import Cache, Corpus, Examples, read_captions
from babelclip.encoders import DEFAULT_MODEL
from babelclip.errors import SettingError
from babelclip.evaluation import Base, Data, Results, Run, chance_scores, write_results
from babelclip.files import alone, remove_temporaries
from babelclip.languages import NATIVE, normalise_tag
from babelclip.methods import compose
from babelclip.packs import Polyglot
from babelclip.packs.stream import run_packs
from babelclip.report.examples import find_all_examples
from babelclip.report.page import Searches, write_page
from babelclip.report.sheets import summary_sheet
from babelclip.report.terminal import language_table, show
from babelclip.training import Checkpoints, JsonlLog, OnStep
from babelclip.training.allocator import keep_freed_memory

ORDER = ("en", "de", "fa", "fr", "zh", "ru", "es", "ar")  # the papers' "order222", as far as OpenMoji is named in it
METRIC = "img_r10"
CREDIT = (
    "Drawings: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0. "
    "Names: Unicode CLDR, by the package emoji."
)


def run_demo(
    out: Path, *, seeds: Sequence[int], languages: Sequence[str] | None, methods: Sequence[str],
    changes: Sequence[str], device: str | None,
) -> None:  # fmt: skip
    """Write the data, teach the stream with each method and seed, write the report, and index the drawings.

    Args:
        out: folder for ``data/``, ``cache/``, ``log/``, ``model/``, ``packs/``, ``index/``, ``results.json`` and
            ``index.html``; where a demo was interrupted, it goes on.
        seeds: one stream a seed and method.
        languages: the order, or None for ``ORDER``.
        methods: names such as ``cll+teir``.
        changes: settings to change, ``name=value``.
        device: where to run.
    """
    quieten()
    started = time.perf_counter()
    order = [normalise_tag(language) for language in languages or ORDER]
    openmoji.check_languages(order)  # a mistake fails here, not after minutes
    if order[0] != NATIVE:
        raise SettingError(
            f"the order begins with {order[0]!r}, but the fall of English is measured from the first language on",
            fix=f"Begin with {NATIVE}: --languages {','.join([NATIVE, *(tag for tag in order if tag != NATIVE)])}.",
        )
    names = [compose(method).name for method in methods]
    recipe = change_settings(PICTOCLIP, changes)
    if recipe.seed != PICTOCLIP.seed:
        raise SettingError(f"--set seed={recipe.seed} has no meaning here", fix="Use --seeds N for the seeds 0 to N-1.")
    student = load(DEFAULT_MODEL, device=device, cache=Cache(out / "cache"))
    if student.encoder.device.type == "cpu":
        keep_freed_memory()
    tell_precision(student.encoder.device, recipe.precision)
    with alone(out, out / LOCK, wait=0):
        remove_temporaries(out)
        checkpoints = Checkpoints(out / "checkpoints", note=note)
        if checkpoints.begun:
            console.print(f"Going on from the checkpoints in {checkpoints.folder}")
        with progress_bars() as bars:
            openmoji.write_folder(out / "data", progress=bars.bar("drawing pictograms"))
            corpora = [_read(out / "data", language) for language in order]
            stages = [
                Stage(student.teacher.prepare(train, bars.bar("looking at pictures")),
                      [Gallery("openmoji test", student.teacher.prepare(test, bars.bar("looking at test pictures")))])
                for train, test in corpora
            ]  # fmt: skip
            console.print(_describe(student, stages))
            learnt: dict[str, Student | Polyglot] = {}
            runs = []
            for seed in seeds:
                for name in names:
                    run = f"{name}-seed{seed}"
                    with closing(JsonlLog(out / "log" / f"{run}.jsonl")) as log:
                        found, model = _stream(
                            student, stages, name, replace(recipe, seed=seed), checkpoints.inside(run),
                            tell_all(log, bars.steps(f"{name}, seed {seed}: learning")),
                        )  # fmt: skip
                    learnt.setdefault(name, model)
                    runs += found
            results = Results(
                version=__version__,
                code=code_fingerprint(),
                base=Base(name=student.encoder.name, fingerprint=student.encoder.fingerprint),
                data=_describe_data(corpora, stages),
                runs=runs,
            )
            write_results(results, out / "results.json")
            commands = keep(out, learnt, order, bars)
        best = names[-1]
        queries = find_all_examples(learnt[best].encode_texts, [_test_of(stage) for stage in stages])
        write_page(
            results, out / "index.html", metric=METRIC, searches=Searches(queries, best, CREDIT), commands=commands
        )
        checkpoints.clear()
    console.print(language_table(runs, METRIC))
    console.print(show(summary_sheet(runs, ("img_r1", METRIC, "txt_r10"))))
    console.print(f"\nDone in {time.perf_counter() - started:.0f} s. Open {out / 'index.html'} to see the report.")
    console.print("Next:")
    for command in commands:
        console.print(f"  {command}")


def _stream(
    student: Student, stages: Sequence[Stage], method: str, settings: TaskSettings, checkpoints: Checkpoints,
    on_step: OnStep,
) -> tuple[list[Run], Student | Polyglot]:  # fmt: skip
    """Run one stream: on one lexicon for all languages, or with packs."""
    if compose(method).isolated:
        packs = run_packs(student, stages, method=method, settings=settings, checkpoints=checkpoints, on_step=on_step)
        return packs.runs, packs.polyglot
    stream = run_stream(student, stages, method=method, settings=settings, checkpoints=checkpoints, on_step=on_step)
    return stream.runs, stream.student


def _read(folder: Path, language: str) -> tuple[Corpus, Corpus]:
    """Training and test captions of one language. The validation split is not used: nothing is chosen here."""
    train, test = (read_captions(folder / f"{language}.{split}.tsv", language) for split in ("train", "test"))
    return train, test


def _test_of(stage: Stage) -> Examples:
    return stage.galleries[0].examples


def _describe(student: Student, stages: Sequence[Stage]) -> str:
    """What is about to happen, with the English score of the untouched base model where English is in the stream."""
    first, test = stages[0].train, _test_of(stages[0])
    lines = [
        f"Base model {student.encoder.name}: English only, {student.encoder.dim}-d vectors, fingerprint "
        f"{student.encoder.fingerprint[:12]}",
        f"{len(first.texts):,} training and {len(test.texts):,} test names a language; "
        f"gallery of {len(test.files)} pictures never trained on",
    ]
    for stage in stages:
        if stage.language == "en":
            test = _test_of(stage)
            score, chance = student.evaluate(test), chance_scores(test.owner, len(test.files))
            shown = (f"{metric} {score[metric]:.1f} % (chance {chance[metric]:.1f})" for metric in ("img_r1", METRIC))
            lines.append(f"English before any learning: {', '.join(shown)}")
    return "\n".join(lines)


def _describe_data(corpora: Sequence[tuple[Corpus, Corpus]], stages: Sequence[Stage]) -> Data:
    """Name, fingerprint and counts of the data of a stream."""
    digest = hashlib.sha256("".join(c.fingerprint for pair in corpora for c in pair).encode()).hexdigest()
    _, dropped = openmoji.load_concepts()
    counts = {
        "languages": len(stages),
        "train_texts_per_language": len(stages[0].train.texts),
        "test_texts_per_language": len(_test_of(stages[0]).texts),
        "test_pictures": len(_test_of(stages[0]).files),
        "dropped_duplicate_concepts": dropped,
    }
    return Data(name="openmoji", fingerprint=digest, counts=counts)
