"""One name for every place of an index: a folder, or the address of a server."""

from __future__ import annotations

from babelclip.search.store import VectorStore

SERVER = ("postgresql://", "postgres://")


def open_store(place: str) -> VectorStore:
    """Open the index at a place; nothing is written yet.

    Args:
        place: an address that begins with ``postgresql://``, else a folder.

    Raises:
        MissingExtraError: the packages of that kind of place are not installed.
        SettingError: the address is none.
    """
    if place.startswith(SERVER):
        from babelclip.search.postgres import PostgresStore

        return PostgresStore(place)
    from babelclip.search.lance import LanceStore

    return LanceStore(place)
