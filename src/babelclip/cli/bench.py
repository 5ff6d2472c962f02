"""``babelclip bench``: runs and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from babelclip.benchmarks.job import Job, Listener
from babelclip.benchmarks.plan import Plan, make_plan, read_plan
from babelclip.benchmarks.prepare import Prepared, Where
from babelclip.benchmarks.run import RESULTS, run_bench
from babelclip.cli.console import console, note, program, progress_bars, quieten, tell_incomplete, tell_precision
from babelclip.config import DEFAULT_MODEL, change_settings
from babelclip.continual import Stage
from babelclip.data import user_cache
from babelclip.errors import SettingError, UnknownNameError
from babelclip.evaluation import METRICS, SEEN, Results, Run, read_results
from babelclip.files import write_whole
from babelclip.methods import split_names
from babelclip.report.aggregate import by_gallery
from babelclip.report.export import clip_benchmark_json
from babelclip.report.page import METRIC, sheets_of, write_page
from babelclip.report.sheets import Sheet, compare_sheet, summary_sheet
from babelclip.report.terminal import show


@dataclass(frozen=True)
class Options:
    """What the command line says of a plan; None leaves it to the file."""

    base: str | None
    lexicon: str | None
    lexicon_width: int | None
    train: str | None
    test: list[str] | None
    languages: str | None
    orders: str | None
    methods: str | None
    seeds: str | None
    changes: list[str]
    full_evaluation: bool

    def changed(self) -> dict[str, Any]:
        """The keys of a plan that the command line replaces.

        Raises:
            SettingError: a seed is not a number.
        """
        given: dict[str, Any] = {}
        for name in ("base", "lexicon", "lexicon_width"):
            if getattr(self, name):
                given[name] = getattr(self, name)
        if self.train:
            given["train"] = _source(self.train)
        if self.test:
            given["test"] = [_source(one) for one in self.test]
        for name in ("languages", "orders", "methods", "seeds"):
            value = getattr(self, name)
            if value:
                given[name] = split_names(value, ",")
        if self.full_evaluation:
            given["incremental"] = False
        return given


def run_run(
    out: Path, config: Path | None, options: Options, *, data_root: Path, folders: Sequence[str],
    images: Sequence[str], image_vectors: Sequence[str], jobs: int, device: str | None, cache: str | None,
) -> None:  # fmt: skip
    """Run what is not finished of a plan.

    Args:
        out: folder for results.
        config: the plan's file.
        options: what replaces parts of it.
        data_root: where data sets lie by name.
        folders: where they lie otherwise, ``NAME=DIR``.
        images: where their pictures lie, ``NAME=DIR``.
        image_vectors: vectors of their pictures, ``NAME=FILE``.
        jobs: streams side by side.
        device: where to run.
        cache: folder of the cache.
    """
    quieten()
    missing = [f"--{name}" for name in ("train", "test") if not getattr(options, name)]
    if config is None and missing:
        raise SettingError(
            f"no plan is given (--config FILE), and without one {' and '.join(missing)} is missing",
            fix="Give --config FILE; or --train NAME and --test NAME, data sets that `babelclip data list` lists.",
        )
    changed = options.changed() if config is not None else {"base": DEFAULT_MODEL} | options.changed()
    plan = make_plan(changed) if config is None else read_plan(config, changed)
    if options.changes:
        change_settings(plan.task_settings(), options.changes)  # names a mistake
        pairs = dict(change.split("=", 1) for change in options.changes)
        plan = make_plan({**plan.model_dump(), "settings": {**plan.settings, **pairs}}, config)
    where = Where(
        data_root, _places(folders, "--folder"), _places(images, "--images"),
        _places(image_vectors, "--image-vectors"), device=device, cache=user_cache(cache).folder,
    )  # fmt: skip
    with progress_bars() as bars:
        listener = Listener(bars.bar, bars.steps, note, partial(_tell_prepared, plan), _tell_finished)
        results = run_bench(plan, where, out, jobs=jobs, listener=listener)
    for gallery, runs in by_gallery(results.runs).items():
        console.print(f"Measured on: {gallery}")
        console.print(show(summary_sheet(runs, ("img_r1", METRIC, "r_mean"))))
    console.print(f"{len(results.runs)} results in {out / RESULTS}. Next:\n  {program()} bench report {out}")


def run_report(results: Path, out: Path | None, *, metric: str, compare: Path | None, published: bool) -> None:
    """Write a report of a run.

    Args:
        results: its folder, or its results file.
        out: folder for the report.
        metric: of figures and language tables.
        compare: another run.
        published: put the papers' figures beside.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    file = results / RESULTS if results.is_dir() else results
    content = read_results(file)
    folder = out or file.parent / "report"
    more = [] if compare is None else _compare(content, compare, metric)
    pages = {f"comparison-{number}": one for number, one in enumerate(more, 1)}
    for number, (gallery, runs) in enumerate(by_gallery(content.runs).items(), 1):
        console.print(f"Measured on: {gallery}")
        for name, sheet in sheets_of(runs, metric, published=published).items():
            pages[name if number == 1 else f"{name}-{number}"] = sheet
            console.print(show(sheet))
    for sheet in more:
        console.print(show(sheet))
    write_page(content, folder / "index.html", metric=metric, published=published, more=more)
    for name, sheet in pages.items():
        write_whole(folder / f"{name}.csv", sheet.csv())
    write_whole(folder / "tables.md", "\n".join(sheet.markdown() for sheet in pages.values()))
    write_whole(folder / "clip_benchmark.jsonl", clip_benchmark_json(content))
    console.print(f"Written to {folder}: index.html, figures, tables.md, {len(pages)} CSV files, clip_benchmark.jsonl")


def _compare(content: Results, other: Path, metric: str) -> list[Sheet]:
    """Tables of two runs beside each other."""
    file = other / RESULTS if other.is_dir() else other
    theirs = read_results(file)
    for name in ("base", "data"):
        one, two = getattr(content, name).fingerprint[:12], getattr(theirs, name).fingerprint[:12]
        if one != two:
            note(f"the two runs have different {name} ({one} and {two}): differences are not the methods' alone")
    galleries = by_gallery(theirs.runs)
    sheets = [
        compare_sheet(runs, galleries[gallery], metric, ("this run", str(other)))
        for gallery, runs in by_gallery(content.runs).items()
        if gallery in galleries
    ]
    if not sheets:
        raise SettingError(
            f"{other} was measured on {', '.join(galleries)}", fix="Compare runs with a common test set."
        )
    return sheets


def _source(text: str) -> dict[str, str]:
    name, colon, split = text.partition(":")
    return {"dataset": name, "split": split} if colon else {"dataset": name}


def _places(pairs: Sequence[str], option: str) -> dict[str, Path]:
    """``NAME=PATH`` by name."""
    places = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals:
            raise SettingError(f"{option} {pair} names no data set", fix=f"Write {option} NAME=PATH.")
        places[name] = Path(path)
    return places


def _tell_prepared(plan: Plan, prepared: Prepared) -> None:
    """What is about to happen."""
    encoder = prepared.student.encoder
    console.print(f"Base model {encoder.name}, {encoder.dim}-d vectors, fingerprint {encoder.fingerprint[:12]}")
    console.print(f"Data {prepared.data.name}, fingerprint {prepared.data.fingerprint[:12]}")
    for language in prepared.languages:
        console.print(f"  {language}: {_sizes(prepared.stages[language])}")
    tell_incomplete(encoder.incomplete)
    tell_precision(encoder.device, plan.task_settings().precision)
    for (source, reason), counts in prepared.skipped.items():
        note(f"{source} left out {reason}: {', '.join(f'{tag} {count:,}' for tag, count in counts.items())}")
    for name, count in prepared.data.counts.items():
        if name.endswith(SEEN) and count:
            note(f"{name}: {count:,}; scores on them are not those of unseen pictures")


def _sizes(stage: Stage) -> str:
    tests = ", ".join(
        f"{len(one.examples.texts):,} texts and {len(one.examples.files):,} pictures of {one.name}"
        for one in stage.galleries
    )
    return f"{len(stage.train.texts):,} training texts; {tests}"


def _tell_finished(job: Job, runs: list[Run], seconds: float) -> None:
    when = f"{seconds:,.0f} s" if seconds else "finished before"
    found = "; ".join(
        f"{run.gallery} {METRIC} AA {run.summary[METRIC]['AA']:.1f} F {run.summary[METRIC]['F']:.1f}" for run in runs
    )
    cost = runs[0].cost
    share = cost.eval_s / max(cost.train_s + cost.eval_s, 1e-9)
    console.print(
        f"{job.key}: {when}; {found}; evaluation {share:.0%} of the time, {cost.encoded_texts:,} of "
        f"{cost.scored_texts:,} texts encoded"
    )
