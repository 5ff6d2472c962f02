"""Filters as people write them: folders, days, kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from babelclip.errors import SettingError, UnknownNameError
from babelclip.files import is_utf8
from babelclip.search.items import PICTURE, VIDEO, Filter, Kind


def make_filter(folders: Sequence[str], since: str | None, before: str | None, kind: str | None) -> Filter:
    """Return a filter.

    Args:
        folders: where results must lie; relative ones from here.
        since: first day, such as ``2024-05-01``.
        before: the day after the last one.
        kind: ``picture`` or ``video``.

    Raises:
        SettingError: what should be a day is none, or a path cannot be one.
        UnknownNameError: there is no such kind.
    """
    for folder in folders:
        if "\0" in folder or not folder or not is_utf8(folder):
            raise SettingError(f"the folder is {folder!r}", fix="Give the path of a folder.")
    absolute = tuple(Path(os.path.abspath(folder)).as_posix() for folder in folders)  # noqa: PTH100 - links stay links
    return Filter(absolute, _day(since, "since"), _day(before, "before"), _kind(kind))


def _day(written: str | None, name: str) -> float | None:
    """The beginning of a day in seconds since 1970 (UTC)."""
    if not written:
        return None
    try:
        return datetime.strptime(written, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise SettingError(f"{name} is {written!r}", fix="Write a day as 2024-05-01.") from error


def _kind(kind: str | None) -> Kind | None:
    if not kind:
        return None
    if kind == PICTURE:
        return PICTURE
    if kind == VIDEO:
        return VIDEO
    raise UnknownNameError("kind", kind, (PICTURE, VIDEO))
