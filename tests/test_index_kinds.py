"""What an index sees of pictures of any mode, of phones' pictures and of videos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.encoders import pictures
from babelclip.encoders.looking import READER
from babelclip.errors import FormatError
from babelclip.search import claim
from babelclip.search.index import index_folders
from babelclip.search.items import VIDEO
from babelclip.search.looking import Limits
from films import write_film
from indexing import run


def test_modes_of_pictures(folder_store, counting, tmp_path):
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
    report = run(folder, folder_store, counting)
    assert (report.new, report.skipped) == (6, [])
    hits = {
        Path(hit.path).name: hit
        for hit in folder_store.search(np.eye(1, counting.dim, dtype=np.float32), 9, exact=True)[0]
    }
    colours = {
        name: Image.open(io.BytesIO(folder_store.thumbnail(hit.id))).getpixel((5, 5)) for name, hit in hits.items()
    }
    close = pytest.approx
    assert colours["deep.png"] == close((156, 156, 156), abs=2)  # 40,000 / 256, and not white
    assert colours["clear.png"] == close((255, 255, 255), abs=2)
    assert colours["moving.gif"] == close((254, 0, 0), abs=4)
    assert colours["phone.heic"] == close((254, 0, 0), abs=8)
    assert colours["cmyk.jpg"] == close((254, 0, 0), abs=12)
    assert (hits["turned.jpg"].width, hits["turned.jpg"].height) == (20, 40)
    assert hits["turned.jpg"].taken == 1714557600


def test_pictures_of_phones_without_their_package(folder_store, counting, tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the extra [heic]")
    folder = tmp_path / "phone"
    folder.mkdir()
    heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(folder / "old.heic")
    assert run(folder, folder_store, counting).new == 1
    heif.from_pillow(Image.new("RGB", (64, 64), "blue")).save(folder / "new.heic")
    with monkeypatch.context() as without:
        without.setattr(pictures, "known_formats", lambda: pictures.FORMATS)
        report = run(folder, folder_store, counting)
        assert (report.unchanged, report.new, report.removed) == (1, 0, 0)
        assert [Path(one.file.path).name for one in report.skipped] == ["new.heic"]
        assert report.skipped[0].reason == (
            "Reading HEIC pictures needs the package 'pillow-heif', which is not installed. "
            "Install it with: pip install 'babelclip[heic]'"
        )
        (folder / "none.heic").write_bytes(b"no picture")
        assert "not a picture" in run(folder, folder_store, counting).skipped[-1].reason
    assert (run(folder, folder_store, counting).new, len(folder_store)) == (1, 2)


def test_videos_have_moments(folder_store, counting, tmp_path):
    write_film(tmp_path / "films" / "a.mp4", 24)
    report = run(tmp_path / "films", folder_store, counting, limits=Limits(frames=4))
    assert (report.new, report.pictures, len(folder_store)) == (1, 4, 4)
    hits = sorted(folder_store.search(np.eye(1, counting.dim, dtype=np.float32), 9)[0], key=lambda hit: hit.moment)
    assert {hit.kind for hit in hits} == {VIDEO}
    assert hits[0].seconds == pytest.approx(2.4, abs=0.1)
    assert [hit.moment for hit in hits] == pytest.approx([0.3, 0.9, 1.5, 2.1], abs=0.1)
    with pytest.raises(FormatError, match=r"with 4 frames, not 16.*--frames 4"):
        run(tmp_path / "films", folder_store, counting)


def test_pictures_that_were_read_in_another_way_are_not_mixed_in_silence(photos, folder_store, counting, monkeypatch):
    def notes():
        told = []
        index_folders([photos], folder_store, lambda: counting, note=told.append)
        return told

    monkeypatch.setattr(claim, "READER", READER - 1)
    assert notes() == []
    monkeypatch.undo()
    assert notes() == [], "nothing is read"
    Image.new("RGB", (50, 20), "teal").save(photos / "new.png")
    (told,) = notes()
    assert told.startswith(f"pictures of this index were read in way {READER - 1}, the 1 of now in way {READER}:")
    folder_store.write_about(folder_store.about().model_copy(update={"reader": None}))
    Image.new("RGB", (50, 20), "navy").save(photos / "newer.png")
    assert notes() == [], "an index from before that was written down"
