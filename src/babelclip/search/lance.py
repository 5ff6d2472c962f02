"""An index in a folder: an embedded LanceDB, two tables and ``about.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from babelclip.search import rows
from babelclip.search.checks import UnknownRowError, begun, matrix_of, stacked
from babelclip.search.items import File, Filter, Hit, Item, Skipped, item_id
from babelclip.search.lance_folder import ITEMS, SKIPPED, LanceFolder

if TYPE_CHECKING:
    import pyarrow as pa

KEEP = timedelta(minutes=10)
"""How long other processes may go on reading what was replaced."""

FEW, EACH, CHANGED, OUTSIDE = 16, 5_000, 0.2, 20_000
"""A table is tidied when it lies in more than a few small files and more than one for so many rows (a search opens each
of them), a larger share of its rows is new or gone, or more rows are outside the approximate index. LanceDB then writes
a table of up to a million rows anew: not too often.
"""

LEARNING = {"max_iterations": 20, "sample_rate": 128}
"""k-means over the cells: passes, and rows for each cell; LanceDB's 50 and 256 take longer and find hardly more."""

SPARE = 8
"""So many more rows are fetched than asked for, to see whether equal ones lie beyond the last."""

PATHS, QUERIES = 500, 64
"""How many paths or ids go into one condition, and queries into one search."""


class LanceStore(LanceFolder):
    """Rows in a folder, read by any number of processes while one writes.

    Every write of rows is one commit of LanceDB: seen whole or not at all. Replaced rows stay on disk for ten minutes,
    for whoever is reading them. The approximate index is ``ivf_flat``: square root of N cells, of which a search
    looks at ``effort``, by exact distances; a search under a filter goes on to further cells until it has k rows.
    """

    # Reading

    def files(self, folders: Sequence[str] = ()) -> Iterator[File]:
        """See ``VectorStore``."""
        names = list(rows.FILE)
        table = self.select(ITEMS, names, rows.inside(folders))
        if table is None:
            return
        for batch in table.group_by(names, use_threads=False).aggregate([]).to_batches(max_chunksize=10_000):
            yield from map(rows.file_of, batch.to_pylist())

    def skipped(self, folders: Sequence[str] = ()) -> Iterator[Skipped]:
        """See ``VectorStore``."""
        table = self.select(SKIPPED, rows.skipped_schema().names, rows.inside(folders))
        for row in [] if table is None else table.to_pylist():
            yield Skipped(rows.file_of(row), row["reason"])

    def search(
        self, queries: NDArray[np.float32], k: int, where: Filter | None = None, *, exact: bool = False
    ) -> list[list[Hit]]:
        """See ``VectorStore``; every query of a block costs little more than one alone."""
        about = begun(self.about(), self.place)
        matrix = matrix_of(queries, k, about.dim, self.place)
        effort = None if exact or about.index is None else about.index.effort
        found: list[list[Hit]] = []
        for first in range(0, len(matrix), QUERIES):
            found += self._search(matrix[first : first + QUERIES], k, k + SPARE, where, effort)
        return found

    def _search(
        self, queries: NDArray[np.float32], k: int, limit: int, where: Filter | None, effort: int | None
    ) -> list[list[Hit]]:
        """Search, and again with a larger limit where rows equal to the k-th may lie beyond it."""
        with self.reading():
            search = (
                self.table(ITEMS).search(queries if len(queries) > 1 else queries[0]).distance_type("dot").limit(limit)
            )
            if text := rows.condition(where):
                search = search.where(text, prefilter=True)
            if effort is None:
                search = search.bypass_vector_index()
            else:
                search = search.minimum_nprobes(effort).maximum_nprobes(0 if text else effort)
            table = search.select([*rows.SHOWN, "_distance"]).to_arrow()
        found: list[list[Hit]] = [[] for _ in queries]
        owners = table["query_index"].to_pylist() if len(queries) > 1 else [0] * len(table)
        for owner, row in zip(owners, table.to_pylist(), strict=True):
            found[owner].append(rows.hit_of(row))
        for hits in found:
            hits.sort(key=lambda hit: (-hit.score, hit.id))
        cut = [q for q, hits in enumerate(found) if len(hits) == limit and hits[-1].score == hits[k - 1].score]
        if cut:
            for q, hits in zip(cut, self._search(queries[cut], k, 4 * limit, where, effort), strict=True):
                found[q] = hits
        return [hits[:k] for hits in found]

    def thumbnail(self, id: str) -> bytes | None:
        """See ``VectorStore``."""
        found: bytes | None = self._value(id, "thumbnail")
        return found

    def path_of(self, id: str) -> str | None:
        """See ``VectorStore``."""
        found: str | None = self._value(id, "path")
        return found

    def _value(self, id: str, column: str) -> Any:
        table = self.select(ITEMS, [column], rows.one_of("id", [id]))
        return table[column][0].as_py() if table is not None and len(table) else None

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """See ``VectorStore``."""
        about = begun(self.about(), self.place)
        known: dict[str, NDArray[np.float32]] = {}
        for part in _parts(sorted(set(ids))):
            table = self.select(ITEMS, ["id", "vector"], rows.one_of("id", part))
            known.update(zip(table["id"].to_pylist(), _matrix(table, about.dim), strict=True))
        for id in ids:
            if id not in known:
                raise UnknownRowError(self.place, id)
        return np.stack([known[id] for id in ids]) if len(ids) else np.zeros((0, about.dim), np.float32)

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """See ``VectorStore``."""
        about = begun(self.about(), self.place)
        with self.reading():
            table = self.table(ITEMS)
            total = table.count_rows()
            chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
            if not len(chosen):
                return np.zeros((0, about.dim), np.float32)
            return _matrix(table.take_offsets(np.sort(chosen).tolist()).select(["vector"]).to_arrow(), about.dim)

    # Writing

    def put(self, items: Sequence[Item], skipped: Sequence[Skipped] = ()) -> None:
        """See ``VectorStore``."""
        about = begun(self.about(), self.place)
        vectors = stacked(items, skipped, about.dim, self.place)
        if items:
            self._replace(rows.items_table(items, vectors))
        if skipped:
            table, paths = rows.skipped_table(skipped), [one.file.path for one in skipped]
            with self.changing():
                merge = self.table(SKIPPED).merge_insert("path").when_matched_update_all()
                merge.when_not_matched_insert_all().execute(table)
            self._delete(ITEMS, paths)
        if items:
            self._delete(SKIPPED, sorted({item.file.path for item in items}))

    def _replace(self, table: pa.Table) -> None:
        """Write all rows of some files in the place of those that they had, in one commit."""
        paths = sorted(set(table["path"].to_pylist()))
        with self.changing():
            items = self.table(ITEMS)
            if not any(items.count_rows(rows.one_of("path", part)) for part in _parts(paths)):
                items.add(table)
                return
            merge = items.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.when_not_matched_by_source_delete(rows.one_of("path", paths)).execute(table)

    def copy(self, source: str, target: File) -> None:
        """See ``VectorStore``.

        Raises:
            UnknownNameError: the source has no rows.
        """
        import pyarrow as pa

        begun(self.about(), self.place)
        table = self.select(ITEMS, None, rows.one_of("path", [source]))
        if not len(table):
            raise UnknownRowError(self.place, source)
        columns: dict[str, list[Any]] = {"id": [item_id(target.path, moment) for moment in table["moment"].to_pylist()]}
        columns |= {name: [getattr(target, name)] * len(table) for name in rows.FILE}
        for name, values in columns.items():
            field = table.schema.field(name)
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
        self._replace(table)
        self._delete(SKIPPED, [target.path])

    def remove(self, paths: Sequence[str]) -> None:
        """See ``VectorStore``."""
        begun(self.about(), self.place)
        for name in (ITEMS, SKIPPED):
            self._delete(name, paths)

    def _delete(self, name: str, paths: Sequence[str]) -> None:
        with self.changing():
            table = self.table(name)
            for part in _parts(paths):
                text = rows.one_of("path", part)
                if table.count_rows(text):
                    table.delete(text)

    # Care

    def build(self, effort: int) -> str:
        """See ``VectorStore``; ``effort`` is taken at each search, so that the cells do not depend on it."""
        from lancedb.index import IvfFlat

        begun(self.about(), self.place)
        with self.changing():
            table = self.table(ITEMS)
            cells = max(1, round(sqrt(table.count_rows())))
            config = IvfFlat(distance_type="dot", num_partitions=cells, **LEARNING)
            table.create_index("vector", config=config, replace=True)
        return "ivf_flat"

    def drop(self) -> None:
        """See ``VectorStore``."""
        about = self.about()
        if about is None:
            return
        if about.index is not None:
            self.write_about(about.model_copy(update={"index": None}))
        with self.changing():
            table = self.table(ITEMS)
            for index in table.list_indices():
                if index.columns == ["vector"]:
                    table.drop_index(index.name)

    def tidy(self) -> None:
        """See ``VectorStore``."""
        if self.about() is None:
            return
        with self.changing():
            for name, keys in ((ITEMS, ("id", "path")), (SKIPPED, ("path",))):
                _tidy(self.table(name), keys)


def _tidy(table: Any, keys: Sequence[str]) -> None:
    """Index the columns by which rows are named, and put small files together, where that is worth it."""
    from lancedb.index import BTree

    stats = table.stats()
    total, pieces = stats["num_rows"], stats["fragment_stats"]
    indices = {index.columns[0]: index.name for index in table.list_indices()}
    for key in keys if total else ():
        if key not in indices:
            table.create_index(key, config=BTree())
    outside = {column: table.index_stats(name).num_unindexed_rows for column, name in indices.items()}
    new = max((rows for column, rows in outside.items() if column in keys), default=0)
    gone = pieces["num_fragments"] * pieces["lengths"]["mean"] - total
    many = pieces["num_small_fragments"] > max(FEW, total / EACH)
    if many or max(new, gone) > CHANGED * total or outside.get("vector", 0) > OUTSIDE:
        table.optimize(cleanup_older_than=KEEP)


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[first : first + PATHS] for first in range(0, len(names), PATHS))


def _matrix(table: pa.Table, dim: int) -> NDArray[np.float32]:
    """The column of vectors as a (N, dim) matrix."""
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, dim)
