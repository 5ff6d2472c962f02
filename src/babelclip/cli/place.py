"""Where an index lies and which model it is searched with: what ``index``, ``search`` and ``serve`` share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.cli.console import quieten
from babelclip.config import DEFAULT_MODEL
from babelclip.encoders.names import name_anywhere
from babelclip.errors import ModelError
from babelclip.search.store import VectorStore

if TYPE_CHECKING:
    from babelclip.packs import Polyglot

PLACE = "BABELCLIP_INDEX"


@dataclass(frozen=True)
class Place:
    """Where things are.

    Attributes:
        store: the index.
        model: a base model or a folder of packs; None for what the index was made with.
        device: where to run.
    """

    store: str | None
    model: str | None
    device: str | None


def place_of(store: str | None) -> str:
    """Where the index is: as told, as the environment says, or the user's own."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return store or os.environ.get(PLACE) or str(data / "babelclip" / "index")


def model_of(store: VectorStore, place: Place) -> str:
    """Name of the model that was asked for, or that the index was made with; a folder by its whole path."""
    about = store.about()
    return name_anywhere(place.model or (about.model if about else DEFAULT_MODEL))


def load_model(store: VectorStore, place: Place) -> Polyglot:
    """Load what was asked for, or what the index was made with.

    Raises:
        ModelError: it cannot be loaded; where the index named it, that is said.
    """
    from babelclip.packs import load_polyglot
    from babelclip.search.looking import Limits

    quieten()
    about = store.about()
    name = model_of(store, place)
    try:
        return load_polyglot(name, device=place.device, frames=(about or Limits()).frames)
    except ModelError as error:
        if place.model is not None or about is None:
            raise
        raise ModelError(
            f"the index was made with the model {name!r}, but {error.what}",
            file=store.place, fix="Say where it lies now: --model FOLDER; `babelclip index` with it remembers that.",
        ) from error  # fmt: skip
