"""Plain text files that belong together line by line: a list of pictures and their captions."""

from __future__ import annotations

from pathlib import Path

from babelclip.data.tables import read_lines
from babelclip.errors import DataError


def find_file(file: Path, obtain: str) -> Path:
    """Return a file, or the one with ``.gz`` behind; the plain one where there are both.

    Raises:
        DataError: there is neither.
    """
    packed = file.with_name(f"{file.name}.gz")
    for one in (file, packed):
        if one.is_file():
            return one
    raise DataError(f"there is neither this file nor {packed.name}", file=file, fix=obtain)


def read_names(file: Path) -> list[str]:
    """Read a list of pictures, one a line.

    Raises:
        DataError: it is missing or empty, a line is empty, or a picture stands there twice.
    """
    seen: dict[str, int] = {}
    for line, text in read_lines(file):
        name = text.strip()
        if not name:
            raise DataError("the line is empty", file=file, line=line, fix="It must name a picture.")
        if name in seen:
            raise DataError(
                f"{name!r} stands there twice, first in line {seen[name]}",
                file=file, line=line, fix="Restore the file from its source.",
            )  # fmt: skip
        seen[name] = line
    return list(seen)


def read_aligned(file: Path, number: int, other: Path) -> list[str]:
    """Read a file whose lines belong to the ``number`` lines of another one; empty lines at its end do not count.

    Raises:
        DataError: it is missing, or has another number of lines.
    """
    lines = [text for _, text in read_lines(file)]
    if len(lines) != number:
        raise DataError(
            f"{len(lines):,} lines, but {other} has {number:,}",
            file=file, fix="Restore both from their source: line by line they belong together.",
        )  # fmt: skip
    return lines
