"""Every data set: its facts, reading it in its real format, and what happens to damaged files."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from babelclip.benchmarks import DATASETS, check_dataset
from babelclip.errors import BabelclipError, DataError, UnknownNameError
from conftest import SHARED
from releases import COCO, PATHS, PICTURES, READ, RELEASES, count_plainly, release, vectors, write


def read(place, name, language, split):
    return DATASETS[name].load(place, language, split)


def rows(corpus):
    return [(caption.image.as_posix(), caption.english, caption.text) for caption in corpus.captions]


def accounted(corpus):
    """Captions that are there, or counted among those left out."""
    return len(corpus.captions) + sum(n for why, n in corpus.skipped.items() if why.startswith(("captions", "empty")))


@pytest.mark.parametrize("name", list(DATASETS))
def test_facts_are_filled_in_and_agree(name):
    data = DATASETS[name]
    assert data.name == name
    for fact in (data.title, data.version, data.licence, data.citation, data.obtain, data.images):
        assert fact.strip() == fact != ""
    assert data.layout
    assert all(path and what for path, what in data.layout.items())
    assert list(data.languages) == sorted(set(data.languages))
    assert bool(data.languages) == (data.find_languages is None)
    assert len(set(data.splits)) == len(data.splits) > 0
    assert data.protocol in ("caption", "group")
    for (language, split), (pictures, captions) in data.counts.items():
        assert language in data.languages
        assert split in data.splits
        assert 0 < pictures <= captions
    if data.languages and data.counts:
        assert {(language, data.splits_in(Path(), language)[-1]) for language in data.languages} <= set(data.counts)


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_written_is_read_and_unknown_names_get_a_hint(name, tmp_path):
    place = release(name, tmp_path)
    for language, split in READ[name]:
        corpus = read(place, name, language, split)
        assert corpus.language == language
        assert len(corpus.captions) == count_plainly(name, tmp_path, language, split) > 0
        assert not corpus.skipped
        if language == "en":
            assert all(caption.text == caption.english for caption in corpus.captions)
    with pytest.raises(UnknownNameError, match=f"unknown language of {name} 'xx'"):
        read(place, name, "xx", "test")
    with pytest.raises(UnknownNameError, match=f"unknown split of {name} 'tset'.*Did you mean 'test'"):
        read(place, name, DATASETS[name].languages[0], "tset")


def test_crossmodal3600_keeps_all_captions_and_offers_the_first(tmp_path):
    corpus = read(release("crossmodal3600", tmp_path), "crossmodal3600", "ar", "test")
    assert rows(corpus)[:3] == [
        ("k0.jpg", "cat 0.0", "قطة 0.0"), ("k1.jpg", "cat 1.0", "قطة 1.0"), ("k1.jpg", "cat 1.1", "قطة 1.1"),
    ]  # fmt: skip
    assert [caption.line for caption in corpus.captions] == [1, 2, 2, 3]
    assert len(corpus.first_captions().captions) == 3


def test_mscoco36_captions_are_parallel(tmp_path):
    place = release("mscoco36", tmp_path)
    train, test = (read(place, "mscoco36", "de", split) for split in ("train", "test"))
    assert rows(train)[:2] == [(PATHS[1], f"a cat, number 102.{k}", f"a Katze, number 102.{k}") for k in (0, 1)]
    assert rows(test)[0] == (PATHS[4], "a cat, number 105.0", "a Katze, number 105.0")
    for corpus in (train, test):
        assert all(caption.english.replace("cat", "Katze") == caption.text for caption in corpus.captions)


def test_multi30k_has_five_captions_in_two_languages_and_one_in_the_others(tmp_path):
    place = release("multi30k", tmp_path)
    german, french = (read(place, "multi30k", language, "test") for language in ("de", "fr"))
    assert rows(german)[:2] == [("test0.jpg", f"cat test0.jpg {k}", f"Katze test0.jpg {k}") for k in (1, 2)]
    assert rows(french) == [(f"test{i}.jpg", f"cat test{i}.jpg", f"chat test{i}.jpg") for i in range(3)]
    packed = tmp_path / "data/task1/raw/test_2016_flickr.fr.gz"
    (packed.with_suffix("")).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert read(place, "multi30k", "fr", "test").fingerprint == french.fingerprint


def test_mscoco_ml_follows_karpathy_and_coco_cn(tmp_path):
    place = release("mscoco-ml", tmp_path)
    assert rows(read(place, "mscoco-ml", "ja", "train")) == [
        (PATHS[i], f"a cat, number {101 + i}.{k}", f"猫 {101 + i}.{k}") for i in (0, 1) for k in (0, 1)
    ]
    assert rows(read(place, "mscoco-ml", "zh", "test")) == [
        (PATHS[3], "a cat, number 104.0", "猫 104.0"), (PATHS[3], "a cat, number 104.1", "猫 104.1"),
        (PATHS[2], "a cat, number 103.0", "猫 103.0"),
    ]  # fmt: skip


def test_xtd10_finds_photographs_in_coco_s_folders_or_flat(tmp_path):
    write(tmp_path, RELEASES["xtd10"]())
    for i, image in enumerate(COCO):
        file = tmp_path / "images" / (image["filepath"] if i % 2 else "") / image["filename"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(file)
    place = DATASETS["xtd10"].place(tmp_path)
    corpus = read(place, "xtd10", "ja", "test")
    assert all(caption.image.is_file() for caption in corpus.captions)
    assert corpus.captions[1].text == f"猫 {COCO[1]['filename']}"
    shutil.rmtree(tmp_path / "images" / "val2014")
    with pytest.raises(DataError, match=r"jp\.txt:2: there is no picture 'COCO_val2014.*3 rows have problems"):
        read(place, "xtd10", "ja", "test")
    (tmp_path / "XTD10/test_image_names.txt").write_text("x" * 999 + "\n1\n2\n3\n4\n5\n")
    with pytest.raises(DataError, match=r"jp\.txt:1: there is no picture 'xxx"):
        read(place, "xtd10", "ja", "test")


def changed(name, file, old, new):
    content = RELEASES[name]()[file]
    inner = gzip.decompress(content) if file.endswith(".gz") else content
    assert old.encode() in inner
    inner = inner.replace(old.encode(), new.encode(), 1)
    return gzip.compress(inner) if file.endswith(".gz") else inner


def read_changed(change, language, split, folder):
    """Write a release with one change (data set, file, old, new), and read a language of it."""
    name, file, old, new = change
    place = release(name, folder)
    (folder / file).write_bytes(changed(name, file, old, new))
    return read(place, name, language, split)


def assert_left_out(change, language, split, reason, folder):
    """A change leaves out what it says, and all else is accounted for."""
    corpus = read_changed(change, language, split, folder)
    assert corpus.skipped == reason
    assert accounted(corpus) == count_plainly(change[0], folder, language, split)


XM, CN = "captions.jsonl", "coco-cn-version1805v1.1/imageid.human-written-caption.txt"
TSV, VAL = "corpus/multilingual_coco/36langs/coco_en-de.tsv.gz", "annotations/coco/translated/de/val.json"
FR, LIST = "data/task1/raw/train.fr.gz", "data/task1/image_splits/train.txt"


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "language", "split", "message"),
    [
        ("crossmodal3600", XM, '"image/key": "k1"', '"image/kye": "k1"', "ar", "test",
         r"jsonl:2: image/key: Field required"),
        ("crossmodal3600", XM, '"k1"', '"k0"', "ar", "test", r"jsonl:2: the picture 'k0' .* twice, first in line 1"),
        ("crossmodal3600", XM, '"sw": {', '"sx": {', "ar", "test", r"jsonl:1: there is no 'sw' \(1 of 36"),
        ("crossmodal3600", XM, '["قطة 0.0"]', '"x"', "ar", "test",
         r"jsonl:1: ar\.caption: Input should be a valid list"),
        ("crossmodal3600", XM, '["قطة 0.0"]', '["\\ud800"]', "ar", "test", r"captions\.jsonl:1: .*unicode|surrogate"),
        ("crossmodal3600", XM, "قطة 0.0", "\u200f", "ar", "test",
         r"jsonl:1: the column 'ar' holds nothing that can be seen"),
        ("crossmodal3600", XM, '"k2"', '"none"', "ar", "test",
         r"jsonl:3: there is no picture 'none\.jpg' among the 3 ids"),
        ("crossmodal3600", XM, '{"image', "[" * 99999 + '{"image', "ar", "test",
         r"jsonl:1: not JSON: brackets are nested"),
        ("crossmodal3600", XM, '"image/locale"', '"ar": 1, "image/locale"', "ar", "test",
         r"1: not JSON: the key 'ar' .* twice"),
        ("mscoco36", TSV, "\ta Katze", " a Katze", "de", "train", r"gz:1: 1 fields, expected 2 \(English, de\)"),
        ("mscoco36", TSV, "a cat, number 102.1\t", "a dog\t", "de", "train",
         r"gz:2: the English text is 'a dog', but 'a cat, "),
        ("mscoco36", VAL, "00103.jpg", "00999.jpg", "de", "val",
         r"val\.json: entry 0: the picture is .*999.*, but .*103"),
        ("mscoco36", VAL, '"a Katze, number 103.0",', "", "de", "val",
         r"val\.json: entry 0: 1 captions, but 2 in .*en/val"),
        ("multi30k", LIST, "train1.jpg\n", "", "fr", "train", r"train\.fr\.gz: 3 lines, but .*train\.txt has 2"),
        ("multi30k", FR, "chat train1.jpg\n", "", "fr", "train", r"train\.fr\.gz: 2 lines, but .*train\.txt has 3"),
        ("multi30k", LIST, "train1", "train0", "cs", "train",
         r"train\.txt:2: 'train0\.jpg' stands there twice, first in line 1"),
        ("multi30k", LIST, "train1.jpg", "", "cs", "train", r"train\.txt:2: the line is empty"),
        ("mscoco-ml", CN, "0101#0", "0101", "zh", "test",
         r"caption\.txt:1: 'COCO.* does not begin with PICTURE#NUMBER"),
        ("mscoco-ml", CN, "0104#1", "0104#0", "zh", "test", r"caption\.txt:5: 'COCO.*#0' stands there twice"),
        ("mscoco-ml", "dataset_coco.json", '"restval"', '"rest"', "en", "test",
         r"coco\.json: image 1: the split is 'rest'"),
        ("mscoco-ml", "dataset_coco.json", '"cocoid": 105', '"id": 105', "ja", "test", r"image 4: 'cocoid' is None"),
        ("mscoco-ml", "stair_captions_v1.2_val.json", '"caption": "猫 105.0"', '"caption": null', "ja", "test",
         r"_val\.json: ann"),
        ("mscoco-ml", "stair_captions_v1.2_val.json", "猫 106.1", "\\u0000", "ja", "test",
         r"_val\.json: annotation 9: .*NUL"),
        ("xtd10", "STAIR/test_1kcaptions_jp.txt", "猫", "\0", "ja", "test", r"jp\.txt:1: the line holds a NUL"),
        ("xtd10", "XTD10/test_image_names.txt", "COCO_train", "x" * 999, "es", "test",
         r"es\.txt:1: there is no picture 'xxx"),
        ("flickr8k-multi", "human/ar.json", '"ar"', '"de"', "ar", "test",
         r"ar\.json: the language is 'de', expected 'ar'"),
        ("mscoco-ml", "stair_captions_v1.2_train.json", "猫 101.1", "\\u0000", "ja", "train",
         r"_train\.json: annotation 1: .*NUL"),
        ("multi30k", "data/task2/raw/train.3.de", "Katze train1.jpg 3", "\u200f", "de", "train",
         r"train\.3\.de:2: .*be seen"),
        ("flickr8k-multi", "human/ar.json", "1.jpg", "0.jpg", "ar", "test",
         r"ar\.json: image 1: '0\.jpg' stands there twice"),
        ("flickr8k-multi", "human/ar.json", '"test"', '"restval"', "ar", "test", r"image 2: the split is 'restval'"),
        ("pictograms", "concepts.json", '"concepts"', '"concept"', "de", "test", r"json: concepts: Field required"),
    ],
)  # fmt: skip
def test_faults_are_named(name, file, old, new, language, split, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        read_changed((name, file, old, new), language, split, tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "language", "split", "reason"),
    [
        ("crossmodal3600", XM, '["قطة 0.0"]', "[]", "ar", "test", {"pictures without a caption": 1}),
        ("crossmodal3600", XM, '["cat 0.0"]', '[" "]', "ar", "test",
         {"captions of pictures without an English caption": 1}),
        ("crossmodal3600", XM, '["cat 1.0", "cat 1.1"]', "[]", "ar", "test",
         {"captions of pictures without an English caption": 2}),
        ("mscoco36", TSV, "a Katze, number 102.1", "", "de", "train", {"empty captions": 1}),
        ("multi30k", FR, "chat train1.jpg\n", "\n", "fr", "train", {"empty captions": 1}),
        ("mscoco-ml", CN, "0103#0", "9999#0", "zh", "test", {"pictures without a caption": 1}),
        ("mscoco-ml", "dataset_coco.json", "val2014_000000000104.jpg", "val2014_1.jpg", "zh", "test",
         {"captions of pictures that are not in dataset_coco.json": 2}),
        ("mscoco-ml", "stair_captions_v1.2_val.json", '"image_id": 105', '"image_id": 1', "ja", "test",
         {"captions of pictures that are not in dataset_coco.json": 1}),
        ("xtd10", "MIC/test_1kcaptions_en.txt", "cat COCO_train2014_000000000101.jpg", " ", "es", "test",
         {"captions whose English is empty": 1}),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted(name, file, old, new, language, split, reason, tmp_path):
    assert_left_out((name, file, old, new), language, split, reason, tmp_path)


@pytest.mark.parametrize("name", RELEASES)
def test_each_missing_file_is_named(name, tmp_path):
    place = release(name, tmp_path)
    needed = 0
    for file in RELEASES[name]():
        (tmp_path / file).rename(tmp_path / "gone")
        errors = []
        for language, split in READ[name]:
            try:
                read(place, name, language, split)
            except DataError as error:
                errors.append(str(error))
        needed += bool(errors)
        assert errors
        assert all(file.removesuffix(".gz") in error for error in errors)
        (tmp_path / "gone").rename(tmp_path / file)
    assert needed == len(RELEASES[name]())


def test_check_dataset_collects_what_is_wrong(tmp_path):
    place = release("xtd10", tmp_path)
    (tmp_path / "XTD10/test_1kcaptions_es.txt").write_bytes(b"\xff\n")
    found = {one.language: one for one in check_dataset(DATASETS["xtd10"], place)}
    assert sorted(found) == sorted(DATASETS["xtd10"].languages)
    assert (found["de"].pictures, found["de"].captions, found["de"].expected) == (6, 6, (1000, 1000))
    assert found["de"].problem == "expected 1,000 pictures and 1,000 captions"
    assert "es.txt:1: byte 0xff is not UTF-8" in found["es"].problem
    assert "it.txt: there is no such file" in found["it"].problem


def test_check_dataset_asks_the_folder_for_languages_and_splits(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for name in ("sw.train.tsv", "sw.test.tsv", "mi.test.tsv"):
        (tmp_path / name).write_text(f"image\ten\t{name[:2]}\na.png\tx\ty\n", encoding="utf-8")
    found = check_dataset(DATASETS["folder"], DATASETS["folder"].place(tmp_path))
    assert [(one.language, one.split, one.captions) for one in found] == [
        ("mi", "test", 1), ("sw", "train", 1), ("sw", "test", 1),
    ]  # fmt: skip
    assert not any(one.problem for one in found)


@pytest.mark.parametrize(
    ("name", "images"), [("flickr8k-multi", "flickr8k-images/images"), ("pictograms", "pictograms")]
)
def test_counts_of_the_real_files(name, images):
    folder = SHARED / "data" / name
    if not (folder.is_dir() and (SHARED / "data" / images).is_dir()):
        pytest.skip(f"shared/data/{name} or its pictures are not here")
    data = DATASETS[name]
    found = check_dataset(data, data.place(folder, SHARED / "data" / images))
    assert len(found) == len(data.languages) * len(data.splits)
    assert [one for one in found if one.problem] == []
    assert {(one.language, one.split) for one in found if one.expected} == set(data.counts)


# What is done to well-formed files: bytes anywhere, whole lines, and values inside JSON.
BYTES = (b"\0", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b'"', b"{",
         b"[", b"#", "\u200f".encode(), "\u2028".encode(), b"\\", b"1e999", b"tset")  # fmt: skip
VALUES = (
    None,
    0,
    -1,
    1.5,
    True,
    "",
    " ",
    "x",
    [],
    {},
    [[]],
    ["x"],
    {"x": 1},
    "\ud800",
    "\0",
    "\u200f",
    "tset",
    "../x",
    "x" * 300,
)


@st.composite
def mutations(draw, content):
    kind = draw(st.sampled_from(("json", "json", "lines", "insert", "cut", "flip", "crlf", "bom")))
    where = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "json" and content[:1] in b"{[":
        parts = content.splitlines() if content.startswith(b'{"image/key"') else [content]
        i = draw(st.integers(0, len(parts) - 1))
        parts[i] = json.dumps(draw(changes(json.loads(parts[i])))).encode()
        return b"\n".join(parts)
    if kind in ("lines", "json"):
        parts = content.splitlines(keepends=True)
        i = draw(st.integers(0, len(parts) - 1))
        new = draw(st.sampled_from(([], [parts[i]] * 2, [parts[i], b"\n"], [b"x\n", parts[i]], [b" \t\n"])))
        return b"".join(parts[:i] + new + parts[i + 1 :])
    changed = {
        "insert": content[:where] + draw(st.sampled_from(BYTES)) + content[where:],
        "cut": content[:where],
        "flip": content[:where] + bytes([draw(st.integers(0, 255))]) + content[where + 1 :],
        "crlf": content.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + content,
    }
    return changed[kind]


@st.composite
def changes(draw, value):
    """Go down to somewhere, and put another value there, drop it, or double it."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(VALUES))
    key = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
    copy = value.copy()
    do = draw(st.sampled_from(("down", "down", "down", "drop", "double")))
    if do == "drop":
        del copy[key]
    elif do == "double" and isinstance(copy, list):
        copy.insert(key, copy[key])
    elif do == "double":
        copy[f"{key}x"] = copy.pop(key)
    else:
        copy[key] = draw(changes(value[key]))
    return copy


@pytest.mark.parametrize("name", RELEASES)
@settings(max_examples=30, deadline=None, database=None)
@given(data=st.data())
def test_damaged_files_are_read_in_full_or_named(name, data):
    """Whatever is done to a file: all captions are there or counted, or an error names a file of the data set."""
    files = RELEASES[name]()
    file = data.draw(st.sampled_from(sorted(files)))
    inner = file.endswith(".gz") and data.draw(st.booleans())
    content = data.draw(mutations(gzip.decompress(files[file]) if inner else files[file]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, files | {file: gzip.compress(content) if inner else content})
        place = DATASETS[name].place(folder, vectors(folder / "vectors", PICTURES[name]))
        for language, split in READ[name]:
            try:
                corpus = read(place, name, language, split)
            except BabelclipError as error:
                problem = str(error)
            else:
                problem = ""
            if problem:
                assert any(one in problem for one in files), problem
                assert problem.isprintable(), repr(problem)
                continue
            if inner or not file.endswith(".gz"):
                assert accounted(corpus) == count_plainly(name, folder, language, split)
            for caption in corpus.captions:
                assert caption.image.as_posix() in PICTURES[name]
                for text in (caption.english, caption.text):
                    assert text == " ".join(text.split())
                    assert text.encode()
                    assert "\0" not in text
