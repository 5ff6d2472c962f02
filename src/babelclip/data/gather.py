"""Captions from any format: each checked, normalised and counted; what cannot be used is said all at once."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from babelclip.data.vectors import ImageVectors
from babelclip.errors import DataError
from babelclip.files import is_utf8
from babelclip.languages import normalise_tag

Images = Path | ImageVectors
"""Where pictures are: a folder that names start at, or vectors by id."""


@dataclass(frozen=True)
class Caption:
    """One row: a picture file, or the id of its vector, its English text, its text in the language, and its line."""

    image: Path
    english: str
    text: str
    line: int


@dataclass(frozen=True)
class Corpus:
    """The captions of one file in one language.

    Attributes:
        language: its normalised tag.
        captions: in the order of the file.
        source: the file.
        skipped: what of the source is not among the captions: reason -> number.
        vectors: the pictures' vectors, where they were computed before; else the captions name files.
    """

    language: str
    captions: tuple[Caption, ...]
    source: Path
    skipped: Mapping[str, int] = field(default_factory=dict)
    vectors: ImageVectors | None = None

    @property
    def fingerprint(self) -> str:
        """Sha256 over language, picture names and texts; equal for equal content, wherever the file lies."""
        digest = hashlib.sha256(self.language.encode())
        for caption in self.captions:
            digest.update("\0".join(("", caption.image.name, caption.english, caption.text)).encode())
        return digest.hexdigest()

    def first_captions(self) -> Corpus:
        """Keep the first caption of each picture: the protocol ``first``."""
        first = {caption.image: caption for caption in reversed(self.captions)}
        kept = tuple(caption for caption in self.captions if first[caption.image] is caption)
        return dataclasses.replace(self, captions=kept)

    def sample(self, count: int) -> Corpus:
        """Keep ``count`` captions drawn at random, always the same, in their order; all where there are no more.

        A smaller sample is part of every larger one.
        """
        order = random.Random(0).sample(range(len(self.captions)), len(self.captions))
        kept = sorted(order[:count])
        return dataclasses.replace(self, captions=tuple(self.captions[place] for place in kept))


class Gatherer:
    """Collects the captions of one language.

    ``add`` never raises; ``corpus`` does, once, with the first problem, their number and the next places.
    """

    def __init__(
        self, language: str, source: Path, images: Images, *, numbered: str = "line", skip_empty: bool = False
    ) -> None:
        """Begin.

        Args:
            language: its tag.
            source: the file that problems are reported in.
            images: where the pictures are.
            numbered: what ``line`` of ``add`` counts, in formats without lines: ``image``, ``annotation``.
            skip_empty: count empty texts and leave them out; for released files, which the user does not edit.

        Raises:
            DataError: the tag is malformed.
        """
        self._language, self._source, self._images = normalise_tag(language), source, images
        self._numbered, self._skip_empty = numbered, skip_empty
        self._captions: list[Caption] = []
        self._problems: list[tuple[Path, int, str, str]] = []
        self._skipped: Counter[str] = Counter()
        self._known: dict[str, Path | None] = {}

    def add(
        self, image: str, english: str, text: str, *, line: int, columns: tuple[str, str, str], file: Path | None = None
    ) -> None:
        """Add one caption; texts are normalised to NFC with single spaces.

        Args:
            image: path or id of its picture.
            english: its English text.
            text: its text in the language.
            line: its line in the source, or its number where the format has no lines.
            columns: how the source calls the three, for messages.
            file: the file that holds this caption, where the source has several.
        """
        file = file or self._source
        values = [image.strip(), clean(english), clean(text)]
        if self._skip_empty and not (values[1] and values[2]):
            self.skip("empty captions" if values[1] else "captions whose English is empty")
            return
        for column, value in zip(columns, values, strict=True):
            problem = find_problem(value)
            if problem:
                fix = "Fill it in, or remove the row." if problem == "is empty" else "Correct the text."
                self._problems.append((file, line, f"the column {column!r} {problem}", fix))
                return
        found = self._find(values[0])
        if found is None and not isinstance(self._images, ImageVectors) and not self._images.is_dir():
            raise DataError("the folder of the pictures is not there", file=self._images, fix="Correct its path.")
        if found is None:
            where = (
                f"among the {len(self._images)} ids of {self._images.file}"
                if isinstance(self._images, ImageVectors)
                else f"(relative paths start at {self._images})"
            )
            what = f"there is no picture {values[0]!r} {where}"
            slashed = values[0].replace("\\", "/")
            there = slashed != values[0] and self._find(slashed) is not None
            fix = f"Write {slashed!r}, which is there." if there else "Correct the path or the folder."
            self._problems.append((file, line, what, fix))
            return
        self._captions.append(Caption(found, values[1], values[2], line))

    def skip(self, reason: str, count: int = 1) -> None:
        """Count something of the source that is left out on purpose."""
        if count:
            self._skipped[reason] += count

    def corpus(self, *, empty: str) -> Corpus:
        """Return what was collected.

        Args:
            empty: what to write into an empty file, for the message.

        Raises:
            DataError: something could not be used, or there is nothing.
        """
        if self._problems:
            file, line, what, fix = self._problems[0]
            others = ", ".join(str(number) for _, number, _, _ in self._problems[1:6])
            more = f" ({len(self._problems)} rows have problems, next {self._numbered}s {others})" if others else ""
            if self._numbered != "line":
                raise DataError(f"{self._numbered} {line}: {what}{more}", file=file, fix=fix)
            raise DataError(what + more, file=file, line=line, fix=fix)
        if not self._captions:
            skipped = "".join(f"; {count:,} {reason}" for reason, count in self._skipped.items())
            raise DataError(f"no captions in {self._language!r}{skipped}", file=self._source, fix=empty)
        vectors = self._images if isinstance(self._images, ImageVectors) else None
        return Corpus(self._language, tuple(self._captions), self._source, dict(self._skipped), vectors)

    def _find(self, name: str) -> Path | None:
        """The picture's path or id, or None; each name is looked up once.

        Where it is not there, it is in the other spelling of its letters with marks: macOS writes names in NFD.
        """
        if name not in self._known:
            spelt = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
            self._known[name] = next((found for one in spelt if (found := self._look_up(one)) is not None), None)
        return self._known[name]

    def _look_up(self, name: str) -> Path | None:
        if isinstance(self._images, ImageVectors):
            return Path(name) if name in self._images else None
        file = self._images / name
        return file if is_file(file) else None


def is_file(file: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long) is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def clean(text: str) -> str:
    """Return a text in NFC with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def find_problem(text: str) -> str:
    """Say what is wrong with a text, or return an empty string."""
    if not text:
        return "is empty"
    if "\0" in text:
        return "holds a NUL character"
    if not is_utf8(text):
        return "holds half of a surrogate pair"
    if not text[0].isalnum() and all(unicodedata.category(letter)[0] in "CZ" for letter in text):
        return "holds nothing that can be seen"
    return ""
