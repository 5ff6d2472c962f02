"""Which file each of the vectors that were computed before is of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.errors import DataError
from babelclip.search.items import File

if TYPE_CHECKING:
    from babelclip.data import ImageVectors


def ids_of(files: Sequence[File], folders: Sequence[Path], vectors: ImageVectors) -> dict[str, str]:
    """Return the id of each file that has a vector, by its path: the path from a folder, else the name.

    An id that is the path of one file is not the name of another one.

    Args:
        files: in the folders.
        folders: absolute.
        vectors: by id.

    Raises:
        DataError: an id fits several files, and nobody knows whose vector it is; names two of them.
    """
    by_path, by_name = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for file in files:
        path = Path(file.path)
        inside = [path.relative_to(folder).as_posix() for folder in folders if path.is_relative_to(folder)]
        if known := [id for id in inside if id in vectors]:
            by_path[max(known, key=len)].append(file.path)
        elif path.name in vectors:
            by_name[path.name].append(file.path)
    meant = by_name | by_path
    for id, fitting in meant.items():
        if len(fitting) > 1:
            raise DataError(
                f"the id {id!r} fits several files, such as {fitting[0]} and {fitting[1]}", file=vectors.file,
                fix="Give each an id of its own, its path from the folder; index folders with equal paths one by one.",
            )  # fmt: skip
    return {fitting[0]: id for id, fitting in meant.items()}
