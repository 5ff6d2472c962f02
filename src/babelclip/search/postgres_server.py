"""The schema of an index on a PostgreSQL server: connections, what it says of itself, and what can go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, LiteralString
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from babelclip.errors import BabelclipError, FormatError, MissingExtraError, SettingError
from babelclip.search.checks import read_about, same_width
from babelclip.search.store import About

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

SCHEMA = "babelclip"

PLAIN_UP_TO = 1800
"""Vectors up to this width lie in the rows themselves (a page has 8 kB), and are not fetched from elsewhere."""

PATIENCE = {
    "lock_timeout": "1s", "tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"
}  # fmt: skip
"""A server takes a moment to see that a writer was killed, and a minute to see that its machine is gone."""

UNREACHABLE = ("08", "28", "3D", "57")
"""Classes of SQLSTATE: no connection, no right to connect, no such database, ended by an operator."""

BEGIN: tuple[LiteralString, ...] = (
    "DROP TABLE IF EXISTS {items}, {skipped}",
    'CREATE TABLE {items} (id text COLLATE "C" PRIMARY KEY, path text NOT NULL, bytes bigint NOT NULL, '
    "modified bigint NOT NULL, content text NOT NULL, kind text NOT NULL, moment float8 NOT NULL, "
    "taken float8 NOT NULL, width int NOT NULL, height int NOT NULL, seconds float8 NOT NULL, "
    "thumbnail bytea NOT NULL, vector vector({dim}) NOT NULL)",
    "CREATE TABLE {skipped} (path text NOT NULL, bytes bigint NOT NULL, modified bigint NOT NULL, "
    "content text NOT NULL, reason text NOT NULL)",
    "CREATE INDEX items_path ON {items} USING hash (path)",
    "CREATE INDEX skipped_path ON {skipped} USING hash (path)",
    "CREATE TABLE IF NOT EXISTS {about} (content text NOT NULL)",
)


class PostgresSchema:
    """A schema with a table of what the index says of itself, of its rows, and of what was skipped.

    Attributes:
        place: the server's address without a password.
    """

    def __init__(self, url: str) -> None:
        """Name the server, the database and the schema; nothing is connected yet.

        Args:
            url: ``postgresql://user:password@host:port/database?schema=babelclip``, with any option of libpq.

        Raises:
            MissingExtraError: psycopg or pgvector is not installed.
            SettingError: the address is none.
        """
        try:
            import pgvector.psycopg
            import psycopg
        except ImportError as error:
            raise MissingExtraError("psycopg and pgvector", "postgres", "An index on a PostgreSQL server") from error
        self._psycopg, self._register = psycopg, pgvector.psycopg.register_vector
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, keep_blank_values=True))
            self.schema = options.pop("schema", SCHEMA) or SCHEMA
            self._address = urlunsplit(parts._replace(query=urlencode(options, quote_via=quote)))
            known: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(self._address)
            _check_parts(known, parts.fragment)
        except (ValueError, psycopg.Error):
            fix = "Write postgresql://user:password@host:port/database; in a password, @ is %40, / is %2F, # is %23."
            raise SettingError("is no address of a PostgreSQL server", file="postgresql://...", fix=fix) from None
        user = f"{known['user']}@" if "user" in known else ""
        port = f":{known['port']}" if "port" in known else ""
        self.place = f"postgresql://{user}{known.get('host', '')}{port}/{known.get('dbname', '')}?schema={self.schema}"
        self._patience: dict[str, Any] = {} if "connect_timeout" in known else {"connect_timeout": 10}
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self.iterative = False

    def about(self) -> About | None:
        """Return what the store says of itself; None where nothing was written yet.

        Raises:
            FormatError: the schema is damaged, of a newer format, or holds something else.
        """
        with self.transaction() as connection:
            found = connection.execute("SELECT to_regclass(%s)", [f'{_quoted(self.schema)}."about"']).fetchone()
            row = None
            if found is not None and found[0] is not None:
                row = connection.execute(self.sql("SELECT content FROM {about}")).fetchone()
            if row is None:
                self._check_ours(connection)
                return None
        return read_about(row[0], self.place, self._damaged)

    def _check_ours(self, connection: psycopg.Connection[Any]) -> None:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1 LIMIT 1"
        found = connection.execute(query, [self.schema]).fetchone()
        if found is not None:
            what = f"the schema {self.schema!r} holds a table {found[0]!r}, but says nothing of an index"
            raise FormatError(what, file=self.place, fix="Choose a new one: add ?schema=NAME to the address.")

    def write_about(self, about: About) -> None:
        """Make the tables, or replace what the store says of itself.

        Raises:
            SettingError: there are rows of another width; the server lacks pgvector; the user may not make tables.
        """
        before = self.about()
        if before is not None:
            same_width(before.dim, about.dim, len(self), self.place)
        with self.transaction() as connection:
            if before is None:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                exists = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [self.schema]).fetchone()
                if exists is None:
                    connection.execute(self.sql("CREATE SCHEMA {schema}"))
                self._prepare(connection)
            if before is None or before.dim != about.dim:
                for statement in BEGIN:
                    connection.execute(self.sql(statement, dim=about.dim))
                if about.dim <= PLAIN_UP_TO:
                    connection.execute(self.sql("ALTER TABLE {items} ALTER COLUMN vector SET STORAGE PLAIN"))
            connection.execute(self.sql("DELETE FROM {about}"))
            connection.execute(self.sql("INSERT INTO {about} VALUES (%s)"), [about.model_dump_json()])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; the server takes it back when the process ends, however it ends.

        Raises:
            SettingError: another process holds it.
        """
        key = int.from_bytes(hashlib.sha256(f"babelclip {self.schema}".encode()).digest()[:8], "big", signed=True)
        with self._telling():
            connection = self._connect()
        try:
            with self._telling():
                for name, value in PATIENCE.items():
                    connection.execute("SELECT set_config(%s, %s, false)", [name, value])
                connection.execute("SELECT pg_advisory_lock(%s)", [key])
            yield
        finally:
            connection.close()

    def __len__(self) -> int:
        """Number of rows."""
        if self.about() is None:
            return 0
        with self.transaction() as connection:
            found = connection.execute(self.sql("SELECT count(*) FROM {items}")).fetchone()
        return 0 if found is None else int(found[0])

    def close(self) -> None:
        """Give back connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def sql(self, text: LiteralString, **values: int) -> Composed:
        """Put the names of the tables, and numbers, into a statement."""
        from psycopg import sql

        names = {name: sql.Identifier(self.schema, name) for name in ("items", "skipped", "about")}
        literals = {name: sql.Literal(value) for name, value in values.items()}
        return sql.SQL(text).format(schema=sql.Identifier(self.schema), **names, **literals)

    @contextlib.contextmanager
    def transaction(self, *, whole: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection, of which there are as many as threads need, in a transaction.

        Args:
            whole: all statements are one transaction; without it, each is one.

        Raises:
            BabelclipError: the server cannot be reached, or refuses.
        """
        with self._telling():
            connection = self._borrow()
            try:
                with connection.transaction() if whole else contextlib.nullcontext():
                    yield connection
            except self._psycopg.OperationalError:
                if connection.closed:
                    self.close()  # the others have most likely lost the server too
                raise
            finally:
                if not connection.closed:
                    with self._lock:
                        self._idle.append(connection)

    def _borrow(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._psycopg.connect(self._address, autocommit=True, **self._patience)
        self._prepare(connection)
        return connection

    def _prepare(self, connection: psycopg.Connection[Any]) -> None:
        """Let a connection know pgvector's types and operators, in whichever schema they are installed."""
        query = (
            "SELECT set_config('search_path', quote_ident(nspname), false), extversion FROM pg_extension "
            "JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
        )
        found = connection.execute(query).fetchone()
        if found is not None:
            self.iterative = tuple(int(part) for part in found[1].split(".")[:2]) >= (0, 8)
            self._register(connection)

    @property
    def _damaged(self) -> str:
        return f"Remove it with DROP SCHEMA {_quoted(self.schema)} CASCADE and index again."

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what the server says in our words."""
        errors = self._psycopg.errors
        try:
            yield
        except (
            errors.UndefinedTable,
            errors.UndefinedColumn,
            errors.DatatypeMismatch,
            errors.UndefinedObject,
        ) as error:
            raise FormatError(f"damaged ({_first_line(error)})", file=self.place, fix=self._damaged) from error
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            fix = "Install pgvector on the server: https://github.com/pgvector/pgvector#installation"
            raise SettingError(f"the server lacks pgvector ({_first_line(error)})", file=self.place, fix=fix) from error
        except errors.InsufficientPrivilege as error:
            fix = f"Let its owner run: CREATE EXTENSION vector; CREATE SCHEMA {_quoted(self.schema)} AUTHORIZATION you."
            raise SettingError(f"the user may not do this ({_first_line(error)})", file=self.place, fix=fix) from error
        except errors.LockNotAvailable as error:
            what = "another process is writing to this index"
            raise SettingError(what, file=self.place, fix="Wait until it has ended, or end it.") from error
        except self._psycopg.Error as error:
            unknown = isinstance(error, self._psycopg.OperationalError) and error.sqlstate is None
            if unknown or (error.sqlstate or "")[:2] in UNREACHABLE:
                fix = "Start the server, or mend host, port, database, user or password."
                raise SettingError(f"cannot be reached ({_first_line(error)})", file=self.place, fix=fix) from error
            fix = "See the server's log; what was there before stays."
            raise BabelclipError(f"the server refuses ({_first_line(error)})", file=self.place, fix=fix) from error


def _check_parts(known: dict[str, Any], rest: str) -> None:
    """Refuse an address whose password has spilled over into other parts, which are shown in messages."""
    spilled = rest or any("@" in str(known.get(name, "")) for name in ("host", "port", "dbname"))
    if spilled or not str(known.get("port", "0")).replace(",", "0").isdigit():
        raise ValueError("a part of the address holds what it cannot")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300] or type(error).__name__
