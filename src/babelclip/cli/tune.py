"""``babelclip tune``: the whole base model on the user's own English captions."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shlex import quote

from babelclip.cli.console import console, counted, note, program, progress_bars, quieten, tell_all
from babelclip.cli.learn import Columns, Runtime, print_scores
from babelclip.cli.teaching import CHECKPOINTS, LOCK, LOG
from babelclip.config import change_settings
from babelclip.continual import Student
from babelclip.data import Corpus, Examples, Teacher
from babelclip.encoders import DualEncoder, load_encoder
from babelclip.errors import SettingError
from babelclip.files import alone, remove_folder, remove_temporaries
from babelclip.training import Checkpoints, JsonlLog
from babelclip.training.allocator import keep_freed_memory
from babelclip.training.tune import TuneSettings, load_base, tune_english
from babelclip.training.tuned import TuneReport


def run_tune(
    data: Path, out: Path, *, base: str, test: Path | None, validation: Path | None, columns: Columns,
    runtime: Runtime, changes: Sequence[str],
) -> None:  # fmt: skip
    """Read, train both towers, measure, write.

    Args:
        data: training captions.
        out: new folder for the model; until its scores are told, ``OUT.unfinished`` holds checkpoints and log.
        base: base model.
        test: captions to measure before and after.
        validation: captions to choose the best epoch with.
        columns: where things stand in all three files.
        runtime: where to run and what to keep.
        changes: settings to change, ``name=value``.
    """
    quieten()
    settings = change_settings(TuneSettings(), changes)
    work = out.with_name(f"{out.name}.unfinished")
    written = _same(out / LOG, work / LOG)  # and the run was killed before it had told its scores
    if not written and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")
    train = columns.read(data, "en")
    held_out, tested = ([] if one is None else [columns.read(one, "en")] for one in (validation, test))
    encoder = load_base(base, runtime.device)
    if encoder.device.type == "cpu":
        keep_freed_memory()
    console.print(f"Base model {encoder.name} ({encoder.fingerprint[:12]}), {encoder.dim}-d vectors")
    console.print(
        f"Training both towers on {len(train.captions):,} English captions, {settings.epochs} epochs in batches of "
        f"{settings.batch_size}, peak rate {settings.learning_rate:g}"
    )
    with alone(work, out.with_name(f".{out.name}{LOCK}"), wait=0):
        if work.is_dir():
            remove_temporaries(work)
        checkpoints = Checkpoints(work / CHECKPOINTS, note=note)
        if checkpoints.begun:
            console.print(f"Going on from the checkpoints in {checkpoints.folder}")
        log = JsonlLog(work / LOG)
        with progress_bars() as bars, closing(log):
            before = [_scores(encoder, one, runtime)[1] for one in tested]
            tuned = tune_english(
                encoder, train, settings, validation=held_out,
                on_step=tell_all(log, bars.steps("tuning")), checkpoints=checkpoints,
            )  # fmt: skip
        if not written:
            tuned.save(out, inside=work, log=log.file)
        _print_report(tuned.report, settings)
        for corpus, score in zip(tested, before, strict=True):
            examples, after = _scores(load_encoder(out, device=runtime.device), corpus, runtime)
            print_scores(examples, {"before": score, "after": after})
        remove_folder(work)  # last of all: until then the same command goes on
    console.print(f"Written to {out}. Next:")
    where, others = columns.options(), replace(columns, text=None).options()
    model, more, named = (quote(str(path)) for path in (out, f"{out}-XX", test or "TEST.tsv"))
    console.print(f"  {program()} evaluate --model {model} --language en --data {named}{where}")
    console.print(f"  {program()} learn --base {model} --language XX --data XX.tsv{others} --out {more}")
    console.print(
        f"  {program()} evaluate --model LEARNT --base {model} --plug-in --language XX --data XX.tsv{others}"
        "   # LEARNT: learnt on the base model before"
    )


def _same(one: Path, other: Path) -> bool:
    """Whether both files are there and hold the same."""
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _scores(encoder: DualEncoder, corpus: Corpus, runtime: Runtime) -> tuple[Examples, dict[str, float]]:
    """English test captions, and how well a model finds them and their pictures."""
    student = Student(encoder, teacher=Teacher(encoder, runtime.cache))
    examples = student.teacher.prepare(corpus)
    return examples, student.evaluate(examples)


def _print_report(report: TuneReport, settings: TuneSettings) -> None:
    """Say what happened."""
    kept = f", epoch {report.epoch} kept" if report.epoch < settings.epochs else ""
    console.print(
        f"{counted(report.steps, 'step')} in {report.seconds:.1f} s, loss {report.losses[0]:.3f} in the first epoch, "
        f"{report.losses[-1]:.3f} in the last{kept}"
    )
    if report.left_out:
        console.print(f"{report.left_out} captions an epoch fell into its last, incomplete batch (others each time)")
