"""``babelclip learn``: one language from the user's own captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from babelclip.cli.console import (
    console,
    counted,
    note,
    progress_bars,
    quieten,
    tell_all,
    tell_incomplete,
    tell_precision,
)
from babelclip.cli.teaching import Start, choose_teaching
from babelclip.config import TaskSettings, change_settings
from babelclip.continual.record import JOINT
from babelclip.data import Cache, Corpus, Examples, join_examples, read_captions, read_image_vectors
from babelclip.encoders import FRAMES
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, chance_scores
from babelclip.languages import language_name, normalise_tag
from babelclip.lexicon import Coverage
from babelclip.methods import compose
from babelclip.report.terminal import new_table
from babelclip.training import Checkpoints, JsonlLog, TaskReport, TensorBoardLog, Workers
from babelclip.training.allocator import keep_freed_memory

FEW, OFTEN, ENOUGH = 1_000, 0.25, 5
"""Fewer texts have many rare tokens whatever is done; a larger share of tokens that occur once is worth a word, and
this ``min_count`` helps (docs/tokenizers.md)."""


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
    """Where to run, what is kept between runs, a folder for TensorBoard curves, and the number of frames of a video."""

    device: str | None
    cache: Cache
    tensorboard: Path | None = None
    frames: int = FRAMES

    def options(self) -> str:
        """The options that say the same of the data on a command line; empty where all is as usual."""
        return "" if self.frames == FRAMES else f" --frames {self.frames}"


def run_learn(
    language: str,
    out: Path,
    *,
    start: Start,
    method: str | None,
    files: Mapping[str, Path | None],
    columns: Columns,
    runtime: Runtime,
    changes: Sequence[str],
) -> None:
    """Read, teach, measure, write.

    Args:
        language: tag of the language, or several, separated by commas, to be learnt at once.
        out: folder of packs, ``.babelpack`` file, or folder of a shared lexicon to write to.
        start: what to start from, and what to end in.
        method: names joined by ``+``; None for the usual one.
        files: captions by use: ``train``, and where wanted ``test`` to measure before and after and ``validation`` to
            choose the best epoch with; with ``{}`` in the place of the tag where there are several languages.
        columns: where things stand in all files.
        runtime: where to run and what to keep.
        changes: settings to change, ``name=value``.
    """
    quieten()
    tags = [normalise_tag(tag) for tag in language.split(",")]
    method = method or start.usual_method(tags)
    changed = [change.partition("=")[0].strip() for change in changes]
    stack = compose(method)
    stack.refuse(changed)
    stack.refuse_alone(tags)  # before any picture is looked at
    teaching = choose_teaching(
        start, tags, out, device=runtime.device, cache=runtime.cache, frames=runtime.frames, keep=runtime.tensorboard
    )
    teaching.refuse(changed)
    read = {name: [columns.read(_file_of(file, tag, tags), tag) for tag in tags]
            for name, file in files.items() if file is not None}  # fmt: skip
    encoder = teaching.encoder
    stack.check_tower(encoder.text_tower.shape)
    if encoder.device.type == "cpu":
        keep_freed_memory()
    settings = change_settings(teaching.recipe, changes)
    known = f", knows {', '.join(teaching.known)}" if teaching.known else ""
    console.print(f"Base model {encoder.name} ({encoder.fingerprint[:12]}){known}; method {method}")
    tell_precision(encoder.device, settings.precision)
    workers = Workers(encoder.device)
    if workers.count > 1 and runtime.cache.folder is None:
        raise SettingError(f"{workers.count} processes have no cache to share", fix="Leave --cache off away.")
    with teaching.alone() if workers.rank == 0 else nullcontext():
        checkpoints = Checkpoints(teaching.checkpoints, note=note)
        if checkpoints.begun:
            console.print(f"Going on from the checkpoints in {checkpoints.folder}")
        log = JsonlLog(teaching.log)
        folder = runtime.tensorboard
        curves = [] if folder is None or workers.rank != 0 else [TensorBoardLog(folder)]
        with progress_bars() as bars, closing(log):
            with workers.first_alone():  # the others find the vectors in the cache
                ready = {
                    name: [
                        teaching.teacher.prepare(corpus, bars.bar(f"looking at pictures, {name}")) for corpus in corpora
                    ]
                    for name, corpora in read.items()
                }
            tell_incomplete(encoder.incomplete)
            tests = {
                f"{corpus.source.name} {one.language}": (one, teaching.before(one))
                for corpus, one in zip(read.get("test", []), ready.get("test", []), strict=True)
            }
            train = ready["train"][0] if len(tags) == 1 else join_examples(ready["train"], JOINT)
            report = teaching.learn(
                train, method=method, settings=settings, validation=ready.get("validation"),
                on_step=tell_all(log, bars.steps("learning"), *curves), checkpoints=checkpoints,
                name=read["train"][0].source.name,
            )  # fmt: skip
        for one in curves:
            one.close()
        columns_of = teaching.finish(tests, write=workers.rank == 0)
        _print_report(report, settings, float(encoder.token_table.std()))
        for (test, _), shown in zip(tests.values(), columns_of, strict=True):
            print_scores(test, shown)
        if workers.rank == 0:
            checkpoints.clear()  # last of all: until then the same command goes on
    workers.leave()
    held_out = quote(str(_file_of(files["test"] or Path("TEST.tsv"), tags[0], tags[:1])))
    for line in teaching.next_commands(tags[0], method, held_out, columns.options() + runtime.options()):
        console.print(line)


def _file_of(file: Path, tag: str, tags: Sequence[str]) -> Path:
    """The captions of one of several languages."""
    if len(tags) > 1 and "{}" not in file.name:
        raise SettingError(
            f"{file} is one file, but the languages are {', '.join(tags)}",
            fix=f"Write {{}} where the tag stands in the files' names, such as '{file.with_name('{}.train.tsv')}'.",
        )
    return file.with_name(file.name.replace("{}", tag))


def print_scores(examples: Examples, columns: Mapping[str, Mapping[str, float]]) -> None:
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


def rare_tokens(cover: Coverage, new_tokens: int, settings: TaskSettings) -> str:
    """What to do where many tokens are too rare to be learnt; empty where few are, texts are few, or it is done."""
    if cover.texts < FEW or cover.once < OFTEN or not new_tokens or settings.min_count >= ENOUGH:
        return ""
    return (
        f"{100 * cover.once:.0f} % of the texts' tokens stand in them just once, and a row learns little from that; "
        f"--set min_count={ENOUGH} makes none of pieces that are rarer (docs/tokenizers.md)"
    )


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
    if advice := rare_tokens(cover, report.new_tokens, settings):
        console.print(f"note: {advice}")
    kept = f", epoch {report.epoch} kept" if report.epoch < report.epochs else ""
    console.print(
        f"{counted(report.steps, 'step')} in {report.seconds:.1f} s ({report.texts / report.seconds:,.0f} texts/s, "
        f"{100 * report.padding:.1f} % padding), loss {report.loss:.3f}{kept}"
    )
    if report.skipped:
        console.print(f"note: {counted(report.skipped, 'step')} overflowed in {report.precision} and moved nothing")
    if cover.texts < settings.batch_size:
        console.print(f"note: fewer texts than a batch of {settings.batch_size} holds, so each step takes all of them")
    if report.left_out:
        console.print(f"{report.left_out} texts an epoch fell into its last, incomplete batch (others each time)")
    for name, seconds in report.stages.items():
        console.print(f"stage {name}: {seconds:.1f} s")
    reach = report.steps * settings.learning_rate / deviation
    if reach < 1 and not report.stages:
        console.print(
            f"note: {counted(report.steps, 'step')} at a rate of {settings.learning_rate:g} can move a row by "
            f"{reach:.2f} of the rows' standard deviation; for so little data raise --epochs or --learning-rate"
        )
