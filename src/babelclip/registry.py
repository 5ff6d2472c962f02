"""A table of named things: choices on the command line, rows in the docs and contract tests all walk it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from babelclip.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what they stand for, in the order of entry.

    ``registry["name"]`` raises ``UnknownNameError`` with the closest known name when there is no such entry.
    """

    def __init__(self, kind: str, entries: dict[str, T]) -> None:
        """Make a table.

        Args:
            kind: what the entries are, for messages: "method", "initialiser".
            entries: name -> entry.
        """
        self.kind = kind
        self._entries = entries

    def __getitem__(self, name: str) -> T:
        """Return the entry called ``name``."""
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._entries) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._entries)
