"""MSCOCO_36: COCO's English captions machine-translated into 35 languages, as the authors of CLL-CLIP released them.

Training pairs are the lines of ``coco_en-LANGUAGE.tsv.gz``: English and its translation, in the order of the English
``train.json`` (which has Karpathy's ``restval`` pictures first). The n-th caption of a picture is a translation of its
n-th English one: captions are parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic.dataclasses import dataclass as checked

from babelclip.benchmarks.base import Dataset, Place
from babelclip.benchmarks.crossmodal3600 import LANGUAGES
from babelclip.benchmarks.karpathy import check_form
from babelclip.benchmarks.lines import find_file, read_aligned
from babelclip.data import Corpus
from babelclip.data.tables import read_json
from babelclip.errors import DataError
from babelclip.files import file_state

ANNOTATIONS, CORPUS = "annotations/coco", "corpus/multilingual_coco/36langs"
FIX = "Restore both files from their source."
OBTAIN = (
    "Unpack annotations.zip and corpus_multilingual_coco.zip, linked in projects/cll_clip/data/README.md of "
    "https://github.com/yangbang18/CLFM, and COCO 2014 (https://cocodataset.org) into images/."
)


@checked(slots=True, frozen=True)
class _Entry:
    image: str
    caption: str | list[str]


@dataclass(frozen=True)
class _Picture:
    name: str
    captions: tuple[str, ...]


def _entries(file: Path, *, train: bool = False) -> tuple[_Picture, ...]:
    """Read a list of entries; in training files one entry is one caption, else one picture."""
    return _parse(file, train, file_state(file))


@lru_cache(maxsize=4)
def _parse(file: Path, train: bool, _state: tuple[int, int] | None) -> tuple[_Picture, ...]:
    pictures: list[_Picture] = []
    seen: set[str] = set()
    for number, entry in enumerate(check_form(list[_Entry], read_json(file), file)):
        if train != isinstance(entry.caption, str):
            raise DataError(
                f"entry {number}: 'caption' is a {type(entry.caption).__name__}",
                file=file, fix="Training files have one text an entry, the others a list of texts.",
            )  # fmt: skip
        if not train and entry.image in seen:
            raise DataError(f"entry {number}: {entry.image!r} stands there twice", file=file, fix=FIX)
        seen.add(entry.image)
        pictures.append(
            _Picture(entry.image, (entry.caption,) if isinstance(entry.caption, str) else tuple(entry.caption))
        )
    return tuple(pictures)


def _read(place: Place, language: str, split: str) -> Corpus:
    file = place.folder / ANNOTATIONS / "en" / f"{split}.json"
    english = _entries(file, train=split == "train")
    if language != "en" and split == "train":
        return _read_train(place, language, english, file)
    if language == "en":
        translated, source = english, file
    else:
        source = place.folder / ANNOTATIONS / "translated" / language / f"{split}.json"
        translated = _entries(source)
        _check_parallel(english, file, translated, source)
    gathered = place.gather_released(language, source, numbered="entry")
    for number, (ours, theirs) in enumerate(zip(english, translated, strict=True)):
        if not ours.captions:
            gathered.skip("pictures without a caption")
        for original, text in zip(ours.captions, theirs.captions, strict=True):
            gathered.add(ours.name, original, text, line=number, columns=("image", "en", "caption"))
    return gathered.corpus(empty=FIX)


def _check_parallel(english: tuple[_Picture, ...], file: Path, other: tuple[_Picture, ...], source: Path) -> None:
    """Make sure that two files hold the same pictures in the same order with as many captions."""
    if len(english) != len(other):
        raise DataError(f"{len(other):,} pictures, but {file} has {len(english):,}", file=source, fix=FIX)
    for number, (ours, theirs) in enumerate(zip(english, other, strict=True)):
        if ours.name != theirs.name:
            raise DataError(
                f"entry {number}: the picture is {theirs.name!r}, but {ours.name!r} in {file}", file=source, fix=FIX
            )
        if len(ours.captions) != len(theirs.captions):
            raise DataError(
                f"entry {number}: {len(theirs.captions)} captions, but {len(ours.captions)} in {file}",
                file=source, fix=FIX,
            )  # fmt: skip


def _read_train(place: Place, language: str, english: tuple[_Picture, ...], file: Path) -> Corpus:
    source = find_file(place.folder / CORPUS / f"coco_en-{language}.tsv", OBTAIN)
    gathered = place.gather_released(language, source)
    lines = read_aligned(source, len(english), file)
    for line, (text, picture) in enumerate(zip(lines, english, strict=True), 1):
        fields, original = text.split("\t"), picture.captions[0]
        if len(fields) != 2:
            raise DataError(
                f"{len(fields)} fields, expected 2 (English, {language})",
                file=source, line=line, fix="Restore the file from its source.",
            )  # fmt: skip
        if _letters(fields[0]) != _letters(original):
            raise DataError(
                f"the English text is {fields[0]!r}, but {original!r} at the same place of {file}",
                file=source, line=line, fix=FIX,
            )  # fmt: skip
        gathered.add(picture.name, original, fields[1], line=line, columns=("image", "en", language))
    return gathered.corpus(empty=FIX)


def _letters(text: str) -> str:
    """What must agree: letters and digits; blanks, quotation marks and case may have been tidied up."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


MSCOCO36 = Dataset(
    name="mscoco36",
    title="MSCOCO_36",
    version="CLL-CLIP release of 2024",
    languages=LANGUAGES,
    splits=("train", "val", "test"),
    protocol="caption",
    licence="captions: CC BY 4.0 (COCO), machine-translated; photographs: Flickr terms of use",
    citation="Yang et al., AAAI 2024; Chen et al., 2015 (COCO captions); Karpathy, Fei-Fei, CVPR 2015 (split)",
    obtain=OBTAIN,
    layout={
        f"{ANNOTATIONS}/en/train.json": "a list of image, caption: one entry a caption",
        f"{ANNOTATIONS}/en/SPLIT.json": "val, test: a list of image, caption (a list): one entry a picture",
        f"{ANNOTATIONS}/translated/LANGUAGE/SPLIT.json": "val, test: the same entries, translated",
        f"{CORPUS}/coco_en-LANGUAGE.tsv.gz": "train: English, tab, translation; a line for each entry of train.json",
        "images/val2014/COCO_val2014_NUMBER.jpg": "the photographs; also train2014 (or --image-vectors with such ids)",
    },
    read=_read,
    counts={
        (language, split): counts
        for language in LANGUAGES
        for split, counts in (("train", (113287, 566747)), ("val", (5000, 25010)), ("test", (5000, 25010)))
    },
)
