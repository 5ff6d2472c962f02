"""Search an index with texts of any installed language, with pictures, with both, and without what is not wanted.

    q = sum of u(text) + sum of u(picture) - WITHOUT * sum of u(unwanted text),     u(x) = x / |x|

and the best rows are those of the largest cosine with q. Of a video the best moment counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.encoders.pictures import open_picture
from babelclip.errors import FormatError, SettingError
from babelclip.files import is_utf8
from babelclip.languages import normalise_tag
from babelclip.packs.polyglot import AUTO, Polyglot
from babelclip.packs.router import Reason, Route
from babelclip.search.claim import check_model
from babelclip.search.items import Filter, Hit
from babelclip.search.store import VectorStore

WITHOUT = 0.5
"""Weight of what is not wanted: at 1, a picture that shows neither would be the best."""
MOST = 1_000
"""Results of one search, at most."""
MOST_PIXELS = 80_000_000
"""Of a picture that is searched with."""


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        text: in any installed language; empty where only pictures are given.
        language: its tag, or None where it is to be found out.
        minus: texts of what is not wanted, in the same language.
        pictures: contents of picture files, or their paths.
        like: ids of rows of the index.
        k: number of files, at most ``MOST``.
        where: which files count.
    """

    text: str = ""
    language: str | None = None
    minus: tuple[str, ...] = ()
    pictures: tuple[bytes | Path, ...] = ()
    like: tuple[str, ...] = ()
    k: int = 20
    where: Filter = field(default_factory=Filter)

    @property
    def texts(self) -> list[str]:
        """All texts, the wanted one first."""
        return [*([self.text] if self.text.strip() else []), *self.minus]

    def check(self) -> None:
        """Refuse what cannot be searched for.

        Raises:
            SettingError: nothing is wanted, a text is not UTF-8, or too many results.
        """
        if not (self.text.strip() or self.pictures or self.like):
            raise SettingError("nothing to search for", fix="Give a text, a picture, or both.")
        for text in self.texts:
            if not is_utf8(text):
                raise SettingError(
                    f"the text {text!r} is not UTF-8", fix="Type it in a terminal or file that is UTF-8."
                )
        if not 1 <= self.k <= MOST:
            raise SettingError(f"k is {self.k}", fix=f"Ask for 1 to {MOST:,} results.")


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        hits: best first, each file once.
        route: the language of the text; None where there is no text.
        given: whether the language was given and not found out.
        seconds: what it took.
        items: rows of the index when it was searched.
    """

    hits: list[Hit]
    route: Route | None
    given: bool
    seconds: float
    items: int


class Searcher:
    """A polyglot and an index of its base model. Packs come and go (``polyglot`` is replaced), the index stays."""

    def __init__(self, polyglot: Polyglot, store: VectorStore) -> None:
        """Check that they belong together.

        Raises:
            FormatError: nothing was indexed yet, or with another base model.
        """
        about = store.about()
        if about is None:
            raise FormatError(
                "there is no index", file=store.place, fix="Make one: babelclip index FOLDER, with the same --store."
            )
        check_model(store, about, polyglot.encoder)
        self.polyglot, self.store, self.about = polyglot, store, about

    def search(self, query: Query) -> Answer:
        """Return what is nearest to a query; see ``search_all`` for errors."""
        return self.search_all([query])[0]

    def search_all(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer several queries; their texts go through the tower together.

        Raises:
            SettingError: nothing is asked for, a text is not UTF-8, or a language must be given because a pack cannot
                be recognised.
            UnknownNameError: a language is not installed, or a row is not in the index.
            DataError: a picture cannot be opened.
        """
        started = time.perf_counter()
        for query in queries:
            query.check()
        routes = self._routes(queries)
        vectors = iter(self._encode(queries, routes))
        directions, total = [], len(self.store)
        for query in queries:
            wanted = [next(vectors)] if query.text.strip() else []
            unwanted = [next(vectors) for _ in query.minus]
            wanted += self._pictures(query.pictures)
            wanted += torch.from_numpy(self.store.vectors(query.like)) if query.like else []
            directions.append(torch.stack(wanted).sum(0) - WITHOUT * sum(unwanted, torch.zeros(self.about.dim)))
        found = self._nearest(normalize(torch.stack(directions), dim=1).numpy(), queries, total)
        seconds = time.perf_counter() - started
        return [
            Answer(hits, route, _given(query), seconds, total)
            for hits, query, route in zip(found, queries, routes, strict=True)
        ]

    def _routes(self, queries: Sequence[Query]) -> list[Route | None]:
        """The language of each query's text; one that is given is certain."""
        routes: list[Route | None] = [None] * len(queries)
        open_ones = [n for n, query in enumerate(queries) if query.texts and not _given(query)]
        found = self.polyglot.route([queries[n].texts[0] for n in open_ones]) if open_ones else None
        for place, number in enumerate(open_ones):
            routes[number] = found[place] if found is not None else None
        for number, query in enumerate(queries):
            if query.texts and _given(query):
                routes[number] = Route(normalise_tag(str(query.language)), 1.0, None, 0.0, Reason.ALONE)
        return routes

    def _encode(self, queries: Sequence[Query], routes: Sequence[Route | None]) -> Tensor:
        """(T, dim) unit vectors of all texts; only the first text of a query is routed, the others follow it."""
        texts, tags = [], []
        for query, route in zip(queries, routes, strict=True):
            for place, text in enumerate(query.texts):
                texts.append(text)
                tags.append(None if route is None or (place == 0 and not _given(query)) else route.tag)
        return normalize(self.polyglot.encode_texts(texts, language=tags), dim=1)

    def _pictures(self, pictures: Sequence[bytes | Path]) -> list[Tensor]:
        if not pictures:
            return []
        encoder = self.polyglot.encoder
        pixels = encoder.prepare([open_picture(one, most_pixels=MOST_PIXELS) for one in pictures])
        return list(normalize(encoder.encode_pixels(pixels), dim=1))

    def _nearest(self, directions: NDArray[np.float32], queries: Sequence[Query], total: int) -> list[list[Hit]]:
        """The best row of each file; rows are asked for until there are k files or no more rows."""
        found: list[list[Hit]] = [[] for _ in queries]
        groups: dict[tuple[int, Filter], list[int]] = {}
        for number, query in enumerate(queries):
            groups.setdefault((query.k, query.where), []).append(number)
        for (k, where), members in groups.items():
            rows, waiting = k, members
            while waiting and total:
                hits = self.store.search(directions[waiting], min(rows, total), where)
                again = []
                for number, one in zip(waiting, hits, strict=True):
                    best: dict[str, Hit] = {}
                    for hit in one:  # best first, so the first of a file is its best
                        best.setdefault(hit.path, hit)
                    found[number] = list(best.values())[:k]
                    if len(found[number]) < k and len(one) == rows and rows < total:
                        again.append(number)
                rows, waiting = 4 * rows, again
        return found


def _given(query: Query) -> bool:
    return query.language is not None and query.language != AUTO
