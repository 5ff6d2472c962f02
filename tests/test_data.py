import gzip
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from babelclip.data import Teacher, read_captions, read_image_vectors
from babelclip.data.texts import read_texts
from babelclip.errors import DataError, UnknownNameError


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def write(folder: Path, text: str, name: str = "c.tsv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_all_formats_give_the_same_captions(folder):
    rows = [("a.png", "an apple, red", "яблоко"), ("b.png", 'a "bear"', "медведь")]
    tsv = "image\ten\tru\n" + "".join("\t".join(row) + "\n" for row in rows)
    csv = 'image,en,ru\r\na.png,"an apple, red",яблоко\r\nb.png,"a ""bear""",медведь\r\n'
    jsonl = "".join(json.dumps(dict(zip(("image", "en", "ru"), row, strict=True))) + "\n\n" for row in rows)
    files = [write(folder, tsv), write(folder, "\ufeff" + csv, "c.csv"), write(folder, jsonl, "c.jsonl")]
    packed = folder / "d.tsv.gz"
    packed.write_bytes(gzip.compress(tsv.encode()))
    corpora = [read_captions(file, "ru") for file in [*files, packed]]
    for corpus in corpora:
        assert [(c.image.name, c.english, c.text) for c in corpus.captions] == rows
        assert corpus.fingerprint == corpora[0].fingerprint
    assert [c.line for c in corpora[1].captions] == [2, 3]
    assert [c.line for c in corpora[2].captions] == [1, 3]


def test_texts_are_nfc_with_single_spaces(folder):
    corpus = read_captions(write(folder, "image\ten\tfr\na.png\t a  b \tcafe\u0301\u00a0noir\n"), "fr")
    assert (corpus.captions[0].english, corpus.captions[0].text) == ("a b", "café noir")


@pytest.mark.parametrize(("on_disk", "in_file"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("vectors", [False, True])
def test_names_of_pictures_are_found_in_both_spellings_of_letters_with_marks(tmp_path, on_disk, in_file, vectors):
    there, told = (unicodedata.normalize(form, "été/é.png") for form in (on_disk, in_file))
    (tmp_path / there).parent.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / there)
    images = tmp_path
    if vectors:
        np.save(tmp_path / "v.npy", np.ones((1, 4), np.float32))
        (tmp_path / "v.ids.txt").write_text(there, encoding="utf-8")
        images = read_image_vectors(tmp_path / "v.npy")
    file = write(tmp_path, f"image\ten\tfr\n{told}\tapple\tpomme\n{there}\tred\trouge\n")
    captions = read_captions(file, "fr", images=images).captions
    assert [caption.image for caption in captions] == [Path(there) if vectors else tmp_path / there] * 2


def test_a_folder_of_pictures_that_is_not_there_is_told_once(folder):
    file = write(folder, f"image\ten\tde\n{GOOD}")
    with pytest.raises(DataError, match="nopics: the folder of the pictures is not there"):
        read_captions(file, "de", images=folder / "nopics")


def test_the_other_kind_of_slash_is_told(folder):
    (folder / "pics").mkdir()
    shutil.copy(folder / "a.png", folder / "pics")
    with pytest.raises(DataError, match=r"no picture 'pics\\\\a\.png' .*Write 'pics/a\.png', which is there\."):
        read_captions(write(folder, "image\ten\tde\npics\\a.png\tapple\tApfel\n"), "de")
    with pytest.raises(DataError, match=r"Correct the path or the folder\."):
        read_captions(write(folder, "image\ten\tde\npics\\no.png\tapple\tApfel\n"), "de")


def test_columns_and_picture_folder_can_be_named(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    file = write(other, "pic\tsource\ttext\na.png\tapple\ttufaha\n")
    corpus = read_captions(file, "sw", image_column="pic", english_column="source", text_column="text", images=folder)
    assert (corpus.language, corpus.captions[0].text) == ("sw", "tufaha")


def test_english_alone_needs_no_second_column(folder):
    corpus = read_captions(write(folder, "image\ten\na.png\tapple\n"), "en")
    assert corpus.captions[0].text == corpus.captions[0].english == "apple"


GOOD = "a.png\tapple\tApfel\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"c\.tsv: the file is empty"),
        ("image\ten\tde\n", r"c\.tsv: no captions in 'de'. The file has a header but no rows"),
        (f"image\ten\tde\n{GOOD}a.png\tapple\n", r"c\.tsv:3: 2 fields, but the header has 3 \(image, en, de\)"),
        (f"image\ten\tde\n{GOOD}a.png\tapple\t  \n", r"c\.tsv:3: the column 'de' is empty"),
        (f"image\ten\tde\n{GOOD}\tapple\tApfel\n", r"c\.tsv:3: the column 'image' is empty"),
        (
            f"image\ten\tde\n\n{GOOD}nope.png\tx\ty\n",
            r"c\.tsv:4: there is no picture 'nope\.png' \(relative paths start",
        ),
        ("image\ten\tde\n" + "no.png\tx\ty\n" * 3, r"3 rows have problems, next lines 3, 4"),
        (f"image\ten\ten\n{GOOD}", r"c\.tsv:1: the header is .* must be unique"),
        (
            "image,en,de\na.png,apple,Apfel\n",
            r"c\.tsv:1: the header is one column, 'image,en,de'\. .*by tabs in a \.tsv",
        ),
        ("image;en;de\na.png;apple;Apfel\n", r"c\.tsv:1: the header is one column, 'image;en;de'\. .* tabs in a \.tsv"),
        (f"image\ten\tde\n{GOOD}a.png\ta\0b\tc\n", r"c\.tsv:3: the line holds a NUL"),
    ],
)
def test_broken_rows_are_named_by_file_and_line(folder, text, message):
    with pytest.raises(DataError, match=message):
        read_captions(write(folder, text), "de")


def test_a_wrong_column_gets_a_hint(folder):
    file = write(folder, f"images\ten\tde\n{GOOD}")
    with pytest.raises(
        UnknownNameError, match=r"c\.tsv:1: unknown column 'image'.*Did you mean 'images'\? Known: de, en"
    ):
        read_captions(file, "de")
    with pytest.raises(UnknownNameError, match=r"unknown column 'fr'\. Known: .* be the header; .* --text-column NAME"):
        read_captions(write(folder, f"image\ten\tde\n{GOOD}"), "fr")
    with pytest.raises(UnknownNameError, match=r"unknown column 'image'.* must be the header; .* --image-column NAME"):
        read_captions(write(folder, GOOD), "de")


def test_a_column_is_found_however_its_tag_is_written(folder):
    expected = read_captions(write(folder, f"image\ten\tde\n{GOOD}"), "de").captions
    file = write(folder, f"image\tEN\tDE\n{GOOD}")
    assert read_captions(file, "de").captions == expected
    assert read_captions(file, "de", english_column="EN", text_column="DE").captions == expected
    with pytest.raises(UnknownNameError, match=r"unknown column 'DE'\. Known: De, de, image"):
        read_captions(write(folder, f"image\tde\tDe\n{GOOD}"), "fr", english_column="DE")


def test_another_language_is_never_the_hint_for_a_column(folder):
    for header, missing in (("image\ten\tfr", "de"), ("image\tde\tfr", "en")):
        file = write(folder, f"{header}\n{GOOD}")
        with pytest.raises(UnknownNameError, match=rf"unknown column '{missing}'\. Known: "):
            read_captions(file, "de")
        with pytest.raises(UnknownNameError, match=rf"unknown column '{missing}'\. Known: "):
            read_texts(file, missing)
    with pytest.raises(UnknownNameError, match=r"unknown column 'image'\. Did you mean 'IMAGES'\?"):
        read_captions(write(folder, f"IMAGES\ten\tde\n{GOOD}"), "de")


def test_files_that_cannot_be_read_are_named(folder):
    with pytest.raises(DataError, match=r"no\.tsv: there is no such file"):
        read_captions(folder / "no.tsv", "de")
    with pytest.raises(DataError, match=r"the file ending is '\.xlsx'. Expected one of \.tsv"):
        read_captions(write(folder, "x", "c.xlsx"), "de")
    (folder / "latin.tsv").write_bytes("image\ten\tde\na.png\tapple\tÄpfel\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.tsv:2: byte 0xc4 is not UTF-8"):
        read_captions(folder / "latin.tsv", "de")
    (folder / "cut.tsv.gz").write_bytes(gzip.compress(b"image\ten\tde\n" * 99)[:-9])
    with pytest.raises(DataError, match=r"cut\.tsv\.gz: the file cannot be read"):
        read_captions(folder / "cut.tsv.gz", "de")
    (folder / "d.tsv").mkdir()
    with pytest.raises(DataError, match="this is a folder"):
        read_captions(folder / "d.tsv", "de")
    with pytest.raises(DataError, match=r"c\.csv:2: broken CSV"):
        read_captions(write(folder, 'image,en,de\na.png,"apple"x,y\n', "c.csv"), "de")
    with pytest.raises(DataError, match=r"c\.jsonl:2: not JSON"):
        read_captions(write(folder, '{"image":"a.png","en":"x","de":"y"}\n{"image":\n', "c.jsonl"), "de")
    with pytest.raises(DataError, match=r"c\.jsonl:1: expected an object whose values are all texts"):
        read_captions(write(folder, '{"image":"a.png","en":3,"de":"y"}\n', "c.jsonl"), "de")
    with pytest.raises(DataError, match=r"c\.jsonl:2: the keys are"):
        read_captions(write(folder, '{"image":"a.png","en":"x","de":"y"}\n{"image":"a.png"}\n', "c.jsonl"), "de")


def test_a_truncated_picture_is_named_when_it_is_looked_at(folder, tiny):
    whole = folder / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    (folder / "cut.png").write_bytes(whole.read_bytes()[:-500])
    corpus = read_captions(write(folder, "image\ten\tde\nwhole.png\tx\ty\ncut.png\tx\ty\n"), "de")
    with pytest.raises(DataError, match=r"cut\.png: the picture is damaged"):
        Teacher(tiny).prepare(corpus)


def test_half_a_surrogate_pair_is_named_with_its_line(folder):
    file = folder / "captions.jsonl"
    whole = '{"image": "a.png", "en": "nice", "de": "x"}'
    for bad in ("nice \\ud83d", "nice\\u0000"):
        file.write_text(whole + "\n" + whole.replace("nice", bad), encoding="utf-8")
        with pytest.raises(
            DataError, match=r"captions.jsonl:2: 'en' holds a NUL character or half of a surrogate pair"
        ):
            read_captions(file, "de")


def test_captions_of_one_picture_share_it_and_each_is_encoded_once(folder, tiny, monkeypatch):
    shutil.copy(folder / "a.png", folder / "c.png")
    corpus = read_captions(write(folder, "image\ten\tde\na.png\tx\ty\nb.png\tx\tz\na.png\tw\tv\n"), "de")
    teacher = Teacher(tiny)
    examples = teacher.prepare(corpus)
    assert examples.owner.tolist() == [0, 1, 0]
    assert [file.name for file in examples.files] == ["a.png", "b.png"]
    assert torch.equal(examples.teachers[:1], examples.teachers[1:2])
    monkeypatch.setattr(type(tiny), "encode_images", lambda *_, **__: pytest.fail("encoded again"))
    again = teacher.prepare(corpus)
    assert torch.equal(again.images[:], examples.images[:])


def test_a_sample_is_part_of_every_larger_one_and_always_the_same(corpora):
    corpus = corpora["de"]
    small, large = corpus.sample(5), corpus.sample(11)
    assert len(small.captions) == 5
    assert set(small.captions) < set(large.captions) < set(corpus.captions)
    assert small == corpus.sample(5)
    assert [one.line for one in large.captions] == sorted(one.line for one in large.captions)
    assert corpus.sample(99).captions == corpus.captions
    assert small.fingerprint != large.fingerprint
