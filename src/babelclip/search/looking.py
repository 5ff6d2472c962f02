"""Open one picture or video for an index: pixels for the image tower, a thumbnail, and what is known of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from babelclip.encoders.pictures import READING_HEIC, open_picture
from babelclip.encoders.videos import READING_VIDEOS, is_video, sample_frames
from babelclip.errors import BabelclipError, DataError, MissingExtraError
from babelclip.search.items import PICTURE, VIDEO, WHOLE, File, Kind

if TYPE_CHECKING:
    from torch import Tensor

    from babelclip.encoders import DualEncoder

THUMBNAIL = 256
"""Pixels on the longer side."""
TOO_LARGE, UNREADABLE = "too large", "cannot be read"
NEEDS = (f"{READING_HEIC} needs", f"{READING_VIDEOS} needs")
"""How reasons for skipping begin that lie with the settings or this machine."""


@dataclass(frozen=True)
class Limits:
    """What is too large to be opened.

    Attributes:
        picture_bytes: of a picture's file.
        picture_pixels: of a picture.
        video_bytes: of a video's file.
        frames: of a video, at most.
    """

    picture_bytes: int = 256 * 2**20
    picture_pixels: int = 250_000_000
    video_bytes: int = 64 * 2**30
    frames: int = 16


@dataclass(frozen=True)
class Look:
    """What was seen of a file: F pictures (1 of a picture, the frames of a video) and their moments.

    Attributes:
        file: with the hash of its content.
        kind: ``picture`` or ``video``.
        taken: seconds since 1970.
        size: width and height, upright.
        seconds: how long the video is.
        moments: F, seconds; ``WHOLE`` of a picture.
        pixels: (F, 3, side, side), prepared for the image tower; None where its vectors are given.
        thumbnails: F, JPEG.
        incomplete: a video of which not all could be read.
    """

    file: File
    kind: Kind
    taken: float
    size: tuple[int, int]
    seconds: float
    moments: list[float]
    pixels: Tensor | None
    thumbnails: list[bytes]
    incomplete: bool = False


def hash_file(file: File, limits: Limits) -> File:
    """Return a file with the sha256 of its content.

    Raises:
        DataError: it is too large, or it cannot be read; the message says what is wrong, without the path.
    """
    video = is_video(Path(file.path))
    limit = limits.video_bytes if video else limits.picture_bytes
    if file.bytes > limit:
        raise DataError(
            f"{TOO_LARGE}: {file.bytes:,} bytes, at most {limit:,} are read", fix="Raise the limit.", file=file.path
        )
    try:
        with Path(file.path).open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{UNREADABLE} ({error.strerror})", fix="Mend its rights.", file=file.path) from error
    return File(file.path, file.bytes, file.modified, digest)


def look_at(file: File, limits: Limits, encoder: Callable[[], DualEncoder] | None) -> Look:
    """Open a file and prepare what is on it.

    Args:
        file: with its hash.
        limits: what is too large.
        encoder: gives the base model, asked once the file is open; None where the vectors are given.

    Raises:
        DataError: it is damaged, of another kind than it seems, or too large.
        MissingExtraError: a package is missing.
    """
    path, seconds, moments, incomplete = Path(file.path), 0.0, [WHOLE], False
    taken = file.modified / 1e9
    kind: Kind = PICTURE
    if is_video(path):
        found = sample_frames(path, limits.frames)
        kind, pictures, moments, seconds, incomplete = (
            VIDEO, found.pictures, found.moments, found.seconds, found.incomplete,
        )  # fmt: skip
    else:
        picture = open_picture(path, most_pixels=limits.picture_pixels)
        taken, pictures = _time(picture.info.get("taken"), taken), [picture]
    size = pictures[0].size
    pixels = encoder().prepare(pictures) if encoder is not None else None
    thumbnails = [_thumbnail(picture) for picture in pictures]
    return Look(file, kind, taken, size, seconds, moments, pixels, thumbnails, incomplete)


def reason_of(error: BabelclipError) -> str:
    """Return what is wrong in one line, without the path, and what to install where that is it."""
    found = f"{error.what}. {error.fix.rstrip('.')}" if isinstance(error, MissingExtraError) else error.what
    return " ".join(found.split())


@contextmanager
def any_size() -> Iterator[None]:
    """Leave the limit on pixels to ``Limits``: Pillow's own warns of what is allowed here, for the whole process."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _thumbnail(picture: Image.Image) -> bytes:
    """Make a picture small, in place, and return it as a JPEG."""
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC, reducing_gap=3.0)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=82)
    return content.getvalue()


def _time(written: str | None, otherwise: float) -> float:
    """Seconds since 1970 of "2024:05:01 10:00:00"."""
    if written is None:
        return otherwise
    try:
        return datetime.strptime(written.strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:  # cameras write "0000:00:00 00:00:00" and worse
        return otherwise
