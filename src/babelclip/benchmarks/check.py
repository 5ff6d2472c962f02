"""Reads all of a data set and says what is there, what was expected and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from babelclip.benchmarks.base import Counts, Dataset, Place
from babelclip.errors import BabelclipError


@dataclass(frozen=True)
class Checked:
    """One language of one split.

    Attributes:
        language: its tag.
        split: the split.
        pictures: number of different pictures.
        captions: number of captions.
        expected: pictures and captions that the data set is known to have, where that is known.
        skipped: what was left out: reason -> number.
        problem: empty, or what is wrong.
    """

    language: str
    split: str
    pictures: int = 0
    captions: int = 0
    expected: Counts | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


def check_dataset(dataset: Dataset, place: Place) -> list[Checked]:
    """Read every language of every split; a problem stands in its row and does not stop the others.

    Raises:
        DataError: the folder does not say which languages it holds.
    """
    return [
        _check(dataset, place, language, split)
        for language in dataset.languages_in(place.folder)
        for split in dataset.splits_in(place.folder, language)
    ]


def _check(dataset: Dataset, place: Place, language: str, split: str) -> Checked:
    expected = dataset.counts.get((language, split))
    try:
        corpus = dataset.load(place, language, split)
    except BabelclipError as error:
        return Checked(language, split, expected=expected, problem=str(error))
    found = len({caption.image for caption in corpus.captions}), len(corpus.captions)
    wrong = "" if expected in (None, found) else f"expected {expected[0]:,} pictures and {expected[1]:,} captions"
    return Checked(language, split, *found, expected, corpus.skipped, wrong)
