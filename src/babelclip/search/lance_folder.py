"""The folder of a LanceDB index: its tables, what it says of itself, and what can be wrong with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from babelclip.errors import BabelclipError, FormatError, MissingExtraError, SettingError
from babelclip.files import write_whole
from babelclip.search import rows
from babelclip.search.checks import read_about, same_width
from babelclip.search.store import About

ABOUT, ITEMS, SKIPPED, LOCK = "about.json", "items", "skipped", ".writing.lock"
DAMAGED = "Delete the folder and index again; pictures and videos are not touched."


class LanceFolder:
    """A folder with ``about.json`` and two tables of LanceDB.

    Attributes:
        folder: absolute.
        place: the same as text.
    """

    def __init__(self, folder: Path | str) -> None:
        """Name the folder; it is made when something is written.

        Raises:
            MissingExtraError: LanceDB is not installed.
        """
        os.environ.setdefault(
            "LANCEDB_LOG", "error"
        )  # else it writes to the terminal that a cell is empty, and the like
        try:
            import lancedb
        except ImportError as error:
            raise MissingExtraError("lancedb", "search", "An index in a folder") from error
        self.folder = Path(folder).absolute()
        self.place = str(self.folder)
        self._connect = lancedb.connect
        self._database: Any = None
        self._tables: dict[str, Any] = {}

    def about(self) -> About | None:
        """Return what the store says of itself; None where nothing was written yet.

        Raises:
            FormatError: the folder is damaged, of a newer format, or holds something else.
            BabelclipError: it may not be read.
        """
        file = self.folder / ABOUT
        try:
            return read_about(file.read_text(encoding="utf-8"), str(file), DAMAGED)
        except (FileNotFoundError, NotADirectoryError):
            with self.reading():
                self._check_ours()
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error

    def _check_ours(self) -> None:
        """Without ``about.json``, the folder is missing, empty, or what a kill at the very beginning left of one."""
        if not self.folder.exists():
            return
        fix = "Choose a new or an empty folder."
        if not self.folder.is_dir():
            raise FormatError("is a file, not the folder of an index", file=self.place, fix=fix)
        ours = {LOCK, f"{ITEMS}.lance", f"{SKIPPED}.lance"}
        found = {one.name for one in self.folder.iterdir() if not one.name.startswith(f".{ABOUT}.")}
        if found - ours:
            what = f"is no index: it holds {min(found - ours)!r}, but no {ABOUT}"
            raise FormatError(what, file=self.place, fix=fix)
        if f"{ITEMS}.lance" in found and self.table(ITEMS).count_rows():
            raise FormatError(f"damaged: it holds rows, but no {ABOUT}", file=self.place, fix=DAMAGED)

    def write_about(self, about: About) -> None:
        """Make the tables, or replace what the store says of itself.

        Raises:
            SettingError: there are rows of another width.
        """
        before = self.about()
        if before is not None:
            same_width(before.dim, about.dim, len(self), self.place)
        if before is None or before.dim != about.dim:
            with self.changing():
                self.folder.mkdir(parents=True, exist_ok=True)
                for name, schema in ((ITEMS, rows.items_schema(about.dim)), (SKIPPED, rows.skipped_schema())):
                    self._open().drop_table(name, ignore_missing=True)
                    self._tables[name] = self._open().create_table(name, schema=schema)
        write_whole(self.folder / ABOUT, about.model_dump_json(indent=1) + "\n")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; given back when the process ends, however it ends.

        Raises:
            SettingError: another process holds it.
        """
        self.about()
        lock = FileLock(self.folder / LOCK, blocking=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            what = "another process is writing to this index"
            raise SettingError(what, file=self.place, fix="Wait until it has ended, or end it.") from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def __len__(self) -> int:
        """Number of rows."""
        if self.about() is None:
            return 0
        with self.reading():
            return int(self.table(ITEMS).count_rows())

    def table(self, name: str) -> Any:
        """Return a table, which looks for new versions at each use."""
        if name not in self._tables:
            self._tables[name] = self._open().open_table(name)
        return self._tables[name]

    def select(self, name: str, columns: list[str] | None, text: str = "") -> Any:
        """Return columns of the rows of a table that meet a condition, as an Arrow table; None before the beginning."""
        if self.about() is None:
            return None
        with self.reading():
            query = self.table(name).search()
            query = query.where(text) if text else query
            return (query.select(columns) if columns else query).to_arrow()

    def close(self) -> None:
        """Give back what is open."""
        self._tables.clear()
        self._database = None

    def _open(self) -> Any:
        if self._database is None:
            self._database = self._connect(self.folder, read_consistency_interval=timedelta(0))
        return self._database

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Tell what LanceDB says in our words.

        Raises:
            FormatError: the folder is damaged.
            BabelclipError: it may not be read.
        """
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise self._unreadable(error) from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Tell what LanceDB says in our words.

        Raises:
            BabelclipError: the folder cannot be written to.
        """
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            raise self._unwritable(error) from error

    def _unreadable(self, error: Exception) -> BabelclipError:
        if "ermission denied" in str(error):  # LanceDB has no kind of its own for it
            fix = "Mend the permissions of the folder and of what is in it."
            return BabelclipError(f"may not be read ({_first_line(error)})", file=self.place, fix=fix)
        return FormatError(f"damaged or not readable ({_first_line(error)})", file=self.place, fix=DAMAGED)

    def _unwritable(self, error: Exception) -> BabelclipError:
        fix = "Free some space, mend the permissions or choose another folder; what was there before stays."
        return BabelclipError(f"cannot be written to ({_first_line(error)})", file=self.place, fix=fix)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300] or type(error).__name__
