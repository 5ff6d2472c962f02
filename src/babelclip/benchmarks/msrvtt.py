"""MSR-VTT: 10,000 videos with 20 English captions each, and their translations into eight languages.

English is read as it is passed on for retrieval: ``MSRVTT_data.json`` (the official ``videos`` and ``sentences`` of all
splits in one file). ``msrvtt`` is the official split. ``msrvtt-1ka`` is the split of JSFusion, in the files that
CLIP4Clip distributes: 9,000 videos to learn from, and 1,000 test videos with one caption each.

Huang et al. (2021) released translations by machine, linked in the README of their repository. The inner form of that
archive could not be looked at when this was written, so ours is expected: ``captions/LANGUAGE.json``, one object with
the translations of each video's captions in the order of ``MSRVTT_data.json``. The n-th is taken for a translation of
the n-th English caption. A test caption of ``msrvtt-1ka`` is found among its video's English captions by its letters,
and its translation stands at the same place.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic.dataclasses import dataclass

from babelclip.benchmarks.base import Dataset, Place
from babelclip.benchmarks.karpathy import check_form
from babelclip.benchmarks.video_ids import WHERE, Videos
from babelclip.data import Corpus, Gatherer
from babelclip.data.gather import clean
from babelclip.data.tables import read_json, read_rows
from babelclip.errors import DataError, UnknownNameError
from babelclip.files import file_state

LANGUAGES = ("cs", "de", "en", "es", "fr", "ru", "sw", "vi", "zh")
DATA, TRAIN_9K, TEST_1K = "MSRVTT_data.json", "MSRVTT_train.9k.csv", "MSRVTT_JSFUSION_test.csv"
SPLITS = {"train": "train", "val": "validate", "test": "test"}
FIX = "Restore the file from its source."
OBTAIN = (
    "Get MSRVTT_data.json, and for msrvtt-1ka both .csv files, as https://github.com/ArrowLuo/CLIP4Clip says; the "
    "translations from https://github.com/berniebear/Multi-HT100M, as captions/LANGUAGE.json; videos into videos/."
)


@dataclass(slots=True, frozen=True)
class _Video:
    video_id: str
    split: str


@dataclass(slots=True, frozen=True)
class _Sentence:
    video_id: str
    caption: str


@dataclass(slots=True, frozen=True)
class _File:
    videos: list[_Video]
    sentences: list[_Sentence]


Captions = dict[str, list[str]]


@lru_cache(maxsize=2)
def _english(file: Path, _: tuple[int, int] | None) -> tuple[dict[str, str], Captions]:
    """Read the split of each video, and its captions."""
    found = check_form(_File, read_json(file), file)
    split_of: dict[str, str] = {}
    for number, video in enumerate(found.videos):
        if video.video_id in split_of:
            raise DataError(f"video {number}: {video.video_id!r} stands there twice", file=file, fix=FIX)
        if video.split not in SPLITS.values():
            raise DataError(
                f"video {number}: the split is {video.split!r}", file=file, fix="Use train, validate or test."
            )
        split_of[video.video_id] = video.split
    captions: Captions = {video: [] for video in split_of}
    for number, sentence in enumerate(found.sentences):
        if sentence.video_id not in captions:
            raise DataError(
                f"sentence {number}: {sentence.video_id!r} is not among the videos of the file", file=file, fix=FIX
            )
        captions[sentence.video_id].append(sentence.caption)
    return split_of, captions


@lru_cache(maxsize=2)
def _translated(file: Path, _: tuple[int, int] | None) -> Captions:
    return check_form(Captions, read_json(file), file)


class _Texts:
    """English captions and those of one language beside each other."""

    def __init__(self, place: Place, language: str) -> None:
        self.file = place.folder / DATA
        self.split_of, self.english = _english(self.file, file_state(self.file))
        self.source = self.file
        self.texts = self.english
        if language != "en":
            self.source = place.folder / "captions" / f"{language}.json"
            self.texts = _translated(self.source, file_state(self.source))
        for video, texts in self.texts.items():
            expected = len(self.english.get(video, ()))
            if len(texts) != expected:
                raise DataError(
                    f"{video!r} has {len(texts)} captions, but {expected} in {self.file}", file=self.source, fix=FIX
                )

    def add(self, gathered: Gatherer, videos: Videos, video: str, places: list[int], line: int) -> None:
        """Add some of a video's captions."""
        if video not in self.texts:
            gathered.skip(f"captions of videos that are not in {self.source.name}", len(places))
            return
        for place in places:
            pair = self.english[video][place], self.texts[video][place]
            videos.add(gathered, video, *pair, line=line, columns=("video_id", "en", "caption"))


def _read(place: Place, language: str, split: str) -> Corpus:
    both = _Texts(place, language)
    videos = Videos(place)
    gathered = place.gather_released(language, both.source, numbered="video")
    for number, (video, own) in enumerate(both.split_of.items()):
        if own == SPLITS[split]:
            gathered.skip("videos without a caption", not both.english[video])
            both.add(gathered, videos, video, list(range(len(both.english[video]))), number)
    return gathered.corpus(empty=WHERE)


def _read_1ka(place: Place, language: str, split: str) -> Corpus:
    both = _Texts(place, language)
    videos = Videos(place)
    file = place.folder / (TRAIN_9K if split == "train" else TEST_1K)
    gathered = place.gather_released(language, file)
    header, rows = read_rows(file)
    for column in ("video_id", "sentence")[: 1 + (split == "test")]:
        if column not in header:
            raise UnknownNameError("column", column, header, file=file, line=1)
    seen: dict[str, int] = {}
    for line, row in rows:
        video = row["video_id"].strip()
        if video in seen or video not in both.english:
            what = f"stands there twice, first in line {seen[video]}" if video in seen else f"is not in {both.file}"
            raise DataError(f"the video {video!r} {what}", file=file, line=line, fix=FIX)
        seen[video] = line
        places = list(range(len(both.english[video])))
        if split == "test":
            wanted = clean(row["sentence"]).casefold()
            places = [i for i in places if clean(both.english[video][i]).casefold() == wanted][:1]
            gathered.skip("captions that are not among their video's English ones", not places)
        gathered.skip("videos without a caption", not both.english[video])
        both.add(gathered, videos, video, places, line)
    return gathered.corpus(empty=WHERE)


def _counts(sizes: dict[str, tuple[int, int]]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(language, split): counts for language in LANGUAGES for split, counts in sizes.items()}


_COMMON = {
    DATA: "videos: video_id, split; sentences: video_id, caption",
    "captions/LANGUAGE.json": "video_id -> the translations of its captions, in the order of the sentences",
    "videos/ID.mp4": "the videos, such as video0.mp4, also in folders below (or --image-vectors with such ids)",
}

MSRVTT = Dataset(
    name="msrvtt",
    title="MSR-VTT",
    version="10K, official split; translations of 2021",
    languages=LANGUAGES,
    splits=tuple(SPLITS),
    protocol="caption",
    licence="see its authors' page; translations: none stated; videos: their owners', by way of YouTube",
    citation="Xu, Mei, Yao, Rui, CVPR 2016; translations: Huang et al., NAACL 2021 (arXiv 2103.08849)",
    obtain=OBTAIN,
    layout=_COMMON,
    read=_read,
    counts=_counts({"train": (6513, 130260), "val": (497, 9940), "test": (2990, 59800)}),
    images="videos",
)

MSRVTT_1KA = Dataset(
    name="msrvtt-1ka",
    title="MSR-VTT, split 1k-A",
    version="9k training videos; translations of 2021",
    languages=LANGUAGES,
    splits=("train", "test"),
    protocol="caption",
    licence=MSRVTT.licence,
    citation=f"{MSRVTT.citation}; split: Yu, Kim, Kim, ECCV 2018",
    obtain=OBTAIN,
    layout={
        TRAIN_9K: "train: a column video_id",
        TEST_1K: "test: columns video_id and sentence, one of the video's English captions",
        **_COMMON,
    },
    read=_read_1ka,
    counts=_counts({"train": (9000, 180000), "test": (1000, 1000)}),
    images="videos",
)
