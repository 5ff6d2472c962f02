"""Videos of released data sets, found by their ids; many were deleted since, so those that are gone are counted."""

from __future__ import annotations

import os
from pathlib import Path

from babelclip.benchmarks.base import Place
from babelclip.data import Gatherer, ImageVectors
from babelclip.encoders import is_video
from babelclip.errors import DataError

ABSENT = "captions of videos that are not there"
WHERE = "Put the videos into videos/, each named by its id, or give vectors with such ids (--image-vectors)."


class Videos:
    """Where the videos of a data set are: files ``ID.mp4``, ``.webm``, ... in a folder or below it, or vectors."""

    def __init__(self, place: Place) -> None:
        """Look for them.

        Raises:
            DataError: two files have the same id.
        """
        self._images = place.images
        self._names = {} if isinstance(place.images, ImageVectors) else _find(place.images)

    def add(
        self, gathered: Gatherer, video: str, english: str, text: str, *, line: int, columns: tuple[str, str, str]
    ) -> None:
        """Add a caption of a video, or count it where the video is gone; see ``Gatherer.add``."""
        if isinstance(self._images, ImageVectors):
            name = video if video in self._images else None
        else:
            name = self._names.get(video)
        if name is None:
            gathered.skip(ABSENT)
        else:
            gathered.add(name, english, text, line=line, columns=columns)


def _find(folder: Path) -> dict[str, str]:
    """Id -> path below a folder."""
    names: dict[str, str] = {}
    for inner, _, files in os.walk(folder):
        for file in sorted(files):
            path = Path(inner, file)
            if not is_video(path):
                continue
            if path.stem in names:
                raise DataError(
                    f"{path} and {folder / names[path.stem]} are both the video {path.stem!r}",
                    file=folder, fix="Keep one of them.",
                )  # fmt: skip
            names[path.stem] = path.relative_to(folder).as_posix()
    return names
