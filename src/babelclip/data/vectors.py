"""Picture vectors that were computed before, by whatever means: an array and the ids of its rows.

    FILE.npy           (N, dim) float16, float32 or float64, not normalised, as the base model's projection gives them
    FILE.ids.txt       N lines, the id of each row; or, where there is no such file, image_ids.txt in the same folder

An id is what stands in the image column of a caption file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from babelclip.data.features import Features
from babelclip.data.tables import read_lines
from babelclip.errors import DataError
from babelclip.files import sha256

IDS = "image_ids.txt"
BLOCK = 65_536  # rows looked at together
TYPES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class ImageVectors:
    """Vectors of pictures by id.

    Attributes:
        file: where they lie.
        dim: their width.
        fingerprint: sha256 over vectors and ids.
    """

    file: Path
    dim: int
    fingerprint: str
    _vectors: Tensor = field(repr=False, compare=False)
    _row_of: dict[str, int] = field(repr=False, compare=False)

    def __contains__(self, name: str) -> bool:
        """Whether there is a vector for a picture."""
        return Path(name).as_posix() in self._row_of

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._row_of)

    def features(self, names: Sequence[Path]) -> Features:
        """Return the vectors of pictures that are all there."""
        rows = torch.tensor([self._row_of[name.as_posix()] for name in names], dtype=torch.int64)
        return Features([self._vectors], rows)


def read_image_vectors(file: Path, ids: Path | None = None) -> ImageVectors:
    """Map an array of vectors into memory and read the ids of its rows.

    Args:
        file: a ``.npy`` file; pickled objects are refused.
        ids: the ids' file, if it is not one of the two that the module names.

    Raises:
        DataError: a file is missing or damaged, a vector is not finite, ids are not unique, or their number is not that
            of the rows.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError("there is no such file", file=file, fix="Correct the path of the picture vectors.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not a .npy array ({error})", file=file, fix="Write it with numpy.save.") from error
    if getattr(array, "ndim", 0) != 2 or array.dtype not in TYPES or not array.size:
        shape = f"{getattr(array, 'shape', '?')} {getattr(array, 'dtype', '?')}"
        raise DataError(f"the array is {shape}", file=file, fix="Expected (pictures, dim) of float16, 32 or 64.")
    for start in range(0, len(array), BLOCK):
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused
            bad = ~np.isfinite(array[start : start + BLOCK].astype(np.float32)).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise DataError(
                f"the vector of row {row} is not finite in float32", file=file, fix="Compute the vectors again."
            )
    ids = ids or next((one for one in (file.with_suffix(".ids.txt"), file.with_name(IDS)) if one.is_file()), None)
    if ids is None:
        raise DataError(
            "the vectors have no ids", file=file, fix=f"Put {file.stem}.ids.txt or {IDS} beside it, one id a line."
        )
    row_of: dict[str, int] = {}
    for line, text in read_lines(ids):
        name = Path(text.strip()).as_posix()
        if name in row_of:
            raise DataError(f"the id {name!r} stands there twice", file=ids, line=line, fix="Ids must be unique.")
        row_of[name] = len(row_of)
    if len(row_of) != len(array):
        raise DataError(
            f"{len(row_of)} ids, but {file.name} has {len(array)} rows", file=ids, fix="Give each row one id."
        )
    # A read-only map: torch warns of it unless the tensor is made from a writable view, and nobody writes to it.
    vectors = torch.from_numpy(np.lib.format.open_memmap(file, mode="c"))
    return ImageVectors(file, array.shape[1], sha256(file)[:32] + sha256(ids)[:32], vectors, row_of)
