"""Places on this machine, in files that are about to leave it."""

from __future__ import annotations

import io
import mmap
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from babelclip.errors import SettingError

WORDS = ("tokenizer.json", "vocab.json", "merges.txt", "vocabulary.json")
"""Files full of pieces of words, some of which look like paths; in these only places of this user are looked for."""
ROOTS = ("data", "home", "media", "mnt", "private", "root", "scratch", "srv", "tmp", "Users", "var", "Volumes")
"""Where machines keep what belongs to people."""
_PATH = re.compile(rb"(?<![\w:/.~-])(/[\w.@+-]+/[\w.@+-]+)|(?<![\w])([A-Za-z]:\\\\?[\w.@+ -]+)")
_URL = re.compile(rb"file://\S+")
_SHORTEST = 5


def refuse_places(files: Mapping[str, Path | bytes], folder: Path) -> None:
    """Refuse files that hold a place of this machine.

    Looked for are the user's own places (home, working folder, the folder itself, temporary files) in all files, and in
    texts every absolute path that exists here or begins with one of ``ROOTS``, every drive and every ``file:`` address.

    Args:
        files: name -> a file, or its content.
        folder: where they lie.

    Raises:
        SettingError: naming the file and the place.
    """
    known = [re.compile(rb"(?<![\w.-])" + re.escape(place.encode()) + rb"(?![\w-])") for place in _own_places(folder)]
    for name, content in files.items():
        for part, text in _parts(name, content):
            held = next((match[0] for place in known if (match := place.search(text))), None)
            found = held or _guessed(part, text)
            if found is not None:
                raise SettingError(
                    f"{part} holds a place on this machine: {found.decode(errors='replace')}",
                    fix="Nothing is uploaded. Remove it from the file, or write the file again.",
                )


def _own_places(folder: Path) -> Iterator[str]:
    """What only this machine calls so; nothing as short as the root."""
    own = (Path.home(), Path.cwd(), folder.absolute(), folder.resolve().parent, Path(tempfile.gettempdir()).resolve())
    for place in dict.fromkeys(map(str, own)):
        if len(place) >= _SHORTEST:
            yield place
    yield "/tmp/"  # noqa: S108


def _parts(name: str, content: Path | bytes) -> Iterable[tuple[str, bytes | mmap.mmap]]:
    """The bytes of a file; of a pack, those of the files in it."""
    if name.endswith(".babelpack"):
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
            return [(f"{name}/{one}", opened.read(one)) for one in opened.namelist()]
    if isinstance(content, bytes) or not content.stat().st_size:
        return [(name, content if isinstance(content, bytes) else b"")]
    with content.open("rb") as file:
        return [(name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))]


def _guessed(name: str, text: bytes | mmap.mmap) -> bytes | None:
    """The first path in a text that exists here, or that only a machine can mean."""
    if Path(name).name in WORDS or not name.endswith((".json", ".md", ".txt")):
        return None
    if url := _URL.search(text):
        return url[0]
    for found in _PATH.finditer(text):
        path = (found[1] or b"").decode(errors="replace")
        if found[2] or path.split("/")[1] in ROOTS or Path(path).exists():
            return found[0]
    return None
