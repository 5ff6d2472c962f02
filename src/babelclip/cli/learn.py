"""``babelclip learn``: one language from the user's own captions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from babelclip.acquirers.store import MODULES, TENSORS
from babelclip.cli.console import console, note, program, progress_bars, quieten, tell_all
from babelclip.config import TaskSettings, change_settings, recipe_for
from babelclip.continual import load
from babelclip.data import Cache, Corpus, Examples, read_captions, read_image_vectors
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, chance_scores
from babelclip.files import remove_temporaries
from babelclip.languages import language_name, normalise_tag
from babelclip.lexicon.store import ROWS
from babelclip.report.terminal import new_table
from babelclip.training import Checkpoints, JsonlLog, TaskReport, TensorBoardLog, Workers
from babelclip.training.allocator import keep_freed_memory

CHECKPOINTS, LOG = "checkpoints", "log.jsonl"


@dataclass(frozen=True)
class Columns:
    """Where things stand in a caption file."""

    image: str
    english: str
    text: str | None
    images: Path | None
    vectors: Path | None = None

    def read(self, file: Path, language: str) -> Corpus:
        """Read a caption file with these columns."""
        if self.vectors is not None and self.images is not None:
            raise SettingError("--images and --image-vectors are both given", fix="Give one of them.")
        return read_captions(
            file, language, image_column=self.image, english_column=self.english, text_column=self.text,
            images=self.images if self.vectors is None else read_image_vectors(self.vectors),
        )  # fmt: skip

    def options(self) -> str:
        """The options that say the same on a command line; empty where all is as usual."""
        usual = {"--image-column": "image", "--english-column": "en", "--text-column": None, "--images": None,
                 "--image-vectors": None}  # fmt: skip
        given = (self.image, self.english, self.text, self.images, self.vectors)
        return "".join(
            f" {option} {quote(str(value))}"
            for (option, default), value in zip(usual.items(), given, strict=True)
            if value != default
        )


@dataclass(frozen=True)
class Runtime:
    """Where to run, what is kept between runs, and a folder for TensorBoard curves."""

    device: str | None
    cache: Cache
    tensorboard: Path | None = None


def run_learn(
    language: str,
    data: Path,
    out: Path,
    *,
    base: str,
    method: str,
    test: Path | None,
    validation: Path | None,
    columns: Columns,
    runtime: Runtime,
    changes: Sequence[str],
) -> None:
    """Read, teach, measure, write.

    Args:
        language: tag of the language.
        data: training captions.
        out: folder to write to.
        base: base model or learnt folder.
        method: names joined by ``+``.
        test: captions to measure before and after.
        validation: captions to choose the best epoch with.
        columns: where things stand in all three files.
        runtime: where to run and what to keep.
        changes: settings to change, ``name=value``.
    """
    quieten()
    tag = normalise_tag(language)
    _check_out(out, runtime)
    read = {name: columns.read(file, tag) for name, file in
            (("train", data), ("test", test), ("validation", validation)) if file is not None}  # fmt: skip
    student = load(base, device=runtime.device, cache=runtime.cache)
    if student.encoder.device.type == "cpu":
        keep_freed_memory()
    settings = change_settings(recipe_for(student.encoder.name), changes)
    known = f", knows {', '.join(student.languages)}" if student.languages else ""
    console.print(f"Base model {student.encoder.name} ({student.encoder.fingerprint[:12]}){known}")
    workers = Workers(student.encoder.device)
    if workers.count > 1 and runtime.cache.folder is None:
        raise SettingError(f"{workers.count} processes have no cache to share", fix="Leave --cache off away.")
    checkpoints = Checkpoints(out / CHECKPOINTS, note=note)
    if checkpoints.begun:
        console.print(f"Going on from the checkpoints in {checkpoints.folder}")
    log = JsonlLog(out / LOG)
    folder = runtime.tensorboard
    curves = [] if folder is None or workers.rank != 0 else [TensorBoardLog(folder)]
    with progress_bars() as bars, closing(log):
        with workers.first_alone():  # the others find the vectors in the cache
            ready = {
                name: student.teacher.prepare(corpus, bars.bar(f"looking at pictures, {name}"))
                for name, corpus in read.items()
            }
        before = student.evaluate(ready["test"]) if "test" in ready else None
        report = student.learn(
            tag, ready["train"], method=method, settings=settings, validation=ready.get("validation"),
            on_step=tell_all(log, bars.steps("learning"), *curves), checkpoints=checkpoints,
        )  # fmt: skip
    for one in curves:
        one.close()
    if workers.rank == 0:
        student.save(out)
        checkpoints.clear()
    workers.leave()
    _print_report(report, settings, float(student.encoder.token_table.std()))
    if before is not None:
        print_scores(ready["test"], {"before": before, "after": student.evaluate(ready["test"])})
    console.print(f"Written to {out}. Next:")
    where = columns.options()
    model, more, held_out = (quote(str(path)) for path in (out, f"{out}-XX", test or "TEST.tsv"))
    console.print(f"  {program()} evaluate --model {model} --language {tag} --data {held_out}{where}")
    console.print(f"  {program()} learn --base {model} --language XX --data XX.tsv{where} --out {more}")


def _check_out(out: Path, runtime: Runtime) -> None:
    """Refuse a folder with anything in it but what this command itself leaves when it is interrupted."""
    inside = [folder for folder in (runtime.tensorboard, runtime.cache.folder) if folder is not None]
    ours = {out / CHECKPOINTS, out / LOG, *inside}
    if (out / CHECKPOINTS).is_dir():
        ours |= {out / name for name in (ROWS, MODULES, TENSORS)}  # lexicon.json is written last
    if out.is_dir():
        remove_temporaries(out)
    if out.exists() and (not out.is_dir() or any(entry not in ours for entry in out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")


def print_scores(examples: Examples, columns: dict[str, dict[str, float]]) -> None:
    """Print a table of scores beside the chance level."""
    gallery = f"{len(examples.texts):,} texts, gallery of {len(examples.files):,} pictures"
    table = new_table(f"{language_name(examples.language)}: {gallery}, percent")
    table.add_column("metric")
    chance = chance_scores(examples.owner, len(examples.files))
    for name in (*columns, "chance"):
        table.add_column(name, justify="right")
    for metric in METRICS:
        table.add_row(metric, *(f"{scores[metric]:.1f}" for scores in columns.values()), f"{chance[metric]:.1f}")
    console.print(table)


def _print_report(report: TaskReport, settings: TaskSettings, deviation: float) -> None:
    """Say what happened, and what the reader may want to change."""
    cover = report.coverage
    console.print(
        f"{cover.texts:,} texts, {cover.tokens_per_text:.1f} tokens each, {cover.tokens_per_word:.2f} a word; "
        f"{100 * cover.over_limit:.1f} % cut at the tower's limit"
    )
    console.print(
        f"{report.new_tokens:,} new tokens ({cover.unused:,} of them in no training text), "
        f"{report.overlapping_tokens:,} shared with what was known"
    )
    kept = f", epoch {report.epoch} kept" if report.epoch < report.epochs else ""
    console.print(
        f"{report.steps} steps in {report.seconds:.1f} s ({report.texts / report.seconds:,.0f} texts/s, "
        f"{100 * report.padding:.1f} % padding), loss {report.loss:.3f}{kept}"
    )
    if report.precision != settings.precision:
        console.print(f"note: this device has no {settings.precision}; {report.precision} was used")
    if cover.texts < settings.batch_size:
        console.print(f"note: fewer texts than a batch of {settings.batch_size} holds, so each step takes all of them")
    if report.left_out:
        console.print(f"{report.left_out} texts an epoch fell into its last, incomplete batch (others each time)")
    reach = report.steps * settings.learning_rate / deviation
    if reach < 1:
        console.print(
            f"note: {report.steps} steps at a rate of {settings.learning_rate:g} can move a row by {reach:.2f} of the "
            f"rows' standard deviation; for so little data raise --epochs or --learning-rate"
        )
