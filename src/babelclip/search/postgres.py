"""An index on a PostgreSQL server with pgvector, for many machines that search one collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import BabelclipError, SettingError
from babelclip.search.checks import UnknownRowError, begun, matrix_of, stacked
from babelclip.search.items import File, Filter, Hit, Item, Skipped, item_id
from babelclip.search.postgres_server import PostgresSchema

if TYPE_CHECKING:
    import psycopg

COLUMNS = (
    "id", "path", "bytes", "modified", "content", "kind", "moment", "taken", "width", "height", "seconds", "thumbnail",
    "vector",
)  # fmt: skip
TYPES = (
    "text", "text", "int8", "int8", "text", "text", "float8", "float8", "int4", "int4", "float8", "bytea", "vector",
)  # fmt: skip

WIDEST, MOST = 2000, 1000
"""HNSW of pgvector takes vectors up to this width, and looks at no more candidates than this."""

MEMORY = (64 << 10, 4 << 20)
"""Building an index may take as much of the server's memory as the vectors do, but so many kB at least and at most."""


class PostgresStore(PostgresSchema):
    """Rows in a schema of a database, read and written by any number of machines; one writes at a time.

    Every write is a transaction. The approximate index is ``hnsw`` with 16 neighbours a row; ``effort`` is how many
    candidates a search keeps, and twice that when building. Where a search with it finds fewer than k rows, because of
    a narrow filter or a large k, that query is searched exactly.
    """

    def files(self, folders: Sequence[str] = ()) -> Iterator[File]:
        """See ``VectorStore``."""
        if self.about() is None:
            return
        text, values = _condition(Filter(folders=tuple(folders)))
        with self.transaction() as connection, connection.cursor("files") as cursor:
            cursor.itersize = 10_000
            cursor.execute(self.sql("SELECT DISTINCT path, bytes, modified, content FROM {items}") + text, values)
            for row in cursor:
                yield File(*row)

    def skipped(self, folders: Sequence[str] = ()) -> Iterator[Skipped]:
        """See ``VectorStore``."""
        if self.about() is None:
            return
        text, values = _condition(Filter(folders=tuple(folders)))
        with self.transaction() as connection:
            query = self.sql("SELECT path, bytes, modified, content, reason FROM {skipped}") + text
            found = connection.execute(query, values).fetchall()
        for *of_file, reason in found:
            yield Skipped(File(*of_file), reason)

    def search(
        self, queries: NDArray[np.float32], k: int, where: Filter | None = None, *, exact: bool = False
    ) -> list[list[Hit]]:
        """See ``VectorStore``; all queries go to the server at once."""
        about = begun(self.about(), self.place)
        matrix = matrix_of(queries, k, about.dim, self.place)
        with self.transaction() as connection:
            if exact or about.index is None:
                return self._search(connection, matrix, k, where, {"enable_indexscan": "off"})
            settings = {"hnsw.ef_search": str(min(MOST, max(k, about.index.effort)))}
            settings |= {"hnsw.iterative_scan": "strict_order"} if self.iterative else {}
            found = self._search(connection, matrix, k, where, settings)
            few = [q for q, hits in enumerate(found) if len(hits) < k]
            for q, hits in zip(
                few, self._search(connection, matrix[few], k, where, {"enable_indexscan": "off"}), strict=True
            ):
                found[q] = hits
        return found

    def _search(
        self,
        connection: psycopg.Connection[Any],
        queries: NDArray[np.float32],
        k: int,
        where: Filter | None,
        settings: dict[str, str],
    ) -> list[list[Hit]]:
        """Search under settings of the server, which hold until the end of the transaction."""
        text, values = _condition(where)
        query = (
            self.sql(
                "SELECT id, path, kind, moment, taken, width, height, seconds, -(vector <#> %(query)s) FROM {items}"
            )
            + text
            + self.sql(" ORDER BY vector <#> %(query)s, id LIMIT %(k)s")
        )
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        with connection.pipeline():  # never prepared: a plan made for an exact search would be kept for others
            cursors = [connection.execute(query, values | {"query": one, "k": k}, prepare=False) for one in queries]
            return [[Hit(*row) for row in cursor.fetchall()] for cursor in cursors]

    def thumbnail(self, id: str) -> bytes | None:
        """See ``VectorStore``."""
        if self.about() is None:
            return None
        with self.transaction() as connection:
            row = connection.execute(
                self.sql("SELECT thumbnail FROM {items} WHERE id = %s"), [id], binary=True
            ).fetchone()
        return None if row is None else bytes(row[0])

    def path_of(self, id: str) -> str | None:
        """See ``VectorStore``."""
        if self.about() is None:
            return None
        with self.transaction() as connection:
            row = connection.execute(self.sql("SELECT path FROM {items} WHERE id = %s"), [id]).fetchone()
        return None if row is None else str(row[0])

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """See ``VectorStore``."""
        about = begun(self.about(), self.place)
        with self.transaction() as connection:
            query = self.sql("SELECT id, vector FROM {items} WHERE id = ANY(%s)")
            known = dict(connection.execute(query, [list(set(ids))], binary=True).fetchall())
        for id in ids:
            if id not in known:
                raise UnknownRowError(self.place, id)
        return _matrix([known[id] for id in ids], about.dim)

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """See ``VectorStore``."""
        about = begun(self.about(), self.place)
        with self.transaction() as connection:
            query = self.sql("SELECT vector FROM {items} ORDER BY md5(id || %s), id LIMIT %s")
            found = connection.execute(query, [f" {seed}", count], binary=True).fetchall()
        return _matrix([row[0] for row in found], about.dim)

    def put(self, items: Sequence[Item], skipped: Sequence[Skipped] = ()) -> None:
        """See ``VectorStore``; all of it or nothing."""
        about = begun(self.about(), self.place)
        vectors = stacked(items, skipped, about.dim, self.place)
        paths = sorted({item.file.path for item in items} | {one.file.path for one in skipped})
        if not paths:
            return
        with self.transaction() as connection:
            self._forget(connection, paths)
            with connection.cursor() as cursor:
                copy_in = self.sql("COPY {items} (") + _names() + self.sql(") FROM STDIN (FORMAT BINARY)")
                with cursor.copy(copy_in) as copy:
                    copy.set_types(TYPES)
                    for item, vector in zip(items, vectors, strict=True):
                        copy.write_row([*_of_file(item.id, item.file), *_of_item(item), vector])
                query = self.sql(
                    "INSERT INTO {skipped} (path, bytes, modified, content, reason) VALUES (%s, %s, %s, %s, %s)"
                )
                rows = [[*_of_file("", one.file)[1:], one.reason.replace("\0", "\ufffd")] for one in skipped]
                cursor.executemany(query, rows)

    def copy(self, source: str, target: File) -> None:
        """See ``VectorStore``.

        Raises:
            UnknownNameError: the source has no rows.
        """
        begun(self.about(), self.place)
        with self.transaction() as connection:
            query = self.sql("SELECT moment FROM {items} WHERE path = %s ORDER BY moment")
            moments = [row[0] for row in connection.execute(query, [source]).fetchall()]
            if not moments:
                raise UnknownRowError(self.place, source)
            if source != target.path:
                self._forget(connection, [target.path])
            insert = self.sql(
                "INSERT INTO {items} (id, path, bytes, modified, content, kind, moment, taken, width, height, seconds, "
                "thumbnail, vector) SELECT %s, %s, %s, %s, %s, kind, moment, taken, width, "
                "height, seconds, thumbnail, vector FROM {items} WHERE path = %s AND moment = %s "
                "ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes, modified = excluded.modified, "
                "content = excluded.content"
            )
            for moment in moments:
                of_file = _of_file(item_id(target.path, moment), target)
                connection.execute(insert, [*of_file, source, moment])

    def remove(self, paths: Sequence[str]) -> None:
        """See ``VectorStore``."""
        begun(self.about(), self.place)
        with self.transaction() as connection:
            self._forget(connection, paths)

    def _forget(self, connection: psycopg.Connection[Any], paths: Sequence[str]) -> None:
        connection.execute(self.sql("DELETE FROM {items} WHERE path = ANY(%s)"), [list(paths)])
        connection.execute(self.sql("DELETE FROM {skipped} WHERE path = ANY(%s)"), [list(paths)])

    def build(self, effort: int) -> str:
        """See ``VectorStore``; ``effort`` counts when building too.

        Raises:
            SettingError: the vectors are wider than pgvector can index.
        """
        about = begun(self.about(), self.place)
        if about.dim > WIDEST:
            what = f"pgvector indexes vectors up to width {WIDEST}, these have {about.dim}"
            raise SettingError(what, file=self.place, fix="Search exactly, or keep the index in a folder.")
        least, most = MEMORY
        memory = min(most, max(least, len(self) * (4 * about.dim + 400) // 1024))
        ready = min(MOST, max(64, 2 * effort))
        try:
            self._build(memory, ready)
        except BabelclipError as error:
            # Parallel workers share memory that some containers hardly have; one process needs none of it.
            if not isinstance(error.__cause__, self._psycopg.errors.DiskFull):
                raise
            self._build(memory, ready, {"max_parallel_maintenance_workers": "0"})
        return "hnsw"

    def _build(self, memory: int, ready: int, settings: dict[str, str] | None = None) -> None:
        with self.transaction() as connection:
            for name, value in ({"maintenance_work_mem": f"{memory}kB"} | (settings or {})).items():
                connection.execute("SELECT set_config(%s, %s, true)", [name, value])
            create = self.sql(
                "CREATE INDEX items_vector_new ON {items} USING hnsw (vector vector_ip_ops) "
                "WITH (ef_construction = {ready})",
                ready=ready,
            )
            connection.execute(create)
            connection.execute(self.sql("DROP INDEX IF EXISTS {schema}.items_vector"))
            connection.execute(self.sql("ALTER INDEX {schema}.items_vector_new RENAME TO items_vector"))
            connection.execute(self.sql("ANALYZE {items}"))

    def drop(self) -> None:
        """See ``VectorStore``."""
        about = self.about()
        if about is None:
            return
        if about.index is not None:
            self.write_about(about.model_copy(update={"index": None}))
        with self.transaction() as connection:
            connection.execute(self.sql("DROP INDEX IF EXISTS {schema}.items_vector"))

    def tidy(self) -> None:
        """See ``VectorStore``; new rows enter the approximate index when they are written."""
        if self.about() is not None:
            with self.transaction(whole=False) as connection:
                connection.execute(self.sql("VACUUM (ANALYZE) {items}, {skipped}"))


def _names() -> Any:
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, COLUMNS))


def _of_file(id: str, file: File) -> list[Any]:
    return [id, file.path, file.bytes, file.modified, file.content]


def _of_item(item: Item) -> list[Any]:
    return [item.kind, item.moment, item.taken, item.width, item.height, item.seconds, item.thumbnail]


def _condition(where: Filter | None) -> tuple[Any, dict[str, Any]]:
    """A filter in SQL, beginning with WHERE, and its values; no text where all rows count."""
    from psycopg import sql

    parts, values = [], dict[str, Any]()
    if where is not None and where.folders:
        parts.append(sql.SQL("(path = ANY(%(folders)s) OR path ^@ ANY(%(inside)s))"))
        values |= {"folders": list(where.folders), "inside": [folder.rstrip("/") + "/" for folder in where.folders]}
    if where is not None:
        for name, test in (
            ("since", "taken >= %(since)s"),
            ("before", "taken < %(before)s"),
            ("kind", "kind = %(kind)s"),
        ):
            if getattr(where, name) is not None:
                parts.append(sql.SQL(test))
                values[name] = getattr(where, name)
    text = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(parts) if parts else sql.SQL("")
    return text, values


def _matrix(vectors: Sequence[Any], dim: int) -> NDArray[np.float32]:
    """Vectors of pgvector as a (N, dim) matrix."""
    if not vectors:
        return np.zeros((0, dim), np.float32)
    return np.stack([vector.to_numpy() for vector in vectors]).astype(np.float32)
