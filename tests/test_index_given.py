"""The indexer with vectors that were computed before: which file each is of, and what is told of those not used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.data import read_image_vectors
from babelclip.errors import DataError, SettingError
from babelclip.search.index import index_folders
from babelclip.search.open import open_store
from indexing import Counting, rows_of, run, write_pictures


@pytest.fixture
def place(tmp_path):
    return write_pictures(tmp_path / "photos")


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")
    opened = open_store(str(tmp_path / "index"))
    yield opened
    opened.close()


@pytest.fixture
def model(tiny):
    return Counting(tiny)


def given(tmp_path, model, *ids):
    """Vectors of some ids."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(len(ids), model.dim)).astype(np.float32))
    (tmp_path / "v.ids.txt").write_text("".join(f"{id}\n" for id in ids))
    return read_image_vectors(tmp_path / "v.npy")


def test_given_vectors(place, store, model, tmp_path):
    names = [file.relative_to(place).as_posix() for file in sorted(place.rglob("*.png"))]
    array = np.random.default_rng(0).normal(size=(7, model.dim)).astype(np.float32)
    np.save(tmp_path / "v.npy", array)
    (tmp_path / "v.ids.txt").write_text("\n".join(names[:7]) + "\n")
    report = run(place, store, model, vectors=read_image_vectors(tmp_path / "v.npy"))
    assert (report.new, model.seen) == (7, 0)
    assert [(Path(one.file.path).name, one.reason) for one in report.skipped] == [
        (Path(names[7]).name, "no vector in v.npy")
    ]
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    found = store.search(unit, 1, exact=True)
    assert [Path(hits[0].path).relative_to(place).as_posix() for hits in found] == names[:7]
    np.save(tmp_path / "w.npy", array[:, :5])
    (tmp_path / "w.ids.txt").write_text("\n".join(names[:7]) + "\n")
    (place / "another.png").write_bytes((place / "b" / "red.png").read_bytes() + b"\0")
    with pytest.raises(SettingError, match="5 wide"):
        run(place, store, model, vectors=read_image_vectors(tmp_path / "w.npy"))


@pytest.mark.parametrize("folders", [["."], ["a", "b"]])
def test_a_given_id_that_fits_several_files_is_refused_before_anything_is_written(
    place, store, model, tmp_path, folders
):
    shutil.copy(place / "b" / "blue.png", place / "a" / "red.png")
    vectors = given(tmp_path, model, "red.png")
    message = (
        r"v\.npy: the id 'red.png' fits several files, such as .*/a/red.png and .*/b/red.png.*path from the folder"
    )
    with pytest.raises(DataError, match=message):
        index_folders([place / one for one in folders], store, lambda: model, vectors=vectors, note=lambda _: None)
    assert len(store) == 0


def test_a_given_path_is_of_that_file_and_of_no_other_one_of_its_name(place, store, model, tmp_path):
    shutil.copy(place / "b" / "blue.png", place / "red.png")
    report = run(place, store, model, vectors=given(tmp_path, model, "red.png", "a/green.png", "black.png"))
    assert report.new == 3
    assert rows_of(store).keys() == {str(place / one) for one in ("red.png", "a/green.png", "b/black.png")}


def test_given_vectors_that_are_not_used_are_told(place, store, model, tmp_path):
    run(place, store, model)
    shutil.copy(place / "b" / "red.png", place / "copy.png")
    Image.new("RGB", (50, 20), "teal").save(place / "new.png")
    vectors = given(tmp_path, model, "a/green.png", "b/red.png", "copy.png", "new.png")
    told = []
    report = index_folders([place], store, lambda: model, vectors=vectors, note=told.append)
    assert (report.unchanged, report.new, report.kept) == (8, 2, 3)
    assert len(told) == 1
    assert told[0].startswith("given vectors that were not used: 3; ")


def test_a_picture_whose_vector_is_no_longer_given_gives_its_rows_to_no_copy(
    place, store, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("babelclip.search.index.BATCH", 1)
    red, copy = place / "b" / "red.png", place / "z" / "copy.png"
    run(place, store, model)
    copy.parent.mkdir()
    shutil.copy(red, copy)
    Image.new("RGB", (50, 20), "teal").save(red)
    report = run(place, store, model, vectors=given(tmp_path, model, "z/copy.png"))
    assert ([one.file.path for one in report.skipped], report.new) == ([str(red)], 1)
