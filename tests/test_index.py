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
from babelclip.search.items import PICTURE, VIDEO
from babelclip.search.looking import Limits
from babelclip.search.open import open_store
from babelclip.search.scan import scan
from films import write_film
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


def test_first_run_finds_all_and_vectors_are_the_models(place, store, model, tiny):
    report = run(place, store, model)
    assert (report.new, report.unchanged, len(report.skipped), len(store)) == (8, 0, 0, 8)
    files = sorted(place.rglob("*.png"))
    expected = normalize(tiny.encode_images(files), dim=1).numpy()
    found = store.search(expected, 1, exact=True)
    assert [hits[0].path for hits in found] == [str(file) for file in files]
    assert all(hits[0].score == pytest.approx(1, abs=1e-5) for hits in found)
    hit = found[0][0]
    assert (hit.kind, hit.moment, hit.width, hit.height, hit.seconds) == (PICTURE, -1, 40, 30, 0)
    assert Image.open(io.BytesIO(store.thumbnail(hit.id))).size == (40, 30)


def test_unchanged_files_are_not_opened_and_the_model_is_not_even_loaded(place, store, model):
    run(place, store, model)
    file = next(place.rglob("*.png"))
    state = file.stat()
    file.write_bytes(b"x" * state.st_size)  # damaged, but with its old size and time: whoever opened it would see
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    report = index_folders([place], store, lambda: pytest.fail("the model was loaded"), note=lambda _: None)
    assert (report.new, report.changed, report.unchanged) == (0, 0, 8)


def test_moved_files_keep_their_rows_without_being_looked_at(place, store, model):
    run(place, store, model)
    before = {file.content: path for path, file in rows_of(store).items()}
    (place / "a").rename(place / "c")
    seen = model.seen
    report = run(place, store, model)
    assert (report.moved, report.new, report.removed, report.unchanged, model.seen - seen) == (4, 0, 0, 4, 0)
    after = {file.content: path for path, file in rows_of(store).items()}
    assert after == {content: path.replace("/a/", "/c/") for content, path in before.items()}


def test_changed_touched_deleted_and_copied_files(place, store, model):
    run(place, store, model)
    seen = model.seen
    (place / "a" / "green.png").unlink()
    Image.new("RGB", (50, 20), "teal").save(place / "b" / "red.png")
    os.utime(place / "b" / "blue.png", (1, 1))  # another time, the same content
    shutil.copy(place / "a" / "black.png" if (place / "a" / "black.png").exists() else place / "b" / "black.png",
                place / "copy.png")  # fmt: skip
    report = run(place, store, model)
    assert (report.removed, report.changed, report.new, report.moved) == (1, 2, 1, 0)
    assert model.seen - seen == 1
    paths = rows_of(store)
    assert str(place / "a" / "green.png") not in paths
    assert paths[str(place / "b" / "blue.png")].modified == 10**9
    assert len(store) == 8
    assert run(place, store, model).unchanged == 8


def test_a_picture_that_was_damaged_gives_its_rows_to_no_copy(place, store, model, monkeypatch):
    """Its rows are deleted with the first batch, its old content turns up in the second."""
    monkeypatch.setattr("babelclip.search.index.BATCH", 1)
    red, copy = place / "b" / "red.png", place / "z" / "copy.png"
    run(place, store, model)
    copy.parent.mkdir()
    shutil.copy(red, copy)
    red.write_bytes(b"damaged")
    report = run(place, store, model)
    assert ([one.file.path for one in report.skipped], report.new) == ([str(red)], 1)
    assert rows_of(store).keys() == {str(file) for file in place.rglob("*.png")} - {str(red)}


def test_two_files_that_change_places(place, store, model):
    """Each has the other's content now: rows must follow the content, whichever is written first."""
    run(place, store, model)
    red, blue = place / "b" / "red.png", place / "b" / "blue.png"
    before = rows_of(store)
    vectors = {one.content: store.vectors([store_id(one.path)])[0] for one in before.values()}
    red.rename(place / "x")
    blue.rename(red)
    (place / "x").rename(blue)
    os.utime(red, (5, 5))
    os.utime(blue, (6, 6))
    run(place, store, model)
    after = rows_of(store)
    assert after[str(red)].content == before[str(blue)].content
    for path in (red, blue):
        found = store.vectors([store_id(str(path))])[0]
        np.testing.assert_allclose(found, vectors[after[str(path)].content], atol=1e-6)


def store_id(path):
    from babelclip.search.items import WHOLE, item_id

    return item_id(path, WHOLE)


def test_other_folders_stay_and_a_missing_one_is_an_error(place, store, model):
    run(place / "a", store, model)
    report = run(place / "b", store, model)
    assert (report.new, report.removed, len(store)) == (4, 0, 8)
    shutil.rmtree(place / "a")
    with pytest.raises(DataError, match=r"photos/a: the folder is not there.*mount it"):
        run(place / "a", store, model)
    assert len(store) == 8
    assert run(place, store, model).removed == 4


def refuse(monkeypatch, *folders):
    """Make folders unreadable, also for root."""

    def refused(path):
        if Path(path) in folders:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", refused)


def test_a_folder_that_cannot_be_read_is_told_and_its_rows_stay(place, store, model, monkeypatch):
    (place / "a" / "deep").mkdir()
    (place / "a" / "green.png").rename(place / "a" / "deep" / "green.png")
    run(place, store, model)
    (place / "b" / "red.png").unlink()
    refuse(monkeypatch, place / "a")
    report = run(place, store, model)
    assert (report.removed, report.unchanged, len(store)) == (1, 3, 7)
    told = [(one.file.path, one.reason) for one in report.skipped]
    assert told == [(str(place / "a"), "the folder cannot be read (Permission denied)")]
    monkeypatch.undo()
    (place / "a" / "deep" / "green.png").unlink()
    again = run(place, store, model)
    assert (again.removed, again.unchanged, again.skipped, list(store.skipped())) == (1, 6, [], [])


def test_links_to_a_drive_that_is_not_mounted_are_told_and_their_rows_stay(place, store, model, tmp_path):
    drive, away = tmp_path / "drive", tmp_path / "away"
    shutil.copytree(place / "a", drive / "a")
    (drive / "one.png").write_bytes((place / "b" / "red.png").read_bytes())
    (place / "ext").symlink_to("../drive/a")
    (place / "one.png").symlink_to("../drive/one.png")
    assert run(place, store, model).new == 13
    drive.rename(away)
    for _ in range(2):
        report = run(place, store, model)
        assert (report.removed, report.unchanged, report.others, len(store)) == (0, 8, 0, 13)
        told = [(one.file.path, one.reason) for one in report.skipped]
        assert told == [(str(place / name), "a link that leads nowhere") for name in ("ext", "one.png")]
    away.rename(drive)
    mounted = run(place, store, model)
    assert (mounted.unchanged, mounted.skipped, list(store.skipped())) == (13, [], [])
    drive.rename(away)
    (place / "ext").unlink()
    (place / "one.png").unlink()
    assert (run(place, store, model).removed, len(store)) == (5, 8)


def test_what_cannot_be_indexed_is_listed_and_stops_nothing(place, store, model, tmp_path):
    good = (place / "b" / "red.png").read_bytes()
    hostile = place / "hostile"
    hostile.mkdir()
    (hostile / "empty.png").write_bytes(b"")
    (hostile / "cut.png").write_bytes(good[: len(good) // 2])
    (hostile / "text.jpg").write_text("<html>no picture</html>")
    (hostile / "film.mp4").write_text("no film either")
    (hostile / "notes.txt").write_text("of another kind")
    (hostile / ".hidden.png").write_bytes(good)
    (hostile / "nowhere.png").symlink_to(hostile / "gone.png")
    (hostile / "circle").symlink_to(place)
    os.mkfifo(hostile / "pipe.png")
    Image.new("L", (3000, 3000)).save(hostile / "large.png")
    (hostile / "heavy.png").write_bytes(good + b"\0" * 200_000)
    bad_name = os.fsencode(hostile) + b"/caf\xe9.png"
    Path(os.fsdecode(bad_name)).write_bytes(good)
    report = run(place, store, model, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    reasons = {Path(one.file.path).name: one.reason for one in report.skipped}
    for name, reason in {
        "empty.png": "empty", "cut.png": "damaged", "text.jpg": "not a picture", "film.mp4": "damaged, or of a kind",
        "nowhere.png": "leads nowhere", "circle": "read already", "pipe.png": "not a regular file",
        "large.png": "3,000 x 3,000 pixels", "heavy.png": "bytes, at most 150,000", "caf\ufffd.png": "not UTF-8",
    }.items():  # fmt: skip
        assert reason in reasons.pop(name), name
    assert not reasons
    assert (report.new, report.others, len(store)) == (8, 1, 8)
    assert all(str(place) not in one.reason for one in report.skipped)
    again = run(place, store, model, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    assert (again.new, again.unchanged) == (0, 8)
    assert sorted(map(str, again.skipped)) == sorted(map(str, report.skipped))
    (hostile / "cut.png").write_bytes(good)
    mended = run(place, store, model, limits=Limits(picture_pixels=2_000_000, picture_bytes=150_000))
    assert mended.new == 1
    assert "cut.png" not in {Path(one.file.path).name for one in store.skipped()}


def test_what_was_too_large_is_tried_again_and_needs_no_model_while_it_is(place, store, model):
    Image.new("L", (3000, 3000)).save(place / "large.png")
    small, none = Limits(picture_pixels=2_000_000), lambda: pytest.fail("the model was loaded")
    assert len(run(place, store, model, limits=small).skipped) == 1
    again = index_folders([place], store, none, limits=small, note=lambda _: None)
    assert (again.unchanged, len(again.skipped)) == (8, 1)
    assert run(place, store, model).new == 1
    assert list(store.skipped()) == []


def test_modes_of_pictures(store, model, tmp_path):
    folder = tmp_path / "modes"
    folder.mkdir()
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(folder / "cmyk.jpg")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(folder / "deep.png")
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(folder / "clear.png")
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.new("RGB", (40, 20), "red").getexif()
    turned[0x0112] = 6
    turned.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    Image.new("RGB", (40, 20), "red").save(folder / "turned.jpg", exif=turned)
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra [heic]")
    heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(folder / "phone.heic")
    report = run(folder, store, model)
    assert (report.new, report.skipped) == (6, [])
    hits = {Path(hit.path).name: hit for hit in store.search(np.eye(1, model.dim, dtype=np.float32), 9, exact=True)[0]}
    colours = {name: Image.open(io.BytesIO(store.thumbnail(hit.id))).getpixel((5, 5)) for name, hit in hits.items()}
    close = pytest.approx
    assert colours["deep.png"] == close((156, 156, 156), abs=2)  # 40,000 / 256, and not white
    assert colours["clear.png"] == close((255, 255, 255), abs=2)
    assert colours["moving.gif"] == close((254, 0, 0), abs=4)
    assert colours["phone.heic"] == close((254, 0, 0), abs=8)
    assert colours["cmyk.jpg"] == close((254, 0, 0), abs=12)
    assert (hits["turned.jpg"].width, hits["turned.jpg"].height) == (20, 40)
    assert hits["turned.jpg"].taken == 1714557600


def test_videos_have_moments(store, model, tmp_path):
    write_film(tmp_path / "films" / "a.mp4", 24)
    report = run(tmp_path / "films", store, model, limits=Limits(frames=4))
    assert (report.new, report.pictures, len(store)) == (1, 4, 4)
    hits = sorted(store.search(np.eye(1, model.dim, dtype=np.float32), 9)[0], key=lambda hit: hit.moment)
    assert {hit.kind for hit in hits} == {VIDEO}
    assert hits[0].seconds == pytest.approx(2.4, abs=0.1)
    assert [hit.moment for hit in hits] == pytest.approx([0.3, 0.9, 1.5, 2.1], abs=0.1)
    with pytest.raises(FormatError, match=r"with 4 frames, not 16.*--frames 4"):
        run(tmp_path / "films", store, model)


def test_another_base_model_is_refused(place, store, model, deep):
    run(place, store, model)
    (place / "new.png").write_bytes((place / "b" / "red.png").read_bytes() + b"\0")
    with pytest.raises(FormatError, match=r"vectors of two models cannot be compared.*--model.*--store"):
        run(place, store, deep)
    assert len(store) == 8


def test_a_file_that_changes_while_it_is_read_is_read_again(place, store, model, monkeypatch):
    from babelclip.search import index

    def slow(file, *arguments, **options):
        looked = index_look(file, *arguments, **options)
        if file.path.endswith("red.png"):
            Image.new("RGB", (70, 70), "red").save(file.path)
        return looked

    index_look = index.look_at
    monkeypatch.setattr(index, "look_at", slow)
    report = run(place, store, model)
    assert [one.reason for one in report.skipped] == ["changed while it was read; the next run reads it again"]
    monkeypatch.setattr(index, "look_at", index_look)
    assert run(place, store, model).new == 1


def test_killed_at_random_moments_it_goes_on(place, store, tiny_folder, tmp_path):
    for number in range(150):
        Image.effect_noise((64, 64), 50 + number).save(place / f"{number}.png")
    code = (
        "import sys; from pathlib import Path; from babelclip.encoders import load_encoder\n"
        "from babelclip.search import index; from babelclip.search.open import open_store\n"
        "index.BATCH = 8\n"
        "load = lambda: load_encoder(sys.argv[3], device='cpu')\n"
        "index.index_folders([Path(sys.argv[1])], open_store(sys.argv[2]), load)\n"
    )
    command = [sys.executable, "-c", code, str(place), str(tmp_path / "index"), str(tiny_folder)]
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


def test_a_second_process_is_told(place, store, model):
    run(place, store, model)
    with open_store(store.place).writing(), pytest.raises(SettingError, match=store.place):
        run(place, store, model)


def test_scan_reads_each_folder_once(place):
    files = [file.path for file in scan([place, place / "a", place])]
    assert len(files) == len(set(files)) == 8
    assert files == sorted(files)
    with pytest.raises(DataError, match="is no folder"):
        scan([place / "b" / "red.png"])
    (place / "caf\udce9").mkdir()
    with pytest.raises(DataError, match=r"the path '.*caf\\udce9' is not UTF-8"):
        scan([place / "caf\udce9"])


@pytest.mark.parametrize("link", ["a_link", "real/a_link"])
def test_files_are_known_by_their_folder_and_not_by_a_link_that_is_sorted_before_it(place, store, model, link):
    run(place, store, model)
    (place / "real").mkdir()
    (place / link).symlink_to(place / "b")
    report = run(place, store, model)
    assert (report.moved, report.unchanged, report.removed) == (0, 8, 0)
    told = [(one.file.path, one.reason) for one in report.skipped]
    assert told == [(str(place / link), "a link to a folder that is read already")]
    assert [file.path for file in scan([place / link, place / "b"])] == list(map(str, sorted((place / "b").iterdir())))


def test_a_folder_that_cannot_be_reached_is_an_error(place, monkeypatch):
    def refused(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(DataError, match=r"photos/a: the folder cannot be reached \(Permission denied\)"):
        scan([place / "a"])


def test_unit_length(place, store, model):
    run(place, store, model)
    np.testing.assert_allclose(np.linalg.norm(store.sample(8), axis=1), np.ones(8), atol=1e-5)
