"""VATEX: 35,000 clips of ten seconds from YouTube, each with ten captions in English and ten in Chinese.

A clip's first five captions were written independently in each language, its last five Chinese ones are translations
of its last five English ones, so the n-th English caption teaches the n-th Chinese one. Captions of the public test set
are published in English only: for Chinese the validation set is what can be measured on (``--test vatex:val``). Many
clips are gone from YouTube; their captions are counted and left out, so scores depend on which clips were still there.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from babelclip.benchmarks.base import Dataset, Place, pair_english
from babelclip.benchmarks.karpathy import check_form
from babelclip.benchmarks.video_ids import WHERE, Videos
from babelclip.data import Corpus
from babelclip.data.gather import clean
from babelclip.data.tables import read_json
from babelclip.errors import DataError, UnknownNameError
from babelclip.files import file_state

FILES = {
    "train": "vatex_training_v1.0.json",
    "val": "vatex_validation_v1.0.json",
    "test": "vatex_public_test_english_v1.1.json",
}
FIX = "Restore the file from its source."


@dataclass(slots=True, frozen=True)
class _Clip:
    video: str = Field(alias="videoID")
    en: list[str] = Field(alias="enCap")
    zh: list[str] | None = Field(default=None, alias="chCap")


@lru_cache(maxsize=3)
def _parse(file: Path, _: tuple[int, int] | None) -> list[_Clip]:
    clips = check_form(list[_Clip], read_json(file), file)
    seen: set[str] = set()
    for number, clip in enumerate(clips):
        if clip.video in seen:
            raise DataError(f"clip {number}: {clip.video!r} stands there twice", file=file, fix=FIX)
        seen.add(clip.video)
    return clips


def _splits(_: Path, language: str) -> tuple[str, ...]:
    return tuple(FILES) if language == "en" else ("train", "val")


def _read(place: Place, language: str, split: str) -> Corpus:
    if split not in _splits(place.folder, language):
        raise UnknownNameError(f"split of vatex in {language}", split, _splits(place.folder, language))
    file = place.folder / FILES[split]
    clips = _parse(file, file_state(file))
    videos = Videos(place)
    gathered = place.gather_released(language, file, numbered="clip")
    for number, clip in enumerate(clips):
        texts = clip.en if language == "en" else clip.zh
        if texts is None:
            raise DataError(f"clip {number}: there is no 'chCap'", file=file, fix=FIX)
        gathered.skip("videos without a caption", not texts)
        taught = [text for text in clip.en if clean(text)]
        for place_in_clip, text in enumerate(texts):
            teacher = text if language == "en" else _teacher(clip.en, taught, place_in_clip)
            videos.add(gathered, clip.video, teacher, text, line=number, columns=("videoID", "enCap", "chCap"))
    return gathered.corpus(empty=WHERE)


def _teacher(english: list[str], taught: list[str], number: int) -> str:
    """The English caption at the same place; where there is none, another one of the clip."""
    if number < len(english) and clean(english[number]):
        return english[number]
    return pair_english(taught, number) if taught else ""


VATEX = Dataset(
    name="vatex",
    title="VATEX",
    version="1.0, public test 1.1",
    languages=("en", "zh"),
    splits=tuple(FILES),
    protocol="caption",
    licence="captions: see its authors' page; videos: their owners', by way of YouTube",
    citation="Wang et al., ICCV 2019 (arXiv 1904.03493)",
    obtain="Download the files from https://eric-xw.github.io/vatex-website/download.html; videos into videos/.",
    layout={
        FILES["train"]: "a list of videoID, enCap (10 texts), chCap (10 texts)",
        FILES["val"]: "the same",
        FILES["test"]: "a list of videoID, enCap",
        "videos/ID.mp4": "the clips, ID as in videoID: YOUTUBEID_START_END (or --image-vectors with such ids)",
    },
    read=_read,
    counts={
        (language, split): counts
        for split, counts in (("train", (25991, 259910)), ("val", (3000, 30000)), ("test", (6000, 60000)))
        for language in ("en", "zh")
        if split in _splits(Path(), language)
    },
    images="videos",
    find_splits=_splits,
)
