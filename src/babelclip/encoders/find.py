"""Where the files of a model lie: the built-in one, a folder, or a hub id, of which only small files are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from babelclip.encoders.facts import ModelFacts, read_facts
from babelclip.encoders.headers import Weight, has_weights, read_headers
from babelclip.encoders.hub import HubName, fetch_small, list_files, reaching, weights_of
from babelclip.encoders.load import hub_name, local_folder
from babelclip.encoders.model_config import CONFIG, OPEN_CLIP_CONFIG
from babelclip.errors import ModelError


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
        name: ``pictoclip``, a folder, or a hub id, ``owner/name`` or ``owner/name@revision``.

    Raises:
        ModelError: there is no such model, or it is none that we can read; says what is missing, and the way out.
    """
    folder = local_folder(name)
    if folder is not None:
        if not any((folder / file).is_file() for file in (CONFIG, OPEN_CLIP_CONFIG)):
            return Found(folder, read_facts(folder, {}, name=name), here=False)  # says what is missing
        return Found(folder, read_facts(folder, read_headers(folder), name=name), here=True)
    folder, weights = _look_at_hub(hub_name(name))
    here = weights is None
    return Found(folder, read_facts(folder, read_headers(folder) if weights is None else weights, name=name), here)


def _look_at_hub(name: HubName) -> tuple[Path, dict[str, Weight] | None]:
    """Fetch a hub's small files; return their folder, and the headers of weights that are not there yet."""
    try:
        folder = fetch_small(name)
        with reaching(name):
            return folder, None if has_weights(folder) else _ask_headers(name)
    except ModelError as error:
        raise ModelError(f"cannot look at {str(name)!r} on the hub: {error.what}", fix=error.fix) from error


def _ask_headers(name: HubName) -> dict[str, Weight]:
    """Read the headers of a hub's weights, a few kilobytes of each file."""
    from huggingface_hub import HfApi

    api = HfApi()
    held, found = list_files(name), {}
    for part in weights_of([] if held is None else held.files, name):
        read = api.parse_safetensors_file_metadata(name.repository, part, revision=name.revision)
        for key, one in read.tensors.items():
            found[key] = Weight(str(one.dtype), tuple(one.shape), one.data_offsets[1] - one.data_offsets[0])
    return found
