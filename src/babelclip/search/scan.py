"""Walk through folders and find pictures and videos, whatever else lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from babelclip.encoders.pictures import HEIC_SUFFIXES, known_formats
from babelclip.encoders.pictures import SUFFIXES as PICTURES
from babelclip.encoders.videos import SUFFIXES as VIDEOS
from babelclip.errors import DataError
from babelclip.search.items import File, Skipped

NEEDS_HEIC = "HEIC pictures need"


@dataclass
class Scan:
    """What lies in some folders; iterate over it once, then the counts are complete.

    Attributes:
        folders: absolute.
        skipped: what looks like a picture or video but is none that can be opened, and folders that cannot be read.
        others: files of other kinds; hidden files and folders (".name") are not counted.
    """

    folders: list[Path]
    skipped: list[Skipped] = field(default_factory=list)
    others: int = 0

    def __iter__(self) -> Iterator[File]:
        """Yield files in the order of their paths, each folder once; ``content`` is not known yet."""
        seen: set[tuple[int, int]] = set()
        done: set[str] = set()
        for folder in self.folders:
            for file in self._walk(folder, seen):
                if file.path not in done:
                    done.add(file.path)
                    yield file

    def _walk(self, folder: Path, seen: set[tuple[int, int]]) -> Iterator[File]:
        """Files of a folder and those in it; ``seen`` are the folders that were read, whatever links led there."""
        try:
            found = folder.stat()
            if (found.st_dev, found.st_ino) in seen:
                if folder.is_symlink():
                    self._skip(folder, "a link to a folder that is read already")
                return
            seen.add((found.st_dev, found.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._skip(folder, f"the folder cannot be read ({error.strerror})")
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    yield from self._walk(folder / entry.name, seen)
                elif (file := self._look(entry)) is not None:
                    yield file
            except OSError as error:
                self._skip(folder / entry.name, f"cannot be read ({error.strerror})")

    def _look(self, entry: os.DirEntry[str]) -> File | None:
        suffix = Path(entry.name).suffix.lower()
        if suffix not in (*PICTURES, *VIDEOS, *HEIC_SUFFIXES):
            self.others += 1
            return None
        path = Path(entry.path)
        if not _is_utf8(entry.path):
            self._skip(path, "its name is not UTF-8")
            return None
        try:
            found = entry.stat()
        except OSError as error:
            reason = "a link that leads nowhere" if entry.is_symlink() else f"cannot be read ({error.strerror})"
            self._skip(path, reason)
            return None
        file = File(path.as_posix(), found.st_size, found.st_mtime_ns, "")
        if not stat.S_ISREG(found.st_mode):
            self._skip(path, "not a regular file", file)
        elif not found.st_size:
            self._skip(path, "empty", file)
        elif suffix in HEIC_SUFFIXES and "HEIF" not in known_formats():
            self._skip(path, f"{NEEDS_HEIC}: pip install 'babelclip[heic]'", file)
        else:
            return file
        return None

    def _skip(self, path: Path, reason: str, file: File | None = None) -> None:
        self.skipped.append(Skipped(file or File(_printable(path), 0, 0, ""), reason))


def scan(folders: Sequence[Path]) -> Scan:
    """Return what lies in some folders, their folders included; links are followed, none in a circle.

    Raises:
        DataError: one of the folders is not there or is none, so that nothing is taken for deleted.
    """
    for folder in folders:
        if not folder.is_dir():
            found = "is no folder" if folder.exists() else "is not there"
            raise DataError(
                f"the folder {found}", file=folder,
                fix="Correct the path; if a drive is not mounted, mount it (what was indexed there is kept).",
            )  # fmt: skip
    return Scan([Path(os.path.abspath(folder)) for folder in folders])  # noqa: PTH100 - links stay links


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # Python's stand-in for bytes that are no UTF-8
        return False
    return True


def _printable(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
