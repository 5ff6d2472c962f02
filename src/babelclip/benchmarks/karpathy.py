"""Andrej Karpathy's split files: ``images``, each with ``filename``, ``split`` and ``sentences`` of ``raw``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from babelclip.data.tables import read_json
from babelclip.errors import DataError
from babelclip.files import file_state

FIX = "Restore the file from its source."
T = TypeVar("T")
SPLITS = ("train", "val", "test")


@dataclass(slots=True, frozen=True)
class Sentence:
    """One caption."""

    raw: str


@dataclass(slots=True, frozen=True)
class Image:
    """One picture and its captions; ``filepath`` and ``cocoid`` are in the file of COCO only."""

    filename: str
    split: str
    sentences: list[Sentence]
    filepath: str = ""
    cocoid: int | None = None

    @property
    def name(self) -> str:
        """Its path below the folder of the pictures."""
        return f"{self.filepath}/{self.filename}" if self.filepath else self.filename


@dataclass(slots=True, frozen=True)
class _File:
    images: list[Image]
    language: str | None = None


def read_karpathy(file: Path, *, language: str | None = None, restval: bool = False) -> list[Image]:
    """Read a split file.

    Args:
        file: the file.
        language: what it must call its language; None where it names none.
        restval: whether COCO's fourth split ``restval`` is allowed; as usual it counts as ``train``.

    Raises:
        DataError: it is missing, damaged, of another form or language, or a picture stands there twice.
    """
    found = _parse(file, file_state(file))
    if language is not None and found.language != language:
        raise DataError(f"the language is {found.language!r}, expected {language!r}", file=file, fix=FIX)
    for number, image in enumerate(found.images):
        if image.split not in SPLITS and not (restval and image.split == "restval"):
            raise DataError(f"image {number}: the split is {image.split!r}", file=file, fix="Use train, val or test.")
    return found.images


def in_split(image: Image, split: str) -> bool:
    """Whether a picture belongs to a split, ``restval`` being training data."""
    return image.split == split or (split == "train" and image.split == "restval")


@lru_cache(maxsize=8)
def _parse(file: Path, _state: tuple[int, int] | None) -> _File:
    found = check_form(_File, read_json(file), file)
    seen: set[str] = set()
    for number, image in enumerate(found.images):
        if image.name in seen:
            raise DataError(f"image {number}: {image.name!r} stands there twice", file=file, fix=FIX)
        seen.add(image.name)
    return found


@lru_cache(maxsize=32)
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def check_form(form: type[T], content: object, file: Path, *, line: int | None = None) -> T:
    """Turn parsed JSON into a typed value.

    Raises:
        DataError: it has another form; names the place in the file.
    """
    hashable: Any = form
    try:
        value: T = _adapter(hashable).validate_python(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the content"
        raise DataError(f"{place}: {problem['msg']}", file=file, line=line, fix=FIX) from error
    return value
