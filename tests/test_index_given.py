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
from indexing import rows_of, run


def given(tmp_path, counting, *ids):
    """Vectors of some ids."""
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(len(ids), counting.dim)).astype(np.float32))
    (tmp_path / "v.ids.txt").write_text("".join(f"{id}\n" for id in ids))
    return read_image_vectors(tmp_path / "v.npy")


def test_given_vectors(photos, folder_store, counting, tmp_path):
    names = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.png"))]
    array = np.random.default_rng(0).normal(size=(7, counting.dim)).astype(np.float32)
    np.save(tmp_path / "v.npy", array)
    (tmp_path / "v.ids.txt").write_text("\n".join(names[:7]) + "\n")
    report = run(photos, folder_store, counting, vectors=read_image_vectors(tmp_path / "v.npy"))
    assert (report.new, counting.seen) == (7, 0)
    assert [(Path(one.file.path).name, one.reason) for one in report.skipped] == [
        (Path(names[7]).name, "no vector in v.npy")
    ]
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    found = folder_store.search(unit, 1, exact=True)
    assert [Path(hits[0].path).relative_to(photos).as_posix() for hits in found] == names[:7]
    np.save(tmp_path / "w.npy", array[:, :5])
    (tmp_path / "w.ids.txt").write_text("\n".join(names[:7]) + "\n")
    (photos / "another.png").write_bytes((photos / "b" / "red.png").read_bytes() + b"\0")
    with pytest.raises(SettingError, match="5 wide"):
        run(photos, folder_store, counting, vectors=read_image_vectors(tmp_path / "w.npy"))


@pytest.mark.parametrize("folders", [["."], ["a", "b"]])
def test_a_given_id_that_fits_several_files_is_refused_before_anything_is_written(
    photos, folder_store, counting, tmp_path, folders
):
    shutil.copy(photos / "b" / "blue.png", photos / "a" / "red.png")
    vectors = given(tmp_path, counting, "red.png")
    message = (
        r"v\.npy: the id 'red.png' fits several files, such as .*/a/red.png and .*/b/red.png.*path from the folder"
    )
    with pytest.raises(DataError, match=message):
        index_folders(
            [photos / one for one in folders], folder_store, lambda: counting, vectors=vectors, note=lambda _: None
        )
    assert len(folder_store) == 0


def test_a_given_path_is_of_that_file_and_of_no_other_one_of_its_name(photos, folder_store, counting, tmp_path):
    shutil.copy(photos / "b" / "blue.png", photos / "red.png")
    report = run(
        photos, folder_store, counting, vectors=given(tmp_path, counting, "red.png", "a/green.png", "black.png")
    )
    assert report.new == 3
    assert rows_of(folder_store).keys() == {str(photos / one) for one in ("red.png", "a/green.png", "b/black.png")}


def test_given_vectors_that_are_not_used_are_told(photos, folder_store, counting, tmp_path):
    run(photos, folder_store, counting)
    shutil.copy(photos / "b" / "red.png", photos / "copy.png")
    Image.new("RGB", (50, 20), "teal").save(photos / "new.png")
    vectors = given(tmp_path, counting, "a/green.png", "b/red.png", "copy.png", "new.png")
    told = []
    report = index_folders([photos], folder_store, lambda: counting, vectors=vectors, note=told.append)
    assert (report.unchanged, report.new, report.kept) == (8, 2, 3)
    assert len(told) == 1
    assert told[0].startswith("given vectors that were not used: 3; ")


def test_a_picture_whose_vector_is_no_longer_given_gives_its_rows_to_no_copy(
    photos, folder_store, counting, tmp_path, monkeypatch
):
    monkeypatch.setattr("babelclip.search.index.BATCH", 1)
    red, copy = photos / "b" / "red.png", photos / "z" / "copy.png"
    run(photos, folder_store, counting)
    copy.parent.mkdir()
    shutil.copy(red, copy)
    Image.new("RGB", (50, 20), "teal").save(red)
    report = run(photos, folder_store, counting, vectors=given(tmp_path, counting, "z/copy.png"))
    assert ([one.file.path for one in report.skipped], report.new) == ([str(red)], 1)
