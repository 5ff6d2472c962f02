"""What a data set is: typed facts and one function that reads a language of a split.

A new data set is one file with a ``Dataset`` and one line in ``DATASETS`` (docs/benchmark.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from babelclip.data import Corpus, Gatherer, Images, ImageVectors
from babelclip.data.gather import is_file
from babelclip.errors import DataError, UnknownNameError

Counts = tuple[int, int]
"""Pictures and captions."""


@dataclass(frozen=True)
class Place:
    """Where a user keeps a data set.

    Attributes:
        folder: the data set's files.
        images: its pictures, or vectors of them.
    """

    folder: Path
    images: Images

    def gather(self, language: str, source: Path, *, numbered: str = "line") -> Gatherer:
        """Begin to collect captions out of ``source``."""
        return Gatherer(language, source, self.images, numbered=numbered)

    def gather_released(self, language: str, source: Path, *, numbered: str = "line") -> Gatherer:
        """Begin to collect captions out of a released file: empty ones are counted and left out."""
        return Gatherer(language, source, self.images, numbered=numbered, skip_empty=True)

    def has(self, name: str) -> bool:
        """Whether there is a picture, or a vector, of this name."""
        return name in self.images if isinstance(self.images, ImageVectors) else is_file(self.images / name)


@dataclass(frozen=True)
class Dataset:
    """A named data set.

    Attributes:
        name: what users type.
        title: its full name.
        version: which edition; part of every results file.
        languages: tags, in alphabetical order; empty where the folder itself says.
        splits: names of its splits.
        protocol: ``caption`` or ``group``: what its authors report for image->text (both are always measured).
        licence: as its authors state it.
        citation: whom to cite.
        obtain: how the user gets it; nothing is downloaded here.
        layout: expected files, one a line: path and what stands there.
        counts: (language, split) -> pictures and captions, where they are known.
        read: reads one language of one split.
        images: folder of the pictures inside the data set's own.
        find_languages: lists the languages of a folder, where ``languages`` is empty.
        find_splits: lists the splits of a language in a folder, where not every language must have all.
    """

    name: str
    title: str
    version: str
    languages: tuple[str, ...]
    splits: tuple[str, ...]
    protocol: str
    licence: str
    citation: str
    obtain: str
    layout: Mapping[str, str]
    read: Callable[[Place, str, str], Corpus]
    counts: Mapping[tuple[str, str], Counts] = field(default_factory=dict)
    images: str = "images"
    find_languages: Callable[[Path], tuple[str, ...]] | None = None
    find_splits: Callable[[Path, str], tuple[str, ...]] | None = None

    def place(self, folder: Path, images: Images | None = None) -> Place:
        """Say where the data set lies.

        Args:
            folder: its folder.
            images: its pictures, where they lie elsewhere, or vectors of them.

        Raises:
            DataError: one of the folders does not exist.
        """
        if not folder.is_dir():
            raise DataError(
                f"the data set {self.name!r} is not there",
                file=folder, fix=f"`bench run` finds it by --folder {self.name}=DIR, or in the folder {self.name} of "
                f"--data-root DIR. To get it: {self.obtain}",
            )  # fmt: skip
        images = folder / self.images if images is None else images
        if isinstance(images, Path) and not images.is_dir():
            raise DataError(
                f"there is no folder with the pictures of {self.name}",
                file=images, fix="Say where they are (--images), or give vectors (--image-vectors).",
            )  # fmt: skip
        return Place(folder, images)

    def languages_in(self, folder: Path) -> tuple[str, ...]:
        """Return the languages, asking the folder where the data set has no list of its own."""
        return self.languages if self.find_languages is None else self.find_languages(folder)

    def splits_in(self, folder: Path, language: str) -> tuple[str, ...]:
        """Return the splits of a language, asking the folder where languages may lack some."""
        return self.splits if self.find_splits is None else self.find_splits(folder, language)

    def load(self, place: Place, language: str, split: str) -> Corpus:
        """Read one language of one split.

        Raises:
            UnknownNameError: the data set has no such language or split.
            DataError: a file is missing or malformed; names it, the line and the way out.
        """
        known = self.languages_in(place.folder)
        if language not in known:
            raise UnknownNameError(f"language of {self.name}", language, known)
        if split not in self.splits:
            raise UnknownNameError(f"split of {self.name}", split, self.splits)
        return self.read(place, language, split)


def pair_english(english: list[str], number: int) -> str:
    """Return the English caption that teaches caption ``number`` of the same picture.

    For captions that were written independently in each language: the k-th gets the k-th English one, going round, so
    that a picture's texts meet all its English ones.
    """
    return english[number % len(english)]
