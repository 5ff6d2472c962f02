"""What a base model gets to see of a file: should a pixel change, vectors that were kept of the old ones must go."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from babelclip.data import Cache, Teacher, read_captions
from babelclip.encoders import open_picture, sample_frames
from babelclip.encoders.looking import READER

WAY_OUT = "pixels are others than before: raise READER in encoders/looking.py, and write {found!r} beside it here"
ROW, COLUMN = np.mgrid[0:18, 0:24].astype(np.float32)
GREY = ((ROW * 13 + COLUMN * 29) % 256).astype(np.uint8)
COLOURS = np.stack([GREY, 255 - GREY.T.reshape(GREY.shape), GREY // 3], axis=2)
OPAQUE = ((ROW + COLUMN) * 6).astype(np.uint8)


def made_up(folder):
    """Pictures of every mode, in formats that lose nothing."""
    colours, grey = Image.fromarray(COLOURS), Image.fromarray(GREY)
    with_alpha = colours.copy()
    with_alpha.putalpha(Image.fromarray(OPAQUE))
    half = with_alpha.convert("LA")
    palette = Image.fromarray(GREY // 16)
    palette.putpalette([value for i in range(16) for value in (16 * i, 255 - 9 * i, 5 * i)])
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {
        "1.png": grey.convert("1", dither=Image.Dither.NONE), "l.png": grey, "la.png": half, "p.png": palette,
        "rgb.png": colours, "rgb.bmp": colours, "rgba.png": with_alpha, "rgba.webp": with_alpha,
        "cmyk.tiff": colours.convert("CMYK"), "p.gif": palette, "ycbcr.tiff": colours.convert("YCbCr"),
        "i16.png": Image.fromarray(GREY.astype(np.uint16) * 257), "i16.tiff": Image.fromarray(GREY.astype(">u2") * 200),
        "i.tiff": Image.fromarray(GREY.astype(np.int32) * 257), "i-8.tiff": Image.fromarray(GREY.astype(np.int32)),
        "f-1.tiff": Image.fromarray(GREY.astype(np.float32) / 258), "f-8.tiff": Image.fromarray(GREY.astype("f4")),
        "f-16.tiff": Image.fromarray(GREY.astype(np.float32) * 257),
    }  # fmt: skip
    for name, picture in made.items():
        picture.save(folder / name, **({"lossless": True, "exact": True} if name.endswith("webp") else {}))
    palette.save(folder / "hole.png", transparency=3)
    colours.save(folder / "turned.png", exif=turned)
    colours.save(folder / "many.gif", save_all=True, append_images=[grey.convert("RGB")])
    return [*(folder / name for name in made), *(folder / name for name in ("hole.png", "turned.png", "many.gif"))]


def hash_of(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def test_pixels_of_pictures(tmp_path, tiny):
    pictures = [open_picture(file) for file in made_up(tmp_path)]
    modes = set()
    for file in tmp_path.iterdir():
        with Image.open(file) as opened:
            modes.add(opened.mode)
    assert modes >= {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"}
    found = hash_of(np.asarray(picture) for picture in pictures)
    assert {READER: found} == {2: "741fc96badf2d8fc"}, WAY_OUT.format(found=found)
    found = hash_of([(1_000 * tiny.prepare(pictures)).round().int().numpy()])
    assert {READER: found} == {2: "a07a0ab10f299faa"}, WAY_OUT.format(found=found)


def test_pixels_of_frames(tmp_path):
    pytest.importorskip("av", reason="the extra [video] is not installed")
    from films import write_film

    file = write_film(tmp_path / "film.mkv", codec="ffv1", pixels="bgr0")
    turned = write_film(tmp_path / "turned.mov", codec="rawvideo", pixels="rgb24", turn=90)
    through = write_film(tmp_path / "through.mov", codec="png", pixels="rgba", picture=lambda i, n: np.dstack(
        [COLOURS, OPAQUE // (i % 3 + 1)]), size=(24, 18))  # fmt: skip
    frames = [one for video in (file, turned, through) for one in sample_frames(video, 5).pictures]
    found = hash_of(np.asarray(one) for one in frames)
    assert {READER: found} == {2: "1b1e2365516572a3"}, WAY_OUT.format(found=found)


def test_vectors_of_pictures_that_were_read_otherwise_are_not_taken(tiny, captions, tmp_path, monkeypatch):
    corpus, seen = read_captions(captions / "de.tsv", "de"), []
    encode = type(tiny).encode_images
    monkeypatch.setattr(type(tiny), "encode_images", lambda *a, **b: seen.append(len(a[1])) or encode(*a, **b))
    for reader in (READER - 1, READER, READER, READER - 1):
        monkeypatch.setattr("babelclip.data.cache.READER", reader)
        vectors = Teacher(tiny, Cache(tmp_path)).prepare(corpus).images[:]
        assert vectors.shape == (24, tiny.dim)
    assert seen == [8, 8], "once for each way of reading"
    monkeypatch.setattr("babelclip.data.examples.encode_tokens", lambda *_: pytest.fail("texts are the same"))
    monkeypatch.setattr("babelclip.data.cache.READER", READER + 1)
    assert torch.equal(Teacher(tiny, Cache(tmp_path)).prepare(corpus).images[:], vectors)
