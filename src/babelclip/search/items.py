"""What an index knows of a picture or a moment of a video, and what a search gives back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["picture", "video"]
PICTURE: Literal["picture"] = "picture"
VIDEO: Literal["video"] = "video"
WHOLE = -1.0
"""The moment of a picture: it has none."""


@dataclass(frozen=True)
class File:
    """A file as it was when it was read.

    Attributes:
        path: absolute, with forward slashes.
        bytes: its size.
        modified: time of its last change, nanoseconds since 1970.
        content: sha256 of its content, hexadecimal; empty where it was not read.
    """

    path: str
    bytes: int
    modified: int
    content: str


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be indexed, and why."""

    file: File
    reason: str


@dataclass(frozen=True)
class Item:
    """One row of an index: a picture, or one moment of a video.

    Attributes:
        file: where it is from.
        kind: ``picture`` or ``video``.
        moment: seconds from the beginning of the video; ``WHOLE`` for a picture.
        taken: seconds since 1970: the time in its EXIF data (taken for UTC), else of its last change.
        width: pixels, upright.
        height: pixels, upright.
        seconds: how long the video is; 0 for a picture.
        vector: (dim,) float32 of length 1.
        thumbnail: JPEG, at most 256 pixels wide and high.
    """

    file: File
    kind: Kind
    moment: float
    taken: float
    width: int
    height: int
    seconds: float
    vector: NDArray[np.float32] = field(repr=False)
    thumbnail: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Its name in the index."""
        return item_id(self.file.path, self.moment)


def item_id(path: str, moment: float) -> str:
    """Return the name of a picture or moment in an index: 24 hexadecimal digits of a sha256."""
    return hashlib.sha256(f"{path}\0{moment:.3f}".encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Filter:
    """Which rows a search may return; by default all.

    Attributes:
        folders: absolute; a row lies in one of them, at any depth.
        since: seconds since 1970; taken then or later.
        before: seconds since 1970; taken earlier.
        kind: ``picture`` or ``video``.
    """

    folders: tuple[str, ...] = ()
    since: float | None = None
    before: float | None = None
    kind: Kind | None = None


@dataclass(frozen=True)
class Hit:
    """A row that a search found, without its vector and thumbnail; ``score`` is its cosine with the query."""

    id: str
    path: str
    kind: Kind
    moment: float
    taken: float
    width: int
    height: int
    seconds: float
    score: float
