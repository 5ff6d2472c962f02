from collections import Counter

import pytest
from PIL import Image

from babelclip.data import read_captions
from babelclip.encoders import open_picture
from babelclip.errors import UnknownNameError

pytest.importorskip("resvg_py", reason="the built-in data needs the extra [demo]")
from babelclip.benchmarks import openmoji


@pytest.fixture(scope="module")
def concepts():
    return openmoji.load_concepts()[0]


def test_the_splits_do_not_leak(openmoji_folder, concepts):
    """No picture, as a reader decodes it, and no English name stands there twice, in one split or in two."""
    count = Counter(concept.split for concept in concepts)
    assert (count["test"], count["val"]) == (openmoji.NUM_TEST, openmoji.NUM_VAL)
    files = sorted((openmoji_folder / "images").iterdir())
    assert len(files) == len(concepts)
    assert len({open_picture(file).tobytes() for file in files}) == len(files)
    assert len({concept.names["en"] for concept in concepts}) == len(concepts)


def test_words_of_held_out_names_still_occur_in_training(concepts):
    import re

    support = Counter(
        word for c in concepts if c.split == "train" for word in set(re.findall(r"\w+", c.names["en"].lower()))
    )
    for concept in concepts:
        if concept.split != "train":
            assert all(support[w] >= openmoji.WORD_SUPPORT for w in re.findall(r"\w+", concept.names["en"].lower()))


def test_the_rule_on_a_toy():
    names = {str(i): name for i, name in enumerate(["red cat", "red dog", "red cow", "blue cat", "blue dog", "one"])}
    split = openmoji.assign_splits(names, num_test=1, num_val=1, word_support=1)
    assert sorted(Counter(split.values()).items()) == [("test", 1), ("train", 4), ("val", 1)]
    assert split["5"] == "train", "its word occurs nowhere else"
    assert split == openmoji.assign_splits(dict(reversed(names.items())), num_test=1, num_val=1, word_support=1)


def test_every_concept_is_named_in_every_language(concepts):
    for concept in concepts:
        assert set(concept.names) == set(openmoji.LANGUAGES)
        assert all(name and "_" not in name and ":" not in (name[0], name[-1]) for name in concept.names.values())


def test_the_folder_is_ordinary_caption_files(openmoji_folder, concepts):
    for split in openmoji.SPLITS:
        corpus = read_captions(openmoji_folder / f"ko.{split}.tsv", "ko")
        assert len(corpus.captions) == sum(c.split == split for c in concepts)
    first = corpus.captions[0]
    with Image.open(first.image) as picture:
        assert picture.size == (openmoji.PIXELS, openmoji.PIXELS)
    assert first.text != first.english


def test_an_unknown_language_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown OpenMoji language 'sw'"):
        openmoji.write_folder(tmp_path, ["en", "sw"])
