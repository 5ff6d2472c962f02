"""Rows of an index as Arrow tables, and conditions on them in Lance's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from babelclip.search.items import File, Filter, Hit, Item, Skipped

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("id", "path", "kind", "moment", "taken", "width", "height", "seconds")
"""Columns of a hit."""

FILE = ("path", "bytes", "modified", "content")
"""Columns of a file."""


def items_schema(dim: int) -> pa.Schema:
    """Columns of the table of pictures and moments, for vectors of width ``dim``."""
    import pyarrow as pa

    shown = (("kind", pa.string()), ("moment", pa.float64()), ("taken", pa.float64()), ("width", pa.int32()))
    rest = (("height", pa.int32()), ("seconds", pa.float64()), ("thumbnail", pa.binary()))
    return pa.schema([("id", pa.string()), *_file_fields(), *shown, *rest, ("vector", pa.list_(pa.float32(), dim))])


def skipped_schema() -> pa.Schema:
    """Columns of the table of what was skipped."""
    import pyarrow as pa

    return pa.schema([*_file_fields(), ("reason", pa.string())])


def _file_fields() -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    return list(zip(FILE, (pa.string(), pa.int64(), pa.int64(), pa.string()), strict=True))


def items_table(items: Sequence[Item], vectors: NDArray[np.float32]) -> pa.Table:
    """Rows with their (N, dim) vectors as a table."""
    import pyarrow as pa

    columns: dict[str, Any] = _file_columns(item.file for item in items)
    for name in ("id", "kind", "moment", "taken", "width", "height", "seconds", "thumbnail"):
        columns[name] = [getattr(item, name) for item in items]
    schema = items_schema(vectors.shape[1])
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def skipped_table(skipped: Sequence[Skipped]) -> pa.Table:
    """What was skipped as a table."""
    import pyarrow as pa

    columns = _file_columns(one.file for one in skipped)
    return pa.table(columns | {"reason": [one.reason for one in skipped]}, schema=skipped_schema())


def _file_columns(files: Iterable[File]) -> dict[str, list[Any]]:
    listed = list(files)
    return {name: [getattr(file, name) for file in listed] for name in FILE}


def file_of(row: dict[str, Any]) -> File:
    """A file from its four columns."""
    return File(**{name: row[name] for name in FILE})


def hit_of(row: dict[str, Any]) -> Hit:
    """A row that was found, from its columns and its dot distance."""
    return Hit(**{name: row[name] for name in SHOWN}, score=1.0 - row["_distance"])


def literal(text: str) -> str:
    """A string in SQL: quotes are doubled, nothing else has a meaning."""
    return "'" + text.replace("'", "''") + "'"


def _number(value: float) -> str:
    return f"CAST('{float(value)!r}' AS DOUBLE)"  # also for inf


def one_of(column: str, values: Iterable[str]) -> str:
    """The condition that a column has one of some values; at least one is given."""
    return f"{column} IN ({', '.join(map(literal, values))})"


def inside(folders: Sequence[str]) -> str:
    """The condition that a file lies in one of some folders, at any depth; empty where none is given."""
    return " OR ".join(
        f"path = {literal(folder)} OR starts_with(path, {literal(folder.rstrip('/') + '/')})" for folder in folders
    )


def condition(where: Filter | None) -> str:
    """A filter in SQL; empty where all rows count."""
    if where is None:
        return ""
    parts = [inside(where.folders)]
    parts.append("" if where.since is None else f"taken >= {_number(where.since)}")
    parts.append("" if where.before is None else f"taken < {_number(where.before)}")
    parts.append("" if where.kind is None else f"kind = {literal(where.kind)}")
    return " AND ".join(f"({part})" for part in parts if part)
