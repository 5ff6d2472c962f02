"""Everything that babelclip raises on purpose.

    BabelclipError              catch this one to catch them all
    ├── UnknownNameError        a method, setting, language or column that does not exist (did you mean ...?)
    ├── SettingError            a setting whose value cannot work
    ├── DataError               a caption file, a row of it, or a picture that cannot be used
    ├── ModelError              a base model that cannot be loaded or taught
    ├── FormatError             a file of ours that is damaged, too new, or belongs to another model
    └── MissingExtraError       an optional package that is not installed

Every message has the same three parts: where (file and line), what (the value found and the value expected), and the
way out (what to type or to change).
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


NOT_INSTALLED = (
    "Learn it (babelclip learn), install its pack (babelclip pack install), or give the folder that has it (--model)."
)
"""The way out where a language is not installed."""


class BabelclipError(Exception):
    """A mistake that the caller can mend; its message says how."""

    def __init__(self, what: str, *, fix: str, file: Path | str | None = None, line: int | None = None) -> None:
        """Put a message together; what of it cannot be printed is escaped, wherever it comes from.

        Args:
            what: what is wrong, with the value found and the value expected.
            fix: the way out, one sentence.
            file: the file at fault.
            line: its line, counted from 1, header included.
        """
        what, fix = _printable(what), _printable(fix)
        place = "" if file is None else _printable(f"{file}: " if line is None else f"{file}:{line}: ")
        super().__init__(f"{place}{what}. {fix}")
        self.what, self.fix, self.file, self.line = what, fix, file, line

    def __reduce__(self) -> tuple[Callable[..., BabelclipError], tuple[object, ...]]:
        """Let an error of a worker process reach the process that started it."""
        return _remake, (type(self), self.args, self.__dict__)


def _printable(text: str) -> str:
    """A text with escapes for control characters and the like, but for the ends of its lines."""
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _remake(kind: type[BabelclipError], args: tuple[object, ...], state: dict[str, object]) -> BabelclipError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UnknownNameError(BabelclipError):
    """A name that is in none of our tables."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, likely: Iterable[str] | None = None,
        more: str = "", file: Path | str | None = None, line: int | None = None,
    ) -> None:  # fmt: skip
        """Name the closest known name, or the closest of the ``likely`` ones, and list all known; then say ``more``."""
        names = sorted(known)
        lower = {one.lower(): one for one in (names if likely is None else likely)}
        close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
        guess = f"Did you mean {lower[close[0]]!r}? " if close else ""
        fix = f"{guess}Known: {', '.join(names) or '(none)'}.{' ' * bool(more)}{more}"
        super().__init__(f"unknown {kind} {name!r}", fix=fix, file=file, line=line)


class SettingError(BabelclipError):
    """A setting has a value that cannot work."""


def refuse_one(what: str, given: object) -> None:
    """Refuse one text or path where a list of them is wanted: its letters would be taken for them.

    Raises:
        SettingError: it is one.
    """
    if isinstance(given, (str, bytes, os.PathLike)):
        raise SettingError(f"{what} is {str(given)!r}, one and no list", fix=f"Write [{str(given)!r}].")


class DataError(BabelclipError):
    """A caption file, one of its rows, or a picture cannot be used."""


class ModelError(BabelclipError):
    """A base model cannot be loaded or cannot be taught."""


class FormatError(BabelclipError):
    """A file written by babelclip is damaged, too new, or belongs to another base model."""


class MissingExtraError(BabelclipError):
    """An optional package is needed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Say what to install: ``pip install 'babelclip[extra]'``."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed",
            fix=f"Install it with: pip install 'babelclip[{extra}]'.",
        )
