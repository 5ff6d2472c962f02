"""Walk through folders and find pictures and videos, whatever else lies there."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from babelclip.encoders.pictures import SUFFIXES as PICTURES
from babelclip.encoders.videos import SUFFIXES as VIDEOS
from babelclip.errors import DataError
from babelclip.files import is_utf8
from babelclip.search.items import File, Skipped


@dataclass
class Scan:
    """What lies in some folders; iterate over it once, then the counts are complete.

    Attributes:
        folders: absolute.
        skipped: what looks like a picture or video but is none that can be opened, and folders and links that cannot
            be read.
        unread: paths of those that cannot be read: what was seen there before may be there still.
        others: files of other kinds; hidden files and folders (".name") are not counted.
    """

    folders: list[Path]
    skipped: list[Skipped] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    others: int = 0

    def __iter__(self) -> Iterator[File]:
        """Yield files in the order of their paths, each folder once; ``content`` is not known yet.

        Links to folders are followed last, so that a file is known by the folder that it lies in and not by a link.
        """
        seen: set[tuple[int, int]] = set()
        done: set[str] = set()
        waiting = deque(sorted(self.folders, key=Path.is_symlink))
        while waiting:
            for file in self._walk(waiting.popleft(), seen, waiting):
                if file.path not in done:
                    done.add(file.path)
                    yield file

    def _walk(self, folder: Path, seen: set[tuple[int, int]], links: deque[Path]) -> Iterator[File]:
        """Files of a folder and those in it; ``seen`` are the folders that were read, and ``links`` wait to be."""
        try:
            found = folder.stat()
            if (found.st_dev, found.st_ino) in seen:
                if folder.is_symlink():
                    self._skip(folder, "a link to a folder that is read already")
                return
            seen.add((found.st_dev, found.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._miss(folder, f"the folder cannot be read ({error.strerror})")
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_symlink():
                    entry.stat()  # an error where it leads nowhere
                if not entry.is_dir():
                    if (file := self._look(entry)) is not None:
                        yield file
                elif entry.is_symlink():
                    links.append(folder / entry.name)
                else:
                    yield from self._walk(folder / entry.name, seen, links)
            except OSError as error:
                nowhere = isinstance(error, FileNotFoundError) and entry.is_symlink()
                reason = "a link that leads nowhere" if nowhere else f"cannot be read ({error.strerror})"
                self._miss(folder / entry.name, reason)

    def _look(self, entry: os.DirEntry[str]) -> File | None:
        suffix = Path(entry.name).suffix.lower()
        if suffix not in (*PICTURES, *VIDEOS):
            self.others += 1
            return None
        path = Path(entry.path)
        if not is_utf8(entry.path):
            self._skip(path, "its name is not UTF-8")
            return None
        found = entry.stat()
        file = File(path.as_posix(), found.st_size, found.st_mtime_ns, "")
        if not stat.S_ISREG(found.st_mode):
            self._skip(path, "not a regular file", file)
        elif not found.st_size:
            self._skip(path, "empty", file)
        else:
            return file
        return None

    def may_be_there(self, path: str) -> bool:
        """Whether a file that was not seen lies where nothing could be read, so that nobody knows."""
        return not self.unread.isdisjoint([path, *map(str, PurePosixPath(path).parents)])

    def _miss(self, path: Path, reason: str) -> None:
        self.unread.add(_printable(path))
        self._skip(path, reason)

    def _skip(self, path: Path, reason: str, file: File | None = None) -> None:
        self.skipped.append(Skipped(file or File(_printable(path), 0, 0, ""), reason))


def scan(folders: Sequence[Path]) -> Scan:
    """Return what lies in some folders, their folders included; links are followed, none in a circle.

    Raises:
        DataError: one of the folders is not there, is none or cannot be reached, so that nothing is taken for deleted;
            or its path is not UTF-8.
    """
    for folder in folders:
        try:
            if not folder.is_dir() and folder.exists():
                raise DataError(
                    "this is no folder", file=folder, fix=f"Give the folder that it lies in: {folder.parent}."
                )
            found = "" if folder.is_dir() else "is not there"
        except OSError as error:
            found = f"cannot be reached ({error.strerror})"
        if found:
            raise DataError(
                f"the folder {found}", file=folder,
                fix="Correct the path; if a drive is not mounted, mount it (what was indexed there is kept).",
            )  # fmt: skip
    absolute = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100 - links stay links
    for path in absolute:
        if not is_utf8(path):
            raise DataError(f"the path {path!r} is not UTF-8", fix="Rename the folder.")
    return Scan([Path(path) for path in absolute])


def _printable(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")
