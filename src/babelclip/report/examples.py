"""Queries with the pictures that they find, for people who want to see it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.functional import normalize

from babelclip.data import Examples
from babelclip.encoders import open_picture
from babelclip.languages import LANGUAGES, language_name

Encode = Callable[[Sequence[str]], Tensor]
"""Texts to vectors (N, dim)."""

RIGHT_TO_LEFT = ("Arab", "Hebr")
SHOWN, PIXELS = 5, 72


@dataclass(frozen=True)
class Found:
    """A picture that a query found: its data URI, the English name of what it shows, whether it is the right one."""

    picture: str
    label: str
    right: bool


@dataclass(frozen=True)
class Query:
    """A query, what it means, the first pictures found, and the place of the right one, counted from 1."""

    text: str
    english: str
    found: list[Found]
    place: int


@dataclass(frozen=True)
class LanguageQueries:
    """The queries of one language."""

    tag: str
    name: str
    direction: str
    queries: list[Query]


def find_examples(encode: Encode, examples: Examples, *, count: int = 5) -> LanguageQueries:
    """Run ``count`` queries of a language over all pictures of ``examples``.

    Which queries are shown depends on their English texts alone (the smallest SHA-256), never on how well they do, so
    all languages show the same ones where they name the same pictures.
    """
    by_hash = sorted(range(len(examples.texts)), key=lambda i: hashlib.sha256(examples.english[i].encode()).digest())
    chosen = by_hash[:count]
    texts = normalize(encode([examples.texts[i] for i in chosen]), dim=-1)
    scores = texts @ normalize(examples.images[:], dim=-1).T
    label = {int(image): examples.english[i] for i, image in enumerate(examples.owner.tolist())}
    queries = []
    for i, row in zip(chosen, scores, strict=True):
        owner = int(examples.owner[i])
        best = row.topk(min(SHOWN, len(row))).indices.tolist()
        found = [Found(_data_uri(examples.files[image]), label[image], image == owner) for image in best]
        place = int((row > row[owner]).sum()) + 1
        queries.append(Query(examples.texts[i], examples.english[i], found, place))
    script = LANGUAGES.get(examples.language, ("", ""))[1]
    direction = "rtl" if script in RIGHT_TO_LEFT else "ltr"
    return LanguageQueries(examples.language, language_name(examples.language), direction, queries)


def find_all_examples(encode: Encode, tests: Sequence[Examples]) -> list[LanguageQueries]:
    """The same for several languages."""
    return [find_examples(encode, test) for test in tests]


def _data_uri(file: Path) -> str:
    """A small copy of a picture that can stand inside a page."""
    picture = open_picture(file)
    picture.thumbnail((PIXELS, PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
