"""Data sets of videos: their faults, what is left out, and how videos are found."""

from __future__ import annotations

import json

import pytest

from babelclip.benchmarks import DATASETS, check_dataset
from babelclip.errors import DataError, UnknownNameError
from releases import PICTURES, RELEASES, count_plainly, release, write
from test_datasets import accounted, assert_left_out, read, read_changed, rows

DATA = "MSRVTT_data.json"


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "language", "split", "message"),
    [
        ("msrvtt", DATA, '"video_id": "video1",\n   "cat', '"video_id": "video0",\n   "cat', "en", "test",
         r"data\.json: video 1: 'video0' stands there twice"),
        ("msrvtt", DATA, '"validate"', '"val"', "de", "val", r"video 2: the split is 'val'\. Use train, validate"),
        ("msrvtt", DATA, '"video_id": "video3",\n   "cap', '"video_id": "x",\n   "cap', "de", "val",
         r"sentence 3: 'x' is not among the videos"),
        ("msrvtt", "captions/de.json", '"Katze 1.0",', "", "de", "test",
         r"de\.json: 'video1' has 1 captions, but 2 in .*data\.json"),
        ("msrvtt", "captions/de.json", '"video1"', '"clip1"', "de", "test", r"'clip1' has 2 captions, but 0 in"),
        ("msrvtt", "captions/zh.json", "猫 4.1", "\\u0000", "zh", "test", r"zh\.json: video 4: .*NUL"),
        ("msrvtt-1ka", "MSRVTT_train.9k.csv", "video_id", "id", "de", "train", r"9k\.csv:1: unknown column 'video_id'"),
        ("msrvtt-1ka", "MSRVTT_train.9k.csv", "video1", "video0", "de", "train",
         r"csv:3: the video 'video0' stands there twice, first in line 2"),
        ("msrvtt-1ka", "MSRVTT_JSFUSION_test.csv", ",video4", ",video9", "en", "test",
         r"test\.csv:2: the video 'video9' is not in .*data\.json"),
        ("vatex", "vatex_validation_v1.0.json", "-1_0", "-0_0", "zh", "val", r"clip 1: 'val_-0_.* stands there twice"),
        ("vatex", "vatex_validation_v1.0.json", '"chCap"', '"cnCap"', "zh", "val", r"clip 0: there is no 'chCap'"),
        ("vatex", "vatex_validation_v1.0.json", '"enCap"', '"cap"', "zh", "val", r"json: 0\.enCap: Field required"),
        ("msvd", "test_list.txt", "test-_0", "train-_0", "en", "val",
         r"test_list\.txt:1: 'train-_0_5_15' stands in train_list\.txt too"),
        ("msvd", "AllVideoDescriptions.txt", "cat test-_1_5_15 0", "\u200f", "en", "test",
         r"txt:8: .*'caption' holds nothing that can be seen"),
    ],
)  # fmt: skip
def test_faults_are_named(name, file, old, new, language, split, message, tmp_path):
    with pytest.raises((DataError, UnknownNameError), match=message) as caught:
        read_changed((name, file, old, new), language, split, tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "language", "split", "reason"),
    [
        ("msrvtt", DATA, "cat 3.1", "", "de", "test", {"captions whose English is empty": 1}),
        ("msrvtt-1ka", "MSRVTT_JSFUSION_test.csv", "Cat  4.1", "a dog", "de", "test",
         {"captions that are not among their video's English ones": 1}),
        ("vatex", "vatex_validation_v1.0.json", '"val_-0', '"gone', "zh", "val",
         {"captions of videos that are not there": 3}),
        ("msvd", "AllVideoDescriptions.txt", "\ntest-_0_5_15 ", "\ngone ", "en", "test",
         {"rows of videos that are in none of the lists": 1}),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted(name, file, old, new, language, split, reason, tmp_path):
    assert_left_out((name, file, old, new), language, split, reason, tmp_path)


def test_msrvtt_translations_stand_at_the_place_of_their_english(tmp_path):
    place = release("msrvtt-1ka", tmp_path)
    assert rows(read(place, "msrvtt-1ka", "de", "test")) == [
        ("video4", "cat 4.1", "Katze 4.1"), ("video2", "cat 2.1", "Katze 2.1"),
    ]  # fmt: skip
    assert rows(read(place, "msrvtt", "de", "val")) == [("video2", f"cat 2.{k}", f"Katze 2.{k}") for k in (0, 1)]
    file = tmp_path / "captions/de.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "video4"}))
    corpus = read(place, "msrvtt", "de", "test")
    assert (len(corpus.captions), corpus.skipped) == (2, {"captions of videos that are not in de.json": 2})


def test_vatex_has_no_chinese_test_captions(tmp_path):
    place = release("vatex", tmp_path)
    assert rows(read(place, "vatex", "zh", "val"))[1][1:] == ("cat val_-0_000122_000132 1", "猫 val_-0_000122_000132 1")
    with pytest.raises(UnknownNameError, match=r"unknown split of vatex in zh 'test'.*Known: train, val"):
        read(place, "vatex", "zh", "test")
    found = check_dataset(DATASETS["vatex"], place)
    assert [(one.language, one.split) for one in found] == [
        ("en", "train"), ("en", "val"), ("en", "test"), ("zh", "train"), ("zh", "val"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["msrvtt", "msrvtt-1ka", "vatex", "msvd"])
def test_videos_are_found_by_id_and_missing_ones_counted(name, tmp_path):
    write(tmp_path, RELEASES[name]())
    (tmp_path / "videos/below").mkdir(parents=True)
    place = DATASETS[name].place(tmp_path)
    ids = PICTURES[name]
    gone = "captions of videos that are not there"
    with pytest.raises(DataError, match=rf"no captions in 'en'; \d {gone}\. Put the videos into videos/"):
        read(place, name, "en", "test")
    for i, video in enumerate(ids[:-1]):
        (tmp_path / "videos" / ("below" if i % 2 else "") / f"{video}.{('MP4', 'webm')[i % 2]}").touch()
    (tmp_path / "videos" / f"{ids[-1]}.txt").touch()
    corpus = read(place, name, "en", "test")
    assert accounted(corpus) == count_plainly(name, tmp_path, "en", "test")
    assert corpus.skipped[gone] == accounted(corpus) / 2
    assert all(caption.image.is_file() and caption.image.stem in ids for caption in corpus.captions)
    (tmp_path / "videos" / f"{ids[0]}.avi").touch()
    with pytest.raises(DataError, match=rf"are both the video '{ids[0]}'"):
        read(place, name, "en", "test")
