"""Pictograms named in 36 languages: 1,852 concepts, each drawn in two styles, with names and keywords from CLDR.

A name is one text of a concept, its keywords, joined by commas, another. Keywords of two languages are no translations
of each other word by word, but describe the same thing. In training, names go with the one style and keywords with the
other; tests ask for unseen concepts by name, in the first style (``test``) or in the second (``test-noto``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from babelclip.benchmarks.base import Dataset, Place
from babelclip.benchmarks.karpathy import check_form
from babelclip.data import Corpus
from babelclip.data.tables import read_json
from babelclip.errors import DataError
from babelclip.files import file_state

FILE = "concepts.json"
FIRST, SECOND = "fluent3d", "noto"
STYLE_OF = {"test": FIRST, "test-noto": SECOND}
LANGUAGES = (
    "ar", "bn", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fil", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "mi", "nl", "no", "pl", "pt", "quz", "ro", "ru", "sv", "sw", "te", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip


class Concept(BaseModel):
    """One concept of ``concepts.json``: its split, a picture for each style, a name and keywords for each language."""

    id: str
    split: str
    in_all_36: bool
    images: dict[str, str]
    names: dict[str, str]
    keywords: dict[str, list[str]]


class _File(BaseModel):
    concepts: list[Concept]


def read_concepts(folder: Path) -> list[Concept]:
    """Read ``concepts.json``.

    Raises:
        DataError: it is missing, damaged, of another form, or an id stands there twice.
    """
    file = folder / FILE
    return _parse(file, file_state(file))


@lru_cache(maxsize=2)
def _parse(file: Path, _state: tuple[int, int] | None) -> list[Concept]:
    fix = "Restore the file from its source."
    concepts = check_form(_File, read_json(file), file).concepts
    seen: set[str] = set()
    for number, concept in enumerate(concepts):
        if concept.id in seen:
            raise DataError(f"concept {number}: the id {concept.id!r} stands there twice", file=file, fix=fix)
        seen.add(concept.id)
        if concept.split not in ("train", "test"):
            raise DataError(f"concept {number}: the split is {concept.split!r}", file=file, fix="Use train or test.")
        if not {FIRST, SECOND} <= set(concept.images):
            raise DataError(f"concept {number}: drawn as {sorted(concept.images)}", file=file, fix="Both are needed.")
    return concepts


def texts_of(concept: Concept, language: str) -> dict[str, tuple[str, str]]:
    """Return the (English, language) pairs of a concept: ``name`` and ``keywords``, where both have them."""
    pairs = {}
    if language in concept.names and "en" in concept.names:
        pairs["name"] = concept.names["en"], concept.names[language]
    if concept.keywords.get(language) and concept.keywords.get("en"):
        pairs["keywords"] = ", ".join(concept.keywords["en"]), ", ".join(concept.keywords[language])
    return pairs


def _read(place: Place, language: str, split: str) -> Corpus:
    gathered = place.gather(language, place.folder / FILE, numbered="concept")
    for number, concept in enumerate(read_concepts(place.folder)):
        if concept.split != ("train" if split == "train" else "test"):
            continue
        pairs = texts_of(concept, language)
        if "name" not in pairs:
            gathered.skip("concepts without a name in the language")
            continue
        name, columns = pairs["name"], (FILE, "en", language)
        gathered.add(concept.images[STYLE_OF.get(split, FIRST)], *name, line=number, columns=columns)
        if split == "train" and "keywords" in pairs:
            gathered.add(concept.images[SECOND], *pairs["keywords"], line=number, columns=columns)
        elif split == "train":
            gathered.skip("concepts without keywords in the language")
    return gathered.corpus(empty=f"There must be concepts of the split {split!r}.")


PICTOGRAMS = Dataset(
    name="pictograms",
    title="Pictograms named in 36 languages",
    version="CLDR 48",
    languages=LANGUAGES,
    splits=("train", "test", "test-noto"),
    protocol="caption",
    licence="names: Unicode-3.0; Fluent Emoji: MIT; Noto Color Emoji: Apache-2.0 (images), OFL-1.1 (font)",
    citation="Unicode CLDR 48; Microsoft Fluent Emoji; Google Noto Color Emoji",
    obtain="Put concepts.json and images/ with the drawings of both styles into the folder.",
    layout={
        "concepts.json": "concepts: id, split, in_all_36, images by style, names and keywords by language",
        "images/STYLE/ID.webp": "drawings in the styles fluent3d and noto",
    },
    read=_read,
    counts={(language, split): (323, 323) for language in LANGUAGES for split in STYLE_OF},
    images=".",
)
