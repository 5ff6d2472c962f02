"""What every store checks before it writes or searches, and the errors that all of them raise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import BabelclipError, DataError, FormatError, SettingError, UnknownNameError
from babelclip.files import is_utf8
from babelclip.search.items import Item, Skipped
from babelclip.search.store import FORMAT, About


class UnknownRowError(UnknownNameError):
    """There is no such row in an index."""

    def __init__(self, place: str, id: str) -> None:
        """Name the row and the index; its other rows are too many to be named."""
        BabelclipError.__init__(
            self, f"there is no row {id!r} in this index", file=place, fix="It may be gone by now: search again."
        )


def read_about(text: str, place: str, fix: str) -> About:
    """Return what a store says of itself from its JSON.

    Raises:
        FormatError: it is damaged, or of a newer format.
    """
    import pydantic_core

    try:
        raw = pydantic_core.from_json(text)
        found = raw["format"]
        if isinstance(found, int) and found > FORMAT:
            what = f"the index has format {found}, this babelclip reads formats up to {FORMAT}"
            raise FormatError(what, file=place, fix="Install a newer babelclip.")
        return About.model_validate(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"damaged: what the index says of itself cannot be read ({error})", file=place, fix=fix
        ) from error


def begun(about: About | None, place: str) -> About:
    """Return what a store says of itself.

    Raises:
        SettingError: nothing was written yet.
    """
    if about is None:
        raise SettingError(
            "no index was begun here", file=place, fix="Call write_about first, or choose another place."
        )
    return about


def same_width(before: int, dim: int, rows: int, place: str) -> None:
    """Refuse to change the width of vectors that are there.

    Raises:
        SettingError: there are rows of another width.
    """
    if rows and before != dim:
        what = f"the index holds {rows} rows of width {before}, the model makes vectors of width {dim}"
        raise SettingError(what, file=place, fix="Use the model of the index, or begin another index.")


def stacked(items: Sequence[Item], skipped: Sequence[Skipped], dim: int, place: str) -> NDArray[np.float32]:
    """Return the (N, dim) vectors of rows that may be written.

    Raises:
        DataError: a vector has another width or is not finite, two rows have one id, a file is given twice, or its
            name is not Unicode.
    """
    fix = "Index these files again with the model of the index."
    for path in {item.file.path for item in items} | {one.file.path for one in skipped}:
        if not is_utf8(path):
            raise DataError(f"the name {path!r} is not Unicode", file=place, fix="Rename the file.")
    ids: set[str] = set()
    for item in items:
        if item.vector.shape != (dim,):
            what = f"a vector of {item.file.path!r} has the shape {item.vector.shape}, the index holds ({dim},)"
            raise DataError(what, file=place, fix=fix)
        if item.id in ids:
            raise DataError(f"two rows of {item.file.path!r} have the moment {item.moment:.3f}", file=place, fix=fix)
        ids.add(item.id)
    matrix = np.stack([item.vector for item in items]).astype(np.float32) if items else np.zeros((0, dim), np.float32)
    if not np.isfinite(matrix).all():
        path = items[int(np.flatnonzero(~np.isfinite(matrix).all(1))[0])].file.path
        raise DataError(f"a vector of {path!r} holds numbers that are not finite", file=place, fix=fix)
    both = {item.file.path for item in items} & {one.file.path for one in skipped}
    if both:
        raise DataError(f"{min(both)!r} is given as indexed and as skipped", file=place, fix="Give it once.")
    return matrix


def matrix_of(queries: NDArray[np.float32], k: int, dim: int, place: str) -> NDArray[np.float32]:
    """Return queries as a (Q, dim) matrix that lies in one piece.

    Raises:
        SettingError: they have another shape, or ``k`` is below 1.
    """
    if queries.ndim != 2 or queries.shape[1] != dim:
        what = f"the queries have the shape {queries.shape}, the index holds vectors of width {dim}"
        raise SettingError(what, file=place, fix="Encode them with the model of the index.")
    if k < 1:
        raise SettingError(f"k is {k}, at least 1 is possible", file=place, fix="Ask for one row or more.")
    return np.ascontiguousarray(queries, np.float32)
