"""Files and folders are written whole or not at all, and known by their content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from babelclip.errors import BabelclipError, FormatError, SettingError

MANIFEST = "manifest.json"
FORMAT = 1
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp", re.DOTALL)


class TooNewError(FormatError):
    """A folder of a format to come: it is not damaged, and a newer babelclip reads it."""


def file_state(file: Path) -> tuple[int, int] | None:
    """Return size and time of a file, which tell whether it has changed; None where there is none."""
    if not file.is_file():
        return None
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def is_utf8(text: str) -> bool:
    """Whether a text or a name can be written as UTF-8: it holds no half of a surrogate pair.

    Such halves are also Python's stand-in for bytes of names and arguments that are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, sync it, and rename it into place; folders are made as needed.

    Args:
        file: where it shall stand.
        content: text (UTF-8) or bytes.

    Raises:
        BabelclipError: the disk is full or the folder cannot be written to; what stood there before stays.
    """
    temporary = _temporary(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, content)
        temporary.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a new folder of files with a manifest of their sha256: all of it, or nothing.

    Args:
        folder: where it shall stand; nothing stands there yet.
        files: content by name, text (UTF-8) or bytes.

    Raises:
        BabelclipError: the disk is full or the place cannot be written to.
    """
    with new_folder(folder) as temporary:
        for name, content in files.items():
            _write_synced(temporary / name, content)
        hashes = {name: sha256(temporary / name) for name in files}
        _write_synced(temporary / MANIFEST, json.dumps({"format": FORMAT, "files": hashes}, indent=1) + "\n")


@contextlib.contextmanager
def new_folder(folder: Path, *, inside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder to fill with files; afterwards they are synced, and it is renamed into place.

    Args:
        folder: where it shall stand; nothing stands there yet, or an empty folder.
        inside: what holds it until it is whole, on the same disk; by default the folder's parent.

    Raises:
        BabelclipError: the disk is full or the place cannot be written to.
    """
    temporary = _temporary(folder if inside is None else inside / folder.name)
    try:
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        _sync(temporary)
        temporary.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Compare a folder written by ``write_folder`` with its manifest.

    Raises:
        FormatError: a file is missing or its content is not what was written; names it, and both hashes.
        TooNewError: it was written in a newer format.
        BabelclipError: a file may not be read, so that nobody knows.
    """
    fix = "Delete the folder; what it held cannot be trusted."
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            found = f"format {manifest['format']}, this babelclip reads {FORMAT}"
            if manifest["format"] > FORMAT:
                raise TooNewError(
                    found, file=folder / MANIFEST, fix="Go on with a newer babelclip, or delete the folder."
                )
            raise FormatError(found, file=folder / MANIFEST, fix=fix)
        for name, expected in manifest["files"].items():
            found = sha256(folder / name)
            if found != expected:
                raise FormatError(
                    f"damaged: sha256 is {found[:12]}, the manifest says {expected[:12]}", file=folder / name, fix=fix
                )
    except PermissionError as error:
        raise may_not_read(Path(error.filename)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"incomplete or damaged ({error})", file=folder, fix=fix) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder: at once out of sight, so that half of it is never taken for the whole.

    Raises:
        BabelclipError: it may not be removed, or something in it is held; it is there whole, or out of sight.
    """
    temporary = _temporary(folder)
    try:
        _remove(temporary)
        folder.rename(temporary)
        _remove(temporary)
    except OSError as error:
        reason, left = error.strerror or str(error), folder if folder.is_dir() else temporary
        raise BabelclipError(
            f"cannot be removed ({reason})", file=left, fix="Delete it yourself: what it held is no longer needed."
        ) from error


def remove_temporaries(folder: Path) -> None:
    """Remove what processes that died in the middle of writing into ``folder`` left behind.

    What another living process is writing stays. What bears the number of this one goes: in a container a process is
    started again under the number of the one that died.
    """
    for left in folder.glob(".*.tmp"):
        owner = _TEMPORARY.fullmatch(left.name)
        if owner is not None and not _writes(int(owner[1])):
            _remove(left)


@contextlib.contextmanager
def alone(work: Path, lock: Path, *, wait: float) -> Iterator[None]:
    """Hold the right to work on something; the system gives it back when the process ends, however it ends.

    Args:
        work: file or folder that is worked on, for the message.
        lock: file that stands for the right; it is removed afterwards, and so is a folder that was made for it alone.
        wait: seconds to wait for another process that holds it.

    Raises:
        SettingError: another process holds it.
        BabelclipError: the lock cannot be written.
    """
    held, made = FileLock(lock, timeout=wait), not lock.parent.exists()
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        raise SettingError(
            f"another process works on {work}", fix="Wait until it has ended, or choose a new --out."
        ) from error
    except OSError as error:
        raise cannot_write(lock, error) from error
    try:
        yield
    finally:
        if os.name == "posix":  # elsewhere it goes when it is given back
            lock.unlink(missing_ok=True)
        held.release()
        if made:
            with contextlib.suppress(OSError):  # something was written there, which stays
                lock.parent.rmdir()


def _temporary(target: Path) -> Path:
    """A hidden name beside the target, of this process alone."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _remove(left: Path) -> None:
    """Remove what stands under a temporary name, if anything does: a process of the same number left it there."""
    if left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)


def _writes(process: int) -> bool:
    """Whether another process lives, as far as the system tells."""
    if process == os.getpid() or os.name != "posix":  # elsewhere the question would end the process
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _write_synced(file: Path, content: str | bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content.encode() if isinstance(content, str) else content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync(path: Path) -> None:
    """Make a file, or the renames in a folder, survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(target: Path, error: OSError) -> BabelclipError:
    """Return the error for a file or folder that a full disk or a missing permission kept from being written."""
    reason = error.strerror or str(error)
    return BabelclipError(f"cannot be written ({reason})", file=target, fix="Free some space or choose another folder.")


def may_not_read(target: Path) -> BabelclipError:
    """Return the error for a file that is there, and that whoever runs this may not read: it is not damaged."""
    return BabelclipError("may not be read (permission denied)", file=target, fix="Mend its rights.")


def sha256(file: Path) -> str:
    """Return the sha256 of a file's content in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
