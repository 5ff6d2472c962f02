"""Where the files of a model lie: the built-in one, a folder, or a hub id, of which only small files are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.encoders.facts import ModelFacts, read_facts
from babelclip.encoders.headers import OPEN_CLIP_WEIGHTS, WEIGHTS, Weight, has_weights, no_weights, read_headers
from babelclip.encoders.load import local_folder
from babelclip.encoders.model_config import CONFIG, OPEN_CLIP_CONFIG
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SMALL = ("*.json", "*.txt", "*.model")
"""Files that are fetched from a hub: config, tokenizer, picture preparation, the list of the weights' parts."""


@dataclass(frozen=True)
class Found:
    """A model that was found.

    Attributes:
        folder: its files.
        facts: what it is.
        here: whether its weights are on this machine; a hub's are not fetched.
    """

    folder: Path
    facts: ModelFacts
    here: bool


def find_model(name: str) -> Found:
    """Find a model and read what it is; no weight is loaded, and none is fetched.

    Args:
        name: ``pictoclip``, a folder, or a hub id.

    Raises:
        ModelError: there is no such model, or it is none that we can read; says what is missing, and the way out.
    """
    folder = local_folder(name)
    if folder is not None:
        if not any((folder / file).is_file() for file in (CONFIG, OPEN_CLIP_CONFIG)):
            return Found(folder, read_facts(folder, {}, name=name), here=False)  # says what is missing
        return Found(folder, read_facts(folder, read_headers(folder), name=name), here=True)
    folder, weights = _look_at_hub(name)
    here = weights is None
    return Found(folder, read_facts(folder, read_headers(folder) if weights is None else weights, name=name), here)


def _look_at_hub(name: str) -> tuple[Path, dict[str, Weight] | None]:
    """Fetch the small files of a hub id; return their folder, and the headers of weights that are not there yet."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(SMALL)))
        return folder, None if has_weights(folder) else _ask_headers(HfApi(), name)
    except ModelError:
        raise
    except Exception as error:  # the hub's client has kinds of its own for what can go wrong on the way
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"cannot look at {name!r} on the hub: {reason}",
            fix="Check the id (owner/name) and the connection, or give a folder of the model.",
        ) from error


def _ask_headers(api: HfApi, name: str) -> dict[str, Weight]:
    """Read the headers of a hub's weights, a few kilobytes of each file."""
    held = api.list_repo_files(name)
    wanted = next((one for one in (WEIGHTS, OPEN_CLIP_WEIGHTS) if one in held), None)
    parts = [wanted] if wanted else [one for one in held if one.startswith("model-") and one.endswith(".safetensors")]
    if not parts:
        raise no_weights(held, name)
    found: dict[str, Weight] = {}
    for part in parts:
        for key, one in api.parse_safetensors_file_metadata(name, part).tensors.items():
            found[key] = Weight(str(one.dtype), tuple(one.shape), one.data_offsets[1] - one.data_offsets[0])
    return found
