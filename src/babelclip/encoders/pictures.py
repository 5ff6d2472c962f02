"""Open pictures: common formats only, upright, complete, and with an error that names the file."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

from PIL import Image, UnidentifiedImageError

from babelclip.errors import DataError, MissingExtraError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".dib", ".gif", ".heic", ".heif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
READING_HEIC = "Reading HEIC pictures"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_ORIENTATION, _DETAILS, _TAKEN = 0x0112, 0x8769, 0x9003
"""EXIF tags: how the picture lies, the directory of details, and in it DateTimeOriginal."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def open_picture(file: Path | bytes, *, most_pixels: int | None = None) -> Image.Image:
    """Return a picture in RGB: rotated as its EXIF data says, transparency on white, the first frame of an animation.

    Args:
        file: of one of ``FORMATS``, HEIF too where ``pillow-heif`` is installed; or the content of one.
        most_pixels: a picture of more is refused before it is decoded; by default those of more than Pillow allows.

    Returns:
        The picture; ``info["taken"]`` is the time in its EXIF data, "2024:05:01 10:00:00", where there is one.

    Raises:
        DataError: the file is missing, is no picture of a known format, is damaged, or is too large to be honest.
        MissingExtraError: it is in HEIF, and ``pillow-heif`` is not installed.
    """
    if isinstance(file, bytes):
        return _open(io.BytesIO(file), None, most_pixels)
    if not file.is_file():
        raise DataError("there is no such picture", file=file, fix="Correct the path.")
    return _open(file, file, most_pixels)


def _open(source: Path | io.BytesIO, file: Path | None, most_pixels: int | None) -> Image.Image:
    """Open a picture; ``file`` is what messages call it."""
    try:
        with Image.open(source, formats=known_formats()) as opened:
            if most_pixels is not None and opened.width * opened.height > most_pixels:
                raise DataError(
                    f"too large: {opened.width:,} x {opened.height:,} pixels, at most {most_pixels:,} are read",
                    file=file, fix="Make the picture smaller, or raise the limit.",
                )  # fmt: skip
            taken = _time_taken(opened)
            upright = _in_rgb(_turn(opened))
            upright.info = {"taken": taken} if taken else {}
            return upright
    except UnidentifiedImageError as error:
        if "HEIF" not in known_formats() and _is_heif(source):
            raise MissingExtraError("pillow-heif", "heic", READING_HEIC) from error
        raise DataError(
            f"not a picture that can be read (formats: {', '.join(known_formats())})",
            file=file, fix="Convert it to PNG or JPEG, or leave it out.",
        ) from error  # fmt: skip
    except Image.DecompressionBombError as error:
        raise DataError(f"too large: {error}", file=file, fix="Make the picture smaller.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"the picture is damaged ({error})", file=file, fix="Restore it from its source, or leave it out."
        ) from error


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Return the formats that are read; HEIF among them where the package ``pillow-heif`` is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        return (*FORMATS, "HEIF")
    return FORMATS


def _is_heif(source: Path | io.BytesIO) -> bool:
    """Whether a file begins as those in HEIF do."""
    head = source.getvalue()[:12] if isinstance(source, io.BytesIO) else _first_bytes(source)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(12)


def _time_taken(picture: Image.Image) -> str | None:
    """What the EXIF data says of the time; None where it says nothing that can be read."""
    found = _from_exif(picture, lambda exif: exif.get_ifd(_DETAILS).get(_TAKEN))
    return found if isinstance(found, str) else None


def _turn(picture: Image.Image) -> Image.Image:
    """A picture as its EXIF data says that it lies; its other EXIF data is not looked at."""
    how = _from_exif(picture, lambda exif: exif.get(_ORIENTATION))
    return picture.transpose(_TURNS[how]) if isinstance(how, int) and how in _TURNS else picture


def _from_exif(picture: Image.Image, read: Callable[[Image.Exif], object]) -> object:
    """What can be read of the EXIF data; None where it is damaged: a picture is more than that."""
    try:
        return read(picture.getexif())
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def _in_rgb(picture: Image.Image) -> Image.Image:
    """A picture of any mode in RGB."""
    if picture.mode in ("I", "F"):  # 32 bits a pixel: the largest value tells whether white is 1, 255 or 65,535
        highest = cast("tuple[float, float]", picture.getextrema())[1]
        if picture.mode == "F" and highest <= 1:
            picture = picture.point(lambda value: value * 255 + 0.5)
        elif highest > 255:
            picture = picture.point(lambda value: value / 256)
        return picture.convert("L").convert("RGB")
    if picture.mode in ("I;16", "I;16B", "I;16L"):  # 16 bits a pixel: Pillow would cut off all above 255
        return picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
