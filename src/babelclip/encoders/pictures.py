"""Open pictures: common formats only, upright, complete, and with an error that names the file."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from babelclip.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def open_picture(file: Path) -> Image.Image:
    """Return a picture in RGB: rotated as its EXIF data says, transparency on white, the first frame of an animation.

    Raises:
        DataError: the file is missing, is no picture of a known format, is damaged, or is too large to be honest.
    """
    if not file.is_file():
        raise DataError("there is no such picture", file=file, fix="Correct the path, or leave the row out.")
    try:
        with Image.open(file, formats=FORMATS) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                return Image.alpha_composite(white, upright).convert("RGB")
            return upright.convert("RGB")
    except UnidentifiedImageError as error:
        raise DataError(
            f"not a picture that can be read (formats: {', '.join(FORMATS)})",
            file=file, fix="Convert it to PNG or JPEG, or leave the row out.",
        ) from error  # fmt: skip
    except Image.DecompressionBombError as error:
        raise DataError(f"too large: {error}", file=file, fix="Make the picture smaller.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"the picture is damaged ({error})", file=file, fix="Restore it from its source, or leave the row out."
        ) from error
