"""What was learnt, on disk: the lexicon's files, and where there is something to write three more.

modules.json            for each kind of modules its options
modules.safetensors     tensors named kind/owner/name
remembered.safetensors  what methods keep for the next language, named method.name
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor

from babelclip.acquirers.base import Acquirers
from babelclip.acquirers.kinds import KINDS
from babelclip.acquirers.learnt import Learnt
from babelclip.encoders import DualEncoder
from babelclip.encoders.names import name_anywhere
from babelclip.errors import FormatError
from babelclip.lexicon import Lexicon
from babelclip.lexicon.store import load_lexicon, pack_lexicon, read_lexicon_file

MODULES, TENSORS, REMEMBERED = "modules.json", "modules.safetensors", "remembered.safetensors"
_Options = TypeAdapter(dict[str, dict[str, int | float]])


def pack_learnt(learnt: Learnt, base: Lexicon, encoder: DualEncoder) -> dict[str, bytes]:
    """Return the files of what was learnt on a base model, in the order in which they are to be written."""
    beside: dict[str, bytes] = {}
    if learnt.acquirers.kinds:
        options = {name: kind.options for name, kind in learnt.acquirers.kinds.items()}
        beside = {
            TENSORS: _as_bytes(learnt.acquirers.tensors()), MODULES: (json.dumps(options, indent=1) + "\n").encode()
        }  # fmt: skip
    if learnt.remembered:
        beside[REMEMBERED] = _as_bytes(learnt.remembered)
    return pack_lexicon(
        learnt.lexicon, base, base_name=name_anywhere(encoder.name), fingerprint=encoder.fingerprint,
        shape=asdict(encoder.text_tower.shape), beside=beside,
    )  # fmt: skip


def load_learnt(folder: Path, base: Lexicon, encoder: DualEncoder, *, plug: bool = False) -> Learnt:
    """Read the files of ``pack_learnt`` onto their base model.

    Args:
        folder: where they lie.
        base: the base model's own lexicon.
        encoder: the base model.
        plug: let it be another base model with the same tokenizer and the same shape of its text tower.

    Raises:
        FormatError: a file is missing or damaged, or they were learnt on another base model.
        UnknownNameError: a kind of modules is of a newer babelclip.
    """
    shape = encoder.text_tower.shape
    lexicon = load_lexicon(folder, base, fingerprint=encoder.fingerprint, shape=asdict(shape), plug=plug)
    beside = read_lexicon_file(folder).beside
    remembered = load_file(folder / REMEMBERED) if REMEMBERED in beside else {}
    if MODULES not in beside:
        return Learnt(lexicon, remembered=remembered)
    file = folder / MODULES
    try:
        kinds = _Options.validate_json(file.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise FormatError(problem, file=file, fix="The file is damaged: learn the languages again.") from error
    modules = Acquirers({name: KINDS[name](shape, **options) for name, options in kinds.items()})
    modules.load(load_file(folder / TENSORS), encoder.device)
    return Learnt(lexicon, modules, remembered)


def _as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as a safetensors file; those that share memory are written apart."""
    return save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()})
