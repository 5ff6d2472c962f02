"""Files are written whole or not at all, and known by their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from babelclip.errors import BabelclipError


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, sync it, and rename it into place; folders are made as needed.

    Args:
        file: where it shall stand.
        content: text (UTF-8) or bytes.

    Raises:
        BabelclipError: the disk is full or the folder cannot be written to; what stood there before stays.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as opened:
            opened.write(content.encode() if isinstance(content, str) else content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except OSError as error:
        raise BabelclipError(
            f"cannot be written ({error.strerror or error})", file=file, fix="Free some space or choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """Return the sha256 of a file's content in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
