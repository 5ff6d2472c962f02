"""Names, types and shapes of weights, from the headers of safetensors files; no weight is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from babelclip.errors import ModelError

WEIGHTS, OPEN_CLIP_WEIGHTS = "model.safetensors", "open_clip_model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LONGEST = 100_000_000
"""Bytes of a header, at most: the format's own limit."""
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
}  # fmt: skip
_AGAIN = "The file is damaged or cut off: get it again from where it came from."


@dataclass(frozen=True)
class Weight:
    """One tensor of a file.

    Attributes:
        dtype: as safetensors writes it, such as ``F32`` or ``F16``.
        shape: its sizes.
        bytes: on disk.
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_headers(folder: Path) -> dict[str, Weight]:
    """Return all weights of a model's folder by name, those of all parts where there are several.

    Raises:
        ModelError: there are no weights, only pickled ones, a part is missing, or a header is damaged.
    """
    found: dict[str, Weight] = {}
    for file in weight_files(folder):
        found |= read_header(file)
    return found


def has_weights(folder: Path) -> bool:
    """Whether a folder holds all parts of a model's weights."""
    try:
        return bool(weight_files(folder))
    except ModelError:
        return False


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold a model.

    Raises:
        ModelError: there are none, only pickled weights, or a part is missing.
    """
    index = folder / INDEX
    if index.is_file():
        names = sorted(set(_weight_map(index).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{len(missing)} of {len(names)} parts of the weights are missing, first {missing[0]}",
                file=folder, fix=f"Put them beside {INDEX}, or get the model again.",
            )  # fmt: skip
        return [folder / name for name in names]
    for name in (WEIGHTS, OPEN_CLIP_WEIGHTS):
        if (folder / name).is_file():
            return [folder / name]
    raise no_weights([file.name for file in folder.iterdir()], folder)


def no_weights(names: list[str], place: Path | str) -> ModelError:
    """Return the error that a model has no weights that we read; ``names``: the files that it has."""
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if pickles:
        return ModelError(
            f"its weights are pickled ({', '.join(pickles[:3])}), and opening a pickle runs whatever code is in it; "
            "babelclip reads safetensors only",
            file=place, fix="Get the model.safetensors of the same model (a newer revision, or the hub's branch "
            "refs/pr/N that its converter made); or, where you trust the file, load it once with the tool it came "
            "from and write it with save_pretrained.",
        )  # fmt: skip
    others = sorted(name for name in names if name.endswith(".safetensors"))
    seen = f"; it holds {', '.join(others[:3])}, under names that transformers does not look for" if others else ""
    return ModelError(
        f"there are no weights: no {WEIGHTS} and no {INDEX}{seen}", file=place,
        fix="Give a complete model folder, as save_pretrained writes it.",
    )  # fmt: skip


def read_header(file: Path) -> dict[str, Weight]:
    """Return the weights of one safetensors file by name, in the order of their names; only its header is read.

    Raises:
        ModelError: the file cannot be read, or its header is damaged or promises more than the file holds.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, LONGEST):
                raise ModelError(
                    f"no safetensors file: its header would be {length:,} bytes long, the file has {size:,}",
                    file=file, fix=_AGAIN,
                )  # fmt: skip
            content = json.loads(opened.read(length))
        found, end = _entries(content), size - 8 - length
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"the weights cannot be read ({reason})", file=file, fix="Correct the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"the header of the weights is damaged ({error})", file=file, fix=_AGAIN) from error
    total = sum(one.bytes for one in found.values())
    if total != end:
        raise ModelError(
            f"the header promises {total:,} bytes of weights, the file holds {end:,}", file=file, fix=_AGAIN
        )
    return found


def _entries(content: Mapping[str, Any]) -> dict[str, Weight]:
    found = {}
    for name in sorted(content.keys() - {"__metadata__"}):
        entry = content[name]
        begin, end = entry["data_offsets"]
        one = Weight(str(entry["dtype"]), tuple(int(side) for side in entry["shape"]), int(end) - int(begin))
        expected = one.size * BITS[one.dtype] // 8 if one.dtype in BITS else one.bytes
        if one.bytes != expected or min(one.shape, default=0) < 0 or begin < 0:
            raise ValueError(f"{name!r} of shape {one.shape} and type {one.dtype} has {one.bytes} bytes")
        found[name] = one
    return found


def _weight_map(index: Path) -> dict[str, str]:
    """Which file holds each weight."""
    try:
        names: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
        if any(Path(name).name != name for name in names.values()):
            raise ValueError("a part lies outside of the folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the list of the weights' parts is damaged ({error})", file=index, fix=_AGAIN) from error
    return names
