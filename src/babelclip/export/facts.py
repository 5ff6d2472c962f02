"""``export.json``: what an exported folder holds, for babelclip itself: ``babelclip push`` makes a hub card of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from babelclip import __version__
from babelclip.encoders.names import name_for_others
from babelclip.errors import FormatError
from babelclip.packs.card import PackCard

if TYPE_CHECKING:
    from babelclip.encoders import DualEncoder
    from babelclip.export.leaving import Leaving

FACTS = "export.json"


class ExportFacts(BaseModel):
    """The content of ``export.json``.

    Attributes:
        format: version of the format.
        version: of the babelclip that wrote it.
        to: the tool.
        base: name and fingerprint of the base model; of a folder only the last part of its name.
        folders: tag -> where that language lies in this folder; ``.`` for the folder itself.
        shared: whether the languages share one vocabulary.
        cards: what the packs say of themselves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    version: str
    to: str
    base: dict[Literal["name", "fingerprint"], str]
    folders: Annotated[dict[str, str], Field(min_length=1)]
    shared: bool
    cards: list[PackCard]


def write_facts(
    encoder: DualEncoder, leavings: Sequence[Leaving], to: str, folders: dict[str, str], place: Path
) -> None:
    """Write ``export.json``.

    Args:
        encoder: the base model.
        leavings: what the folder holds.
        to: the tool.
        folders: where each language lies in it.
        place: the folder.

    Raises:
        OSError: it cannot be written to.
    """
    made = ExportFacts(
        version=__version__, to=to, base={"name": name_for_others(encoder.name), "fingerprint": encoder.fingerprint},
        folders=folders, shared=any(one.shared for one in leavings),
        cards=[card.model_copy(update={"files": {}}) for one in leavings for card in one.cards],
    )  # fmt: skip
    content: dict[str, Any] = made.model_dump()
    (place / FACTS).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_facts_of(folder: Path) -> ExportFacts:
    """Read ``export.json``.

    Raises:
        FormatError: it is missing or damaged.
    """
    file = folder / FACTS
    try:
        return ExportFacts.model_validate_json(file.read_bytes())
    except OSError as error:
        raise FormatError(f"there is no {FACTS}", file=folder, fix="Export again with this babelclip.") from error
    except ValidationError as error:
        raise FormatError(error.errors()[0]["msg"], file=file, fix="Export again with this babelclip.") from error
