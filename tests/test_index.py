"""The indexer: follows the file system, opens nothing twice, survives anything that lies in a folder."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.nn.functional import normalize

from babelclip.errors import BabelclipError, DataError, FormatError, SettingError
from babelclip.search.index import index_folders
from babelclip.search.items import PICTURE
from babelclip.search.looking import Limits
from babelclip.search.open import open_store
from babelclip.search.scan import scan
from indexing import rows_of, run


def test_first_run_finds_all_and_vectors_are_the_models(photos, folder_store, counting, tiny):
    report = run(photos, folder_store, counting)
    assert (report.new, report.unchanged, len(report.skipped), len(folder_store)) == (8, 0, 0, 8)
    files = sorted(photos.rglob("*.png"))
    expected = normalize(tiny.encode_images(files), dim=1).numpy()
    found = folder_store.search(expected, 1, exact=True)
    assert [hits[0].path for hits in found] == [str(file) for file in files]
    assert all(hits[0].score == pytest.approx(1, abs=1e-5) for hits in found)
    hit = found[0][0]
    assert (hit.kind, hit.moment, hit.width, hit.height, hit.seconds) == (PICTURE, -1, 40, 30, 0)
    assert Image.open(io.BytesIO(folder_store.thumbnail(hit.id))).size == (40, 30)


def test_unchanged_files_are_not_opened_and_the_model_is_not_even_loaded(photos, folder_store, counting):
    run(photos, folder_store, counting)
    file = next(photos.rglob("*.png"))
    state = file.stat()
    file.write_bytes(b"x" * state.st_size)  # damaged, but with its old size and time: whoever opened it would see
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    report = index_folders([photos], folder_store, lambda: pytest.fail("the model was loaded"), note=lambda _: None)
    assert (report.new, report.changed, report.unchanged) == (0, 0, 8)


def test_moved_files_keep_their_rows_without_being_looked_at(photos, folder_store, counting):
    run(photos, folder_store, counting)
    before = {file.content: path for path, file in rows_of(folder_store).items()}
    (photos / "a").rename(photos / "c")
    seen = counting.seen
    report = run(photos, folder_store, counting)
    assert (report.moved, report.new, report.removed, report.unchanged, counting.seen - seen) == (4, 0, 0, 4, 0)
    after = {file.content: path for path, file in rows_of(folder_store).items()}
    assert after == {content: path.replace("/a/", "/c/") for content, path in before.items()}


def test_changed_touched_deleted_and_copied_files(photos, folder_store, counting):
    run(photos, folder_store, counting)
    seen = counting.seen
    (photos / "a" / "green.png").unlink()
    Image.new("RGB", (50, 20), "teal").save(photos / "b" / "red.png")
    os.utime(photos / "b" / "blue.png", (1, 1))  # another time, the same content
    shutil.copy(photos / "a" / "black.png" if (photos / "a" / "black.png").exists() else photos / "b" / "black.png",
                photos / "copy.png")  # fmt: skip
    report = run(photos, folder_store, counting)
    assert (report.removed, report.changed, report.new, report.moved) == (1, 2, 1, 0)
    assert counting.seen - seen == 1
    paths = rows_of(folder_store)
    assert str(photos / "a" / "green.png") not in paths
    assert paths[str(photos / "b" / "blue.png")].modified == 10**9
    assert len(folder_store) == 8
    assert run(photos, folder_store, counting).unchanged == 8


def test_a_picture_that_was_damaged_gives_its_rows_to_no_copy(photos, folder_store, counting, monkeypatch):
    """Its rows are deleted with the first batch, its old content turns up in the second."""
    monkeypatch.setattr("babelclip.search.index.BATCH", 1)
    red, copy = photos / "b" / "red.png", photos / "z" / "copy.png"
    run(photos, folder_store, counting)
    copy.parent.mkdir()
    shutil.copy(red, copy)
    red.write_bytes(b"damaged")
    report = run(photos, folder_store, counting)
    assert ([one.file.path for one in report.skipped], report.new) == ([str(red)], 1)
    assert rows_of(folder_store).keys() == {str(file) for file in photos.rglob("*.png")} - {str(red)}


def test_two_files_that_change_places(photos, folder_store, counting):
    """Each has the other's content now: rows must follow the content, whichever is written first."""
    run(photos, folder_store, counting)
    red, blue = photos / "b" / "red.png", photos / "b" / "blue.png"
    before = rows_of(folder_store)
    vectors = {one.content: folder_store.vectors([store_id(one.path)])[0] for one in before.values()}
    red.rename(photos / "x")
    blue.rename(red)
    (photos / "x").rename(blue)
    os.utime(red, (5, 5))
    os.utime(blue, (6, 6))
    run(photos, folder_store, counting)
    after = rows_of(folder_store)
    assert after[str(red)].content == before[str(blue)].content
    for path in (red, blue):
        found = folder_store.vectors([store_id(str(path))])[0]
        np.testing.assert_allclose(found, vectors[after[str(path)].content], atol=1e-6)


def store_id(path):
    from babelclip.search.items import WHOLE, item_id

    return item_id(path, WHOLE)


def test_other_folders_stay_and_a_missing_one_is_an_error(photos, folder_store, counting):
    run(photos / "a", folder_store, counting)
    report = run(photos / "b", folder_store, counting)
    assert (report.new, report.removed, len(folder_store)) == (4, 0, 8)
    shutil.rmtree(photos / "a")
    with pytest.raises(DataError, match=r"photos/a: the folder is not there.*mount it"):
        run(photos / "a", folder_store, counting)
    assert len(folder_store) == 8
    assert run(photos, folder_store, counting).removed == 4


def refuse(monkeypatch, *folders):
    """Make folders unreadable, also for root."""

    def refused(path):
        if Path(path) in folders:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", refused)


def test_a_folder_that_cannot_be_read_is_told_and_its_rows_stay(photos, folder_store, counting, monkeypatch):
    (photos / "a" / "deep").mkdir()
    (photos / "a" / "green.png").rename(photos / "a" / "deep" / "green.png")
    run(photos, folder_store, counting)
    (photos / "b" / "red.png").unlink()
    refuse(monkeypatch, photos / "a")
    report = run(photos, folder_store, counting)
    assert (report.removed, report.unchanged, len(folder_store)) == (1, 3, 7)
    told = [(one.file.path, one.reason) for one in report.skipped]
    assert told == [(str(photos / "a"), "the folder cannot be read (Permission denied)")]
    monkeypatch.undo()
    (photos / "a" / "deep" / "green.png").unlink()
    again = run(photos, folder_store, counting)
    assert (again.removed, again.unchanged, again.skipped, list(folder_store.skipped())) == (1, 6, [], [])


def test_links_to_a_drive_that_is_not_mounted_are_told_and_their_rows_stay(photos, folder_store, counting, tmp_path):
    drive, away = tmp_path / "drive", tmp_path / "away"
    shutil.copytree(photos / "a", drive / "a")
    (drive / "one.png").write_bytes((photos / "b" / "red.png").read_bytes())
    (photos / "ext").symlink_to("../drive/a")
    (photos / "one.png").symlink_to("../drive/one.png")
    assert run(photos, folder_store, counting).new == 13
    drive.rename(away)
    for _ in range(2):
        report = run(photos, folder_store, counting)
        assert (report.removed, report.unchanged, report.others, len(folder_store)) == (0, 8, 0, 13)
        told = [(one.file.path, one.reason) for one in report.skipped]
        assert told == [(str(photos / name), "a link that leads nowhere") for name in ("ext", "one.png")]
    away.rename(drive)
    mounted = run(photos, folder_store, counting)
    assert (mounted.unchanged, mounted.skipped, list(folder_store.skipped())) == (13, [], [])
    drive.rename(away)
    (photos / "ext").unlink()
    (photos / "one.png").unlink()
    assert (run(photos, folder_store, counting).removed, len(folder_store)) == (5, 8)


def test_what_cannot_be_indexed_is_listed_and_stops_nothing(photos, folder_store, counting, tmp_path):
    good = (photos / "b" / "red.png").read_bytes()
    hostile = photos / "hostile"
    hostile.mkdir()
    (hostile / "empty.png").write_bytes(b"")
    (hostile / "cut.png").write_bytes(good[: len(good) // 2])
    (hostile / "text.jpg").write_text("<html>no picture</html>")
    (hostile / "film.mp4").write_text("no film either")
    (hostile / "notes.txt").write_text("of another kind")
    (hostile / ".hidden.png").write_bytes(good)
    (hostile / "nowhere.png").symlink_to(hostile / "gone.png")
    (hostile / "circle").symlink_to(photos)
    os.mkfifo(hostile / "pipe.png")
    Image.new("L", (3000, 3000)).save(hostile / "large.png")
    (hostile / "heavy.png").write_bytes(good + b"\0" * 200_000)
    bad_name = os.fsencode(hostile) + b"/caf\xe9.png"
    Path(os.fsdecode(bad_name)).write_bytes(good)
    report = run(photos, folder_store, counting, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    reasons = {Path(one.file.path).name: one.reason for one in report.skipped}
    for name, reason in {
        "empty.png": "empty", "cut.png": "damaged", "text.jpg": "not a picture", "film.mp4": "damaged, or of a kind",
        "nowhere.png": "leads nowhere", "circle": "read already", "pipe.png": "not a regular file",
        "large.png": "3,000 x 3,000 pixels", "heavy.png": "bytes, at most 150,000", "caf\ufffd.png": "not UTF-8",
    }.items():  # fmt: skip
        assert reason in reasons.pop(name), name
    assert not reasons
    assert (report.new, report.others, len(folder_store)) == (8, 1, 8)
    assert all(str(photos) not in one.reason for one in report.skipped)
    again = run(photos, folder_store, counting, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    assert (again.new, again.unchanged) == (0, 8)
    assert sorted(map(str, again.skipped)) == sorted(map(str, report.skipped))
    (hostile / "cut.png").write_bytes(good)
    mended = run(photos, folder_store, counting, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    assert mended.new == 1
    assert "cut.png" not in {Path(one.file.path).name for one in folder_store.skipped()}


def test_what_was_too_large_is_tried_again_and_needs_no_model_while_it_is(photos, folder_store, counting):
    Image.new("L", (3000, 3000)).save(photos / "large.png")
    small, none = Limits(picture_pixels=2_000_000), lambda: pytest.fail("the model was loaded")
    assert len(run(photos, folder_store, counting, limits=small).skipped) == 1
    again = index_folders([photos], folder_store, none, limits=small, note=lambda _: None)
    assert (again.unchanged, len(again.skipped)) == (8, 1)
    assert run(photos, folder_store, counting).new == 1
    assert list(folder_store.skipped()) == []


def test_another_base_model_is_refused(photos, folder_store, counting, deep):
    run(photos, folder_store, counting)
    (photos / "new.png").write_bytes((photos / "b" / "red.png").read_bytes() + b"\0")
    with pytest.raises(FormatError, match=r"vectors of two models cannot be compared.*--model.*--store"):
        run(photos, folder_store, deep)
    assert len(folder_store) == 8


def test_a_file_that_changes_while_it_is_read_is_read_again(photos, folder_store, counting, monkeypatch):
    from babelclip.search import index

    def slow(file, *arguments, **options):
        looked = index_look(file, *arguments, **options)
        if file.path.endswith("red.png"):
            Image.new("RGB", (70, 70), "red").save(file.path)
        return looked

    index_look = index.look_at
    monkeypatch.setattr(index, "look_at", slow)
    report = run(photos, folder_store, counting)
    assert [one.reason for one in report.skipped] == ["changed while it was read; the next run reads it again"]
    monkeypatch.setattr(index, "look_at", index_look)
    assert run(photos, folder_store, counting).new == 1


def test_killed_at_random_moments_it_goes_on(photos, folder_store, tiny_folder, tmp_path):
    for number in range(150):
        Image.effect_noise((64, 64), 50 + number).save(photos / f"{number}.png")
    code = (
        "import sys; from pathlib import Path; from babelclip.encoders import load_encoder\n"
        "from babelclip.search import index; from babelclip.search.open import open_store\n"
        "index.BATCH = 8\n"
        "load = lambda: load_encoder(sys.argv[3], device='cpu')\n"
        "index.index_folders([Path(sys.argv[1])], open_store(sys.argv[2]), load)\n"
    )
    command = [sys.executable, "-c", code, str(photos), str(tmp_path / "index"), str(tiny_folder)]
    most = 0
    for delay in (0.05, 0.3, 0.6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        started = time.monotonic()
        while len(store_of(tmp_path)) <= most and time.monotonic() < started + 60 and process.poll() is None:
            time.sleep(0.02)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(store_of(tmp_path)) >= most
        most = len(store_of(tmp_path))
    assert most > 0
    subprocess.run(command, check=True)
    assert len(store_of(tmp_path)) == 158
    assert len(set(store_of(tmp_path).files())) == 158


def store_of(tmp_path):
    class Nothing:
        def __len__(self):
            return 0

        def files(self):
            return []

    try:
        opened = open_store(str(tmp_path / "index"))
        return opened if opened.about() is not None else Nothing()
    except BabelclipError:
        return Nothing()


def test_a_second_process_is_told(photos, folder_store, counting):
    run(photos, folder_store, counting)
    with open_store(folder_store.place).writing(), pytest.raises(SettingError, match=folder_store.place):
        run(photos, folder_store, counting)


def test_scan_reads_each_folder_once(photos):
    files = [file.path for file in scan([photos, photos / "a", photos])]
    assert len(files) == len(set(files)) == 8
    assert files == sorted(files)
    with pytest.raises(DataError, match=r"red\.png: this is no folder\. Give the folder that it lies in: .*b\.$"):
        scan([photos / "b" / "red.png"])
    (photos / "caf\udce9").mkdir()
    with pytest.raises(DataError, match=r"the path '.*caf\\udce9' is not UTF-8"):
        scan([photos / "caf\udce9"])


@pytest.mark.parametrize("link", ["a_link", "real/a_link"])
def test_files_are_known_by_their_folder_and_not_by_a_link_that_is_sorted_before_it(
    photos, folder_store, counting, link
):
    run(photos, folder_store, counting)
    (photos / "real").mkdir()
    (photos / link).symlink_to(photos / "b")
    report = run(photos, folder_store, counting)
    assert (report.moved, report.unchanged, report.removed) == (0, 8, 0)
    told = [(one.file.path, one.reason) for one in report.skipped]
    assert told == [(str(photos / link), "a link to a folder that is read already")]
    assert [file.path for file in scan([photos / link, photos / "b"])] == list(
        map(str, sorted((photos / "b").iterdir()))
    )


def test_a_folder_that_cannot_be_reached_is_an_error(photos, monkeypatch):
    def refused(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(DataError, match=r"photos/a: the folder cannot be reached \(Permission denied\)"):
        scan([photos / "a"])


def test_unit_length(photos, folder_store, counting):
    run(photos, folder_store, counting)
    np.testing.assert_allclose(np.linalg.norm(folder_store.sample(8), axis=1), np.ones(8), atol=1e-5)
