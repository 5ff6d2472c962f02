"""What the server does, without HTTP: search, embed, install."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from babelclip.encoders.pictures import open_picture
from babelclip.errors import BabelclipError, FormatError, SettingError
from babelclip.files import file_state
from babelclip.languages import NATIVE, language_name, normalise_tag, own_name
from babelclip.packs import Polyglot, install_pack, is_polyglot, load_pack
from babelclip.packs.container import SUFFIX
from babelclip.packs.installed import pack_files_of
from babelclip.packs.pack import Pack
from babelclip.search.query import MOST_PIXELS, Answer, Query, Searcher
from babelclip.search.store import VectorStore
from babelclip.search.wire import Json


@dataclass(frozen=True)
class Embedded:
    """Unit vectors (N, dim) of texts, and the language that each was taken for."""

    vectors: NDArray[np.float32]
    languages: list[str]


class Service:
    """A searcher that packs are installed into while others search.

    Attributes:
        searcher: replaced as a whole when a pack comes; who searches goes on with the one that they have.
        folder: of packs, where new ones are kept; None where they are forgotten when the server ends.
    """

    def __init__(self, polyglot: Polyglot, store: VectorStore, folder: Path | None) -> None:
        """Check that model and index belong together; see ``Searcher`` for errors."""
        self.searcher = Searcher(polyglot, store)
        self.folder = folder if folder is not None and is_polyglot(folder) else None
        self._installing = threading.Lock()
        self._seen: _Seen = {}
        self._seen = self._look()

    @property
    def polyglot(self) -> Polyglot:
        """The languages that are installed now."""
        return self.searcher.polyglot

    def search_all(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer several queries; see ``Searcher.search_all``."""
        return self.searcher.search_all(queries)

    def embed_texts(self, asked: Sequence[tuple[Sequence[str], str | None]]) -> list[Embedded]:
        """Return the unit vectors of some lists of texts, each with its language or None."""
        polyglot = self.polyglot
        texts = [text for some, _ in asked for text in some]
        tags = [language for some, language in asked for _ in some]
        found = polyglot.route([text for text, tag in zip(texts, tags, strict=True) if tag in _OPEN])
        routed = iter(found.tags)
        languages = [next(routed) if tag in _OPEN else normalise_tag(str(tag)) for tag in tags]
        vectors = normalize(polyglot.encode_texts(texts, language=tags), dim=1).numpy() if texts else _none(polyglot)
        result, start = [], 0
        for some, _ in asked:
            end = start + len(some)
            result.append(Embedded(vectors[start:end], languages[start:end]))
            start = end
        return result

    def embed_images(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the unit vectors (N, dim) of pictures.

        Raises:
            DataError: one cannot be opened.
        """
        encoder = self.polyglot.encoder
        if not pictures:
            return _none(self.polyglot)
        pixels = torch.cat([encoder.prepare([open_picture(one, most_pixels=MOST_PIXELS)]) for one in pictures])
        return normalize(encoder.encode_pixels(pixels), dim=1).numpy()

    def languages(self) -> list[Json]:
        """Return what can be searched in, the base model's own language first."""
        packs = self.polyglot.packs
        return [
            {
                "tag": tag,
                "name": language_name(tag),
                "own_name": own_name(tag),
                "base": tag == NATIVE,
                "score": _score(packs[tag]) if tag in packs else None,
            }
            for tag in self.polyglot.languages
        ]

    def install(self, content: bytes, *, replace: bool = False) -> str:
        """Check a pack, install it, and return its tag; searches go on meanwhile, and no other language changes.

        Raises:
            FormatError: it is damaged, or for another base model.
            SettingError: the language is installed already.
        """
        with self._installing, tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"pack{SUFFIX}"
            file.write_bytes(content)
            pack = self._load(file)
            grown = _ready(self.polyglot.install(pack, replace=replace), pack.language)
            if self.folder is not None:
                install_pack(self.folder, pack, grown.encoder, replace=replace)
                self._seen = self._look()
            self.searcher = Searcher(grown, self.searcher.store)
        return pack.language

    def follow(self) -> list[str]:
        """Take over what other processes have installed into the folder, replaced in it or removed from it.

        A pack that cannot be used is told in the log and left out; what is installed of its language stays.

        Returns:
            Tags of the languages that came, changed or went.
        """
        now = self._look()
        if now == self._seen:
            return []
        with self._installing:
            now, before = self._look(), self._seen
            self._seen, grown, changed = now, self.polyglot, []
            for tag in before.keys() - now.keys():
                if tag in grown.packs:
                    grown = grown.remove(tag)
                    changed.append(tag)
            for tag in sorted(tag for tag, state in now.items() if state != before.get(tag)):
                try:
                    pack = self._load(Path(str(self.folder)) / f"{tag}{SUFFIX}")
                    if pack.language != tag:
                        raise FormatError(f"the pack {tag}{SUFFIX} is for {pack.language!r}", fix="Rename it.")
                    grown = _ready(grown.install(pack, replace=True), tag)
                    changed.append(tag)
                except BabelclipError as error:
                    _log.warning("not installed: %s", error)
            if changed:
                self.searcher = Searcher(grown, self.searcher.store)
        return changed

    def _look(self) -> _Seen:
        """Size and time of each pack in the folder, by tag; a folder that is gone is as it was."""
        if self.folder is None or not is_polyglot(self.folder):
            return self._seen
        return {file.stem: file_state(file) for file in pack_files_of(self.folder)}

    def _load(self, file: Path) -> Pack:
        """A pack that can be routed to."""
        pack = load_pack(file, self.polyglot.encoder, self.polyglot.base)
        if pack.profiles is None:
            raise SettingError(
                f"the pack {pack.language!r} was built without texts, so its language cannot be recognised",
                fix="Build it again with --data.",
            )
        return pack


def _ready(polyglot: Polyglot, language: str) -> Polyglot:
    """The same, with everything made that is made when it is first needed, before anybody waits for it."""
    polyglot.encode_texts(["a"], language=language)
    polyglot.route(["a"])
    return polyglot


_OPEN = (None, "auto")
_Seen = dict[str, tuple[int, int] | None]
_log = logging.getLogger(__name__)


def _score(pack: Pack) -> float | None:
    """img_r10 that its card tells, in percent."""
    return next((one.scores["img_r10"] for one in pack.card.metrics if "img_r10" in one.scores), None)


def _none(polyglot: Polyglot) -> NDArray[np.float32]:
    return np.empty((0, polyglot.encoder.dim), dtype=np.float32)
