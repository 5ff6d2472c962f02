"""Crossmodal-3600: 3,600 photographs from all over the world, described by native speakers of 36 languages; a test set.

All captions are read, in the order of the file; ``Corpus.first_captions`` keeps the first of each picture. The captions
of two languages were written independently of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, Field

from babelclip.benchmarks.base import Dataset, Place, pair_english
from babelclip.benchmarks.karpathy import check_form
from babelclip.data import Corpus
from babelclip.data.gather import clean
from babelclip.data.tables import read_json_lines
from babelclip.errors import DataError
from babelclip.files import file_state

FILE = "captions.jsonl"
_CAPTIONS = {
    "ar": 7367, "bn": 3600, "cs": 7207, "da": 7264, "de": 8643, "el": 7204, "en": 7200, "es": 8614, "fa": 7245,
    "fi": 7127, "fil": 7109, "fr": 8562, "he": 7200, "hi": 8503, "hr": 7280, "hu": 7216, "id": 7126, "it": 8471,
    "ja": 7185, "ko": 7650, "mi": 4732, "nl": 8059, "no": 7213, "pl": 7141, "pt": 7243, "quz": 7200, "ro": 7123,
    "ru": 7200, "sv": 7273, "sw": 7046, "te": 7200, "th": 7200, "tr": 7233, "uk": 7215, "vi": 7350, "zh": 7174,
}  # fmt: skip
LANGUAGES = tuple(_CAPTIONS)


class _Captions(BaseModel):
    caption: list[str]


class _Line(BaseModel):
    key: str = Field(alias="image/key")


@dataclass(frozen=True)
class _Picture:
    line: int
    key: str
    captions: dict[str, list[str]]


def _pictures(file: Path) -> tuple[_Picture, ...]:
    return _parse(file, file_state(file))


@lru_cache(maxsize=1)
def _parse(file: Path, _state: tuple[int, int] | None) -> tuple[_Picture, ...]:
    pictures: dict[str, _Picture] = {}
    for line, content in read_json_lines(file):
        key = check_form(_Line, content, file, line=line).key
        missing = [language for language in LANGUAGES if language not in content]
        if missing:
            raise DataError(
                f"there is no {missing[0]!r} ({len(missing)} of {len(LANGUAGES)} languages are missing)",
                file=file, line=line, fix="Restore the file from its source.",
            )  # fmt: skip
        row = check_form(dict[str, _Captions], {name: content[name] for name in LANGUAGES}, file, line=line)
        if key in pictures:
            raise DataError(
                f"the picture {key!r} stands there twice, first in line {pictures[key].line}",
                file=file, line=line, fix="Restore the file from its source.",
            )  # fmt: skip
        pictures[key] = _Picture(line, key, {language: found.caption for language, found in row.items()})
    return tuple(pictures.values())


def _read(place: Place, language: str, split: str) -> Corpus:
    file = place.folder / FILE
    gathered = place.gather_released(language, file)
    for picture in _pictures(file):
        english = [text for text in picture.captions["en"] if clean(text)]
        captions = picture.captions[language]
        if not captions:
            gathered.skip("pictures without a caption")
        elif not english:
            gathered.skip("captions of pictures without an English caption", len(captions))
            continue
        for number, text in enumerate(captions):
            teacher = text if language == "en" else pair_english(english, number)
            columns = ("image/key", "en", language)
            gathered.add(f"{picture.key}.jpg", teacher, text, line=picture.line, columns=columns)
    return gathered.corpus(empty="Restore the file from its source.")


CROSSMODAL3600 = Dataset(
    name="crossmodal3600",
    title="Crossmodal-3600",
    version="captions.zip of 2022",
    languages=LANGUAGES,
    splits=("test",),
    protocol="caption",
    licence="CC BY 4.0 (captions); photographs: CC BY 2.0, Open Images",
    citation="Thapliyal, Pont-Tuset, Chen, Soricut, EMNLP 2022",
    obtain="Unpack captions.zip and the photographs from https://google.github.io/crossmodal-3600.",
    layout={
        FILE: "one object a line: image/key, and for each language the list 'caption'",
        "images/KEY.jpg": "the photographs (or --image-vectors with KEY.jpg as ids)",
    },
    read=_read,
    counts={(language, "test"): (3600, captions) for language, captions in _CAPTIONS.items()},
)
