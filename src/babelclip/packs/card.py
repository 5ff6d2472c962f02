"""``pack.json``: what a pack says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from babelclip.errors import DataError, FormatError
from babelclip.languages import normalise_tag

FORMAT = 1
CARD = "pack.json"
ROW_DTYPES = ("float32", "float16", "int8")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2_000)]
Count = Annotated[int, Field(ge=0)]


def _is_tag(tag: str) -> str:
    """Refuse a tag that is not written as we write it: it names a folder."""
    try:
        usual = normalise_tag(tag)
    except DataError as error:
        raise ValueError(error.what) from error
    if usual != tag:
        raise ValueError(f"{tag!r} is written {usual!r}")
    return tag


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseModelCard(_Strict):
    """The base model that a pack was learnt on.

    Attributes:
        name: ``pictoclip``, a hub id, or the last part of a folder's name.
        fingerprint: of weights, tokenizer and picture preparation.
        tokenizer: sha256 of its tokenizer.
        shape: sizes of its text tower.
    """

    name: Text
    fingerprint: Sha256
    tokenizer: Sha256
    shape: dict[str, int]


class DataCard(_Strict):
    """What a pack was learnt from; the texts themselves are not in it.

    Attributes:
        name: of the data, such as its file.
        fingerprint: of texts, pictures and vectors; empty where unknown.
        texts: number of training texts.
        pictures: number of their pictures.
    """

    name: Text = ""
    fingerprint: Text = ""
    texts: Count = 0
    pictures: Count = 0


class Measured(_Strict):
    """Scores on held-out captions, with the rows as the pack stores them.

    Attributes:
        data: name of the captions.
        texts: their number.
        pictures: size of the gallery.
        scores: metric -> percent, directly after learning.
        before: the same of the base model.
    """

    data: Text
    texts: Count
    pictures: Count
    scores: dict[str, float]
    before: dict[str, float] = {}


class File(_Strict):
    """A file beside ``pack.json``."""

    sha256: Sha256
    bytes: Count


class PackCard(_Strict):
    """The content of ``pack.json``.

    Attributes:
        format: version of the format.
        language: BCP-47 tag.
        base: the base model.
        method: names joined by ``+``.
        settings: of the task.
        rows: how token rows are stored: ``float32``, ``float16``, or ``int8`` with a scale a row.
        modules: kinds of modules of the text tower with their options; empty for none.
        data: what it was learnt from.
        licence: of the pack, as its author says; empty where they do not.
        note: anything else that users should know.
        metrics: scores on held-out captions.
        files: the other files of the pack.
    """

    format: Literal[1] = 1
    language: Annotated[str, AfterValidator(_is_tag)]
    base: BaseModelCard
    method: Text
    settings: dict[str, int | float | str | bool | None] = {}
    rows: Literal["float32", "float16", "int8"]
    modules: dict[str, dict[str, int | float]] = {}
    data: DataCard = DataCard()
    licence: Text = ""
    note: Text = ""
    metrics: list[Measured] = []
    files: dict[str, File] = {}


def read_card(content: bytes, file: Path) -> PackCard:
    """Check ``pack.json``.

    Args:
        content: its bytes.
        file: where they came from, for messages.

    Raises:
        FormatError: it is damaged or of another format.
    """
    try:
        return PackCard.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        if place == "format":
            raise FormatError(
                f"{CARD} has format {problem['input']!r}, this babelclip reads {FORMAT}",
                file=file, fix="Use a matching babelclip, or build the pack again.",
            ) from error  # fmt: skip
        raise FormatError(
            f"{CARD}: {place}: {problem['msg']}", file=file, fix="The pack is damaged: get it again."
        ) from error
