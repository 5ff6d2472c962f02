"""Modules on disk: plain JSON and safetensors; nothing at all where a student has none.

modules.json          format; for each kind its options; sha256 of the tensors
modules.safetensors   tensors named kind/owner/name
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file, save

from babelclip.acquirers.base import Acquirers
from babelclip.acquirers.kinds import KINDS
from babelclip.encoders import DualEncoder
from babelclip.errors import FormatError
from babelclip.files import sha256, write_whole

FORMAT = 1
MODULES, TENSORS = "modules.json", "modules.safetensors"


class _ModulesFile(BaseModel):
    """The content of ``modules.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int
    kinds: dict[str, dict[str, int | float]]
    sha256: str


def pack_modules(modules: Acquirers) -> dict[str, bytes]:
    """Return the files of modules by name, in the order in which they are to be written; none where there are none."""
    if not modules.kinds:
        return {}
    tensors = save({name: tensor.contiguous() for name, tensor in modules.tensors().items()})
    options = {name: kind.options for name, kind in modules.kinds.items()}
    content = _ModulesFile(format=FORMAT, kinds=options, sha256=hashlib.sha256(tensors).hexdigest())
    return {TENSORS: tensors, MODULES: (json.dumps(content.model_dump(), indent=1) + "\n").encode()}


def save_modules(modules: Acquirers, folder: Path) -> None:
    """Write modules into a folder; files of earlier ones go where there are none now."""
    files = pack_modules(modules)
    for name in (MODULES, TENSORS):
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)


def load_modules(folder: Path, encoder: DualEncoder) -> Acquirers:
    """Read modules onto their base model; an empty set where the folder has none.

    Raises:
        FormatError: a file is damaged, or of a newer babelclip.
    """
    file = folder / MODULES
    if not file.is_file():
        return Acquirers()
    again = "The file is damaged: learn the languages again."
    try:
        content = _ModulesFile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise FormatError(f"{error.errors()[0]['msg']}", file=file, fix=again) from error
    if content.format != FORMAT:
        raise FormatError(
            f"format {content.format}, this babelclip reads {FORMAT}", file=file, fix="Use a matching babelclip."
        )
    tensors = folder / TENSORS
    if not tensors.is_file() or (found := sha256(tensors)) != content.sha256:
        what = "missing" if not tensors.is_file() else f"sha256 is {found[:12]}, {MODULES} says {content.sha256[:12]}"
        raise FormatError(what, file=tensors, fix=again)
    shape = encoder.text_tower.shape
    modules = Acquirers({name: KINDS[name](shape, **options) for name, options in content.kinds.items()})
    modules.load(load_file(tensors), encoder.device)
    return modules
