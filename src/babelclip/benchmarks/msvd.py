"""MSVD (also YouTube2Text): 1,970 short clips with about 40 English captions each, for retrieval in English.

Captions are the lines of ``AllVideoDescriptions.txt``, ``ID caption``, as its authors publish them; lines that begin
with ``#`` are remarks. The split of 1,200, 100 and 670 clips is in three lists of ids, as distributed with CLIP4Clip.
Papers count a few captions more or less, so no number of them is expected here.
"""

from __future__ import annotations

from babelclip.benchmarks.base import Dataset, Place
from babelclip.benchmarks.lines import read_names
from babelclip.benchmarks.video_ids import WHERE, Videos
from babelclip.data import Corpus
from babelclip.data.tables import read_lines
from babelclip.errors import DataError

CAPTIONS = "AllVideoDescriptions.txt"
SPLITS = ("train", "val", "test")


def _read(place: Place, language: str, split: str) -> Corpus:
    split_of: dict[str, str] = {}
    for name in SPLITS:
        file = place.folder / f"{name}_list.txt"
        for line, video in enumerate(read_names(file), 1):
            if video in split_of:
                raise DataError(
                    f"{video!r} stands in {split_of[video]}_list.txt too",
                    file=file, line=line, fix="Restore the lists from their source.",
                )  # fmt: skip
            split_of[video] = name
    source = place.folder / CAPTIONS
    videos = Videos(place)
    gathered = place.gather_released(language, source)
    without = {video for video, name in split_of.items() if name == split}
    for line, text in read_lines(source):
        if not text.strip() or text.startswith("#"):
            continue
        video, _, caption = text.strip().partition(" ")
        if video not in split_of:
            gathered.skip("rows of videos that are in none of the lists")
        elif split_of[video] == split:
            without.discard(video)
            videos.add(gathered, video, caption, caption, line=line, columns=("id", "caption", "caption"))
    gathered.skip("videos without a caption", len(without))
    return gathered.corpus(empty=WHERE)


MSVD = Dataset(
    name="msvd",
    title="MSVD",
    version="1,970 clips, split 1200/100/670",
    languages=("en",),
    splits=SPLITS,
    protocol="caption",
    licence="none stated; videos: their owners', by way of YouTube",
    citation="Chen, Dolan, ACL 2011; split: Venugopalan et al., NAACL 2015",
    obtain=(
        f"Get {CAPTIONS} and YouTubeClips.tar from https://www.cs.utexas.edu/users/ml/clamp/videoDescription, the "
        "lists as https://github.com/ArrowLuo/CLIP4Clip says; videos into videos/."
    ),
    layout={
        CAPTIONS: "ID, space, caption: one caption a line",
        "SPLIT_list.txt": "train, val, test: an ID a line",
        "videos/ID.avi": "the clips, ID such as -4wsuPCjDBc_5_15 (or --image-vectors with such ids)",
    },
    read=_read,
    images="videos",
)
