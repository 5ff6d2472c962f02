"""The files of a pack, as a folder or as one ``.babelpack`` file (a zip): read within limits, written whole.

A pack may come from anybody, so nothing in it is believed: only files of known names are read, each only as far as its
limit; no path is ever made from a name inside; nothing is written while reading; links are refused.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from babelclip.errors import FormatError, SettingError
from babelclip.files import may_not_read, new_folder, write_whole
from babelclip.packs.card import CARD

ROWS, VOCABULARY, MODULES, PROFILES = (
    "rows.safetensors", "vocabulary.json", "modules.safetensors", "profiles.safetensors"
)  # fmt: skip
SUFFIX = ".babelpack"
MIB = 2**20
LIMITS = {CARD: 4 * MIB, VOCABULARY: 64 * MIB, ROWS: 2048 * MIB, MODULES: 2048 * MIB, PROFILES: 64 * MIB}
"""Files that a pack may have, and how many bytes each may have."""
MOST_SHRUNK = 50
REQUIRED = (CARD, ROWS, VOCABULARY)
_AGAIN = "Get the pack again from where it came from."


def is_pack(path: Path) -> bool:
    """Whether a path looks like a pack: a folder with a ``pack.json``, or a file of the right name."""
    return (path / CARD).is_file() or (path.suffix == SUFFIX and path.is_file())


def read_files(path: Path) -> dict[str, bytes]:
    """Return the files of a pack by name.

    Raises:
        FormatError: it is no pack, a file is missing, too large, unknown or a link, or the zip is damaged.
        BabelclipError: it may not be read.
    """
    if path.is_dir():
        files = _read_folder(path)
    elif path.is_file():
        files = _read_zip(path)
    else:
        raise FormatError("there is no such pack", file=path, fix="Correct the path.")
    for name in REQUIRED:
        if name not in files:
            raise FormatError(
                f"no {name} in it", file=path, fix="Give a pack: a .babelpack file or folder that `babelclip` wrote."
            )
    return files


def _read_folder(folder: Path) -> dict[str, bytes]:
    files = {}
    for entry in sorted(folder.iterdir()):
        _check_name(entry.name, folder)
        if entry.is_symlink() or not entry.is_file():
            raise FormatError(f"{entry.name} is not an ordinary file", file=folder, fix=_AGAIN)
        with entry.open("rb") as opened:
            files[entry.name] = _read(opened, entry.name, folder)
    return files


def _read_zip(file: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(file) as opened:
            for entry in opened.infolist():
                _check_name(entry.filename, file)
                if entry.filename in files:
                    raise FormatError(f"{entry.filename} is in it twice", file=file, fix=_AGAIN)
                _check_entry(entry, file)
                with opened.open(entry) as one:
                    files[entry.filename] = _read(one, entry.filename, file)
    except PermissionError as error:
        raise may_not_read(file) from error
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        # RuntimeError: encrypted; NotImplementedError: an unknown compression
        raise FormatError(f"not a whole zip file ({error})", file=file, fix=_AGAIN) from error
    return files


def _check_entry(entry: zipfile.ZipInfo, place: Path) -> None:
    """Refuse what would grow while it is read: tensors are stored as they are, JSON shrinks to a fiftieth at best."""
    _check_size(entry.file_size, entry.filename, place)
    packed = entry.filename in (CARD, VOCABULARY)
    known = entry.compress_type == zipfile.ZIP_STORED or (packed and entry.compress_type == zipfile.ZIP_DEFLATED)
    if not known or entry.file_size > MOST_SHRUNK * entry.compress_size + MIB:
        raise FormatError(
            f"{entry.filename} has {entry.file_size:,} bytes in {entry.compress_size:,}, by method "
            f"{entry.compress_type}", file=place, fix="Do not install it: no real pack is compressed so.",
        )  # fmt: skip


def _check_name(name: str, place: Path) -> None:
    if name not in LIMITS:
        raise FormatError(
            f"{name[:80]!r} is in it, which no pack has (known: {', '.join(LIMITS)})", file=place,
            fix="Do not install it: it is no pack of this format, or somebody has changed it.",
        )  # fmt: skip


def _check_size(size: int, name: str, place: Path) -> None:
    if size > LIMITS[name]:
        raise FormatError(
            f"{name} has {size:,} bytes, at most {LIMITS[name]:,} are read", file=place,
            fix="Do not install it: no real pack is so large.",
        )  # fmt: skip


def _read(opened: object, name: str, place: Path) -> bytes:
    """Read a file as far as its limit, and no further, whatever its header says."""
    content: bytes = opened.read(LIMITS[name] + 1)  # type: ignore[attr-defined]
    _check_size(len(content), name, place)
    return content


def write_files(files: Mapping[str, bytes], path: Path) -> None:
    """Write a pack whole or not at all: one file where the name ends in ``.babelpack``, else a folder.

    The same content gives the same bytes.

    Args:
        files: content by name.
        path: where it shall stand; nothing stands there yet.

    Raises:
        SettingError: something stands there.
        BabelclipError: the place cannot be written to.
    """
    if path.exists():
        raise SettingError(f"{path} exists", fix="Choose a new name; nothing is overwritten.")
    if path.suffix == SUFFIX:
        write_whole(path, zip_files(files))
        return
    with new_folder(path) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Return a pack as one file, a zip without times: equal packs give equal bytes.

    Tensors are stored as they are (float16 rows hardly shrink), JSON is compressed.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            opened.writestr(entry, files[name])
    return buffer.getvalue()
