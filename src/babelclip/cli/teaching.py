"""What ``babelclip learn`` teaches and writes: a pack of one language, or a lexicon that several share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Protocol

from babelclip.acquirers.store import MODULES, REMEMBERED, TENSORS
from babelclip.cli.console import note, program, tell_all
from babelclip.config import TaskSettings, recipe_for
from babelclip.continual import Student, load
from babelclip.data import Cache, Examples, Teacher
from babelclip.encoders import DEFAULT_MODEL, FRAMES, DualEncoder
from babelclip.errors import SettingError
from babelclip.files import alone, remove_temporaries, sha256, write_whole
from babelclip.lexicon.store import LEXICON, ROWS, TOKENIZER
from babelclip.packs import METHOD, Polyglot, install_pack, is_polyglot, learn_pack, load_polyglot, pack_recipe
from babelclip.packs.card import ROW_DTYPES, Measured
from babelclip.packs.container import SUFFIX, is_pack, zip_files
from babelclip.packs.installed import base_of, begin_folder, check_place, pack_files_of
from babelclip.packs.learn import add_metrics
from babelclip.packs.store import pack_files
from babelclip.packs.warm import START, STARTS
from babelclip.registry import Registry
from babelclip.training import Checkpoints, OnStep, StepReport, TaskReport

CHECKPOINTS, LOG, LOCK = "checkpoints", "log.jsonl", ".lock"
WRITTEN = "written.sha256"
"""Beside the checkpoints of a pack: the sha256 of what is about to be written, so that the run knows it again."""
ROWS_STORED = "float16"
VOCABULARY_SETTINGS = ("vocab_size", "min_count", "merges_from", "initialiser")
Scores = dict[str, float]
Columns = dict[str, Scores]
"""Scores by the name of the column that shows them."""


@dataclass(frozen=True)
class Start:
    """What learning starts from, and what it ends in.

    Attributes:
        base: base model or learnt folder; None: that of the folder that is written to, else the built-in one.
        lexicon: a multilingual language model, whose words are used instead of the base model's own.
        lexicon_width: width of random rows instead of its word embeddings.
        again: go on with languages that were learnt before.
        shared: grow one lexicon for all languages.
        rows: how a pack stores its rows.
        licence: what a pack says of its licence.
        replace: an installed pack of the same language.
        rows_from: where the rows of a pack start; None: as usual.
    """

    base: str | None = None
    lexicon: str | None = None
    lexicon_width: int | None = None
    again: bool = False
    shared: bool = False
    rows: str = ROWS_STORED
    licence: str = ""
    replace: bool = False
    rows_from: str | None = None

    def __post_init__(self) -> None:
        """Refuse a width of rows that nobody asks for."""
        if self.lexicon_width is not None and self.lexicon is None:
            raise SettingError(
                f"--lexicon-width {self.lexicon_width} is of the words of a --lexicon, and none is given",
                fix="Give --lexicon FOLDER, or leave --lexicon-width away.",
            )

    @property
    def base_model(self) -> str | None:
        """The base model: of a folder of packs the one that they are for; None of a pack, which knows no place."""
        if self.base is None or is_pack(Path(self.base)):
            return None
        return base_of(self.base) if is_polyglot(Path(self.base)) else self.base

    def shares(self, tags: Sequence[str]) -> bool:
        """Whether what is learnt cannot be one language's own, or shall not be."""
        learnt = self.base is not None and (Path(self.base) / LEXICON).is_file()
        return self.shared or self.again or learnt or self.lexicon is not None or len(tags) > 1

    def usual_method(self, tags: Sequence[str]) -> str:
        """The method where none is named: where languages share a lexicon, the one that ends highest there."""
        return "cll+counts" if self.shares(tags) else METHOD


class Teaching(Protocol):
    """One of the two.

    Attributes:
        encoder: the base model.
        teacher: its vectors, remembered.
        recipe: the settings to begin with.
        log, checkpoints: where steps and checkpoints go.
        known: languages that are there.
    """

    encoder: DualEncoder
    teacher: Teacher
    recipe: TaskSettings
    log: Path
    checkpoints: Path
    known: list[str]

    def refuse(self, changed: Sequence[str]) -> None:
        """Refuse settings that would change nothing."""

    def alone(self) -> AbstractContextManager[None]:
        """Hold the right to learn this; refuses also what another process has written in the meantime."""

    def before(self, examples: Examples) -> Scores:
        """Return the scores before learning."""

    def learn(
        self, examples: Examples, *, method: str, settings: TaskSettings, validation: list[Examples] | None,
        on_step: OnStep, checkpoints: Checkpoints, name: str,
    ) -> TaskReport:  # fmt: skip
        """Learn."""

    def finish(self, tests: Mapping[str, tuple[Examples, Scores]], *, write: bool) -> list[Columns]:
        """Measure, write, and return the columns of each test; tests by name with their scores before."""

    def next_commands(self, tag: str, method: str, held_out: str, where: str) -> list[str]:
        """Say what was written where, and what can be done with it."""


class SharedTeaching:
    """A lexicon that several languages share: the papers' setting."""

    def __init__(
        self, start: Start, out: Path, *, device: str | None, cache: Cache, frames: int, keep: Path | None
    ) -> None:
        """Load what it starts from; ``keep``: a folder inside ``out`` that may be there already."""
        self._out, self._keep = out, [folder for folder in (keep, cache.folder) if folder is not None]
        _check_folder(out, self._keep)
        self._student: Student = load(
            start.base or DEFAULT_MODEL, lexicon=start.lexicon, lexicon_width=start.lexicon_width, device=device,
            cache=cache, frames=frames,
        )  # fmt: skip
        self._again = start.again
        self.encoder, self.teacher = self._student.encoder, self._student.teacher
        self.recipe, self.known = recipe_for(self.encoder.name), self._student.languages
        self.log, self.checkpoints = out / LOG, out / CHECKPOINTS

    def refuse(self, changed: Sequence[str]) -> None:
        """Refuse what is said of words to be learnt where the vocabulary is complete."""
        for name in changed:
            if self._student.lexicon.complete and name in VOCABULARY_SETTINGS:
                raise SettingError(
                    f"the setting {name!r} has no effect: the vocabulary is complete, nothing is added to it",
                    fix="Leave the setting out.",
                )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the right to learn this; refuses also what another process has written in the meantime."""
        with alone(self._out, self._out / LOCK, wait=0):
            _check_folder(self._out, self._keep)
            yield

    def before(self, examples: Examples) -> Scores:
        """Return the scores before learning."""
        return self._student.evaluate(examples)

    def learn(
        self, examples: Examples, *, method: str, settings: TaskSettings, validation: list[Examples] | None,
        on_step: OnStep, checkpoints: Checkpoints, name: str,
    ) -> TaskReport:  # fmt: skip
        """Learn."""
        return self._student.learn(
            examples.language, examples, method=method, settings=settings, validation=validation, on_step=on_step,
            checkpoints=checkpoints, again=self._again, note=note,
        )  # fmt: skip

    def finish(self, tests: Mapping[str, tuple[Examples, Scores]], *, write: bool) -> list[Columns]:
        """Measure, then write: what is interrupted before goes on."""
        columns = [{"before": before, "after": self._student.evaluate(test)} for test, before in tests.values()]
        if write:
            self._student.save(self._out)
        return columns

    def next_commands(self, tag: str, method: str, held_out: str, where: str) -> list[str]:
        """Say what was written where, and what can be done with it."""
        model, more, method = (quote(str(one)) for one in (self._out, f"{self._out}-XX", method))
        return [
            f"Written to {self._out}. Next:",
            f"  {program()} evaluate --model {model} --language {tag} --data {held_out}{where}",
            f"  {program()} learn --base {model} --language XX --data XX.tsv{where} --method {method} --out {more}",
        ]


class PackTeaching:
    """A pack of one language, installed into a folder of packs or written as one file."""

    def __init__(
        self, start: Start, tag: str, out: Path, *, device: str | None, cache: Cache, frames: int,
        keep: Path | None = None,
    ) -> None:  # fmt: skip
        """Load what it starts from, and refuse before any work what could not be written; ``keep`` as above."""
        Registry("kind of rows", dict.fromkeys(ROW_DTYPES))[start.rows]
        self._rows_from = start.rows_from or START
        STARTS[self._rows_from]  # refuses an unknown name
        self._start, self._into = start, None if out.suffix == SUFFIX else out
        self._file = out if self._into is None else out / f"{tag}{SUFFIX}"
        self.log, self.checkpoints = self._file.with_suffix(".log.jsonl"), self._file.with_suffix(".checkpoints")
        self._replace = start.replace or self._written()
        self._check_file()
        if self._into is not None:
            check_place(self._into, tag, [folder for folder in (keep, cache.folder) if folder is not None])
        known = self._into is not None and is_polyglot(self._into)
        model = self._into if known and self._into is not None else start.base or DEFAULT_MODEL
        self._polyglot: Polyglot = load_polyglot(
            model, base=start.base_model if known else None, device=device, frames=frames
        )
        self.encoder = self._polyglot.encoder
        self.teacher = Teacher(self.encoder, cache)
        self.recipe, self.known = pack_recipe(self.encoder.name), self._polyglot.languages[1:]
        if tag in self.known and self._written():
            self.known.remove(tag)
        if tag in self.known and not start.replace:
            raise SettingError(
                f"{model} has a pack for {tag!r} already",
                fix=f"Say --replace to learn another one, or --base {self.encoder.name} to begin without it.",
            )
        self._tag = tag

    def _written(self) -> bool:
        """Whether this very run wrote the pack that stands there, and ended before it had removed its checkpoints."""
        mark = self.checkpoints / WRITTEN
        return self._file.is_file() and mark.is_file() and mark.read_bytes() == sha256(self._file).encode()

    def _check_file(self) -> None:
        """Refuse to overwrite a pack, but for one that this run wrote itself."""
        if self._file.exists() and not (self._start.replace and self._into is not None) and not self._written():
            way = "Say --replace, or choose" if self._into is not None else "Choose"
            raise SettingError(f"{self._file} exists", fix=f"{way} another --out; nothing is overwritten.")

    def refuse(self, changed: Sequence[str]) -> None:
        """Refuse nothing: a pack's words are learnt from its texts."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the right to learn this; refuses also what another process has written in the meantime."""
        with alone(self._file, self._file.with_name(f".{self._file.stem}{LOCK}"), wait=0):
            self._check_file()
            yield

    @property
    def polyglot(self) -> Polyglot:
        """The base model and what is installed beside it."""
        return self._polyglot

    def before(self, examples: Examples) -> Scores:
        """Return the scores of the base model."""
        return self._polyglot.evaluate(examples, language="en")

    def learn(
        self, examples: Examples, *, method: str, settings: TaskSettings, validation: list[Examples] | None,
        on_step: OnStep, checkpoints: Checkpoints, name: str,
    ) -> TaskReport:  # fmt: skip
        """Learn."""
        pack, report = learn_pack(
            self._polyglot, self._tag, examples, method=method, settings=settings, rows=self._start.rows,
            start=self._rows_from, teacher=self.teacher, validation=validation, on_step=tell_all(self._begin, on_step),
            checkpoints=checkpoints, name=name,
        )  # fmt: skip
        pack = replace(pack, card=pack.card.model_copy(update={"licence": self._start.licence}))
        self._polyglot = self._polyglot.install(pack, replace=self._replace)
        return report

    def _begin(self, _: StepReport) -> None:
        """Make the folder as soon as there is something to go on with, and not where nothing could be learnt."""
        if self._into is not None:
            begin_folder(self._into, self.encoder)

    def finish(self, tests: Mapping[str, tuple[Examples, Scores]], *, write: bool) -> list[Columns]:
        """Measure with the rows as they are stored, then write: the card says how well it does."""
        columns = [
            {"before": before, "after": self._polyglot.evaluate(test, language=self._tag)}
            | ({"routed": self._polyglot.evaluate(test)} if self._polyglot.routable else {})
            for test, before in tests.values()
        ]  # fmt: skip
        measured = [
            Measured(data=name, texts=len(test.texts), pictures=len(test.files), scores=found["after"], before=before)
            for (name, (test, before)), found in zip(tests.items(), columns, strict=True)
        ]
        pack = add_metrics(self._polyglot.packs[self._tag], measured)
        if write:
            content = zip_files(pack_files(pack))
            write_whole(self.checkpoints / WRITTEN, hashlib.sha256(content).hexdigest())
            if self._into is None:
                write_whole(self._file, content)
            else:
                install_pack(self._into, pack, self.encoder, replace=self._replace)
        return columns

    def next_commands(self, tag: str, method: str, held_out: str, where: str) -> list[str]:
        """Say what was written where, and what can be done with it."""
        model = quote(str(self._into or self._file))
        told = f" --method {quote(method)}" if method != METHOD else ""
        evaluate = f"  {program()} evaluate --model {model} --language {tag} --data {held_out}{where}"
        if self._into is None:
            return [f"Written to {self._file}. Next:", evaluate, f"  {program()} pack install {model} --into FOLDER"]
        others = [file.stem for file in pack_files_of(self._into) if file != self._file]
        return [
            f"Written to {self._file}, beside {', '.join(others) or 'no other language'}. Next:", evaluate,
            f'  {program()} index PICTURES --model {model}',
            f'  {program()} search "..." --model {model}',
            f"  {program()} learn --language XX --data XX.tsv{where}{told} --out {model}",
            f"  {program()} pack list {model}",
        ]  # fmt: skip


def _check_folder(out: Path, keep: Sequence[Path]) -> None:
    """Refuse a folder with anything in it but what this command itself leaves when it is interrupted.

    Where there are checkpoints, the lexicon beside them is of the run that they belong to: it was not finished.
    """
    ours, begun = {out / CHECKPOINTS, out / LOG, out / LOCK, *keep}, Checkpoints(out / CHECKPOINTS).begun
    if begun:
        ours |= {out / name for name in (ROWS, MODULES, TENSORS, REMEMBERED, TOKENIZER, LEXICON)}
    if out.is_dir():
        remove_temporaries(out)
    if is_polyglot(out):
        raise SettingError(
            f"--out {out} is a folder of packs, and no place for a lexicon that languages share",
            fix="Choose a new folder; or learn one language into it as a pack, without --shared, --again and --lexicon "
            "(--replace for one that is there).",
        )
    if (out / LEXICON).is_file() and not begun:
        raise SettingError(
            f"--out {out} exists and is not empty: a lexicon that languages share is in it",
            fix=f"Go on with it: --base {out} and a new --out; nothing is overwritten.",
        )
    if out.exists() and (not out.is_dir() or any(entry not in ours for entry in out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")


def choose_teaching(
    start: Start, tags: Sequence[str], out: Path, *, device: str | None, cache: Cache, frames: int = FRAMES,
    keep: Path | None = None,
) -> Teaching:  # fmt: skip
    """Return what the languages are learnt as.

    Raises:
        SettingError: it cannot be a pack but is to be written as one, or something stands at ``out``.
    """
    if not start.shares(tags):
        return PackTeaching(start, tags[0], out, device=device, cache=cache, frames=frames, keep=keep)
    if out.suffix == SUFFIX:
        raise SettingError(
            f"--out {out} is to be a pack, but what is learnt belongs to several languages",
            fix="Learn one language from a base model, without --lexicon, --again and --shared; or give a folder.",
        )
    of_packs = {"--start": start.rows_from, "--licence": start.licence, "--replace": start.replace,
                "--rows": start.rows if start.rows != ROWS_STORED else None}  # fmt: skip
    for option in (name for name, value in of_packs.items() if value):
        raise SettingError(
            f"{option} is for a pack, but what is learnt belongs to several languages",
            fix="Learn one language from a base model, without --lexicon, --again and --shared; or leave "
            f"{option} away.",
        )
    return SharedTeaching(start, out, device=device, cache=cache, frames=frames, keep=keep)
