"""Methods as users write them: ``er(memory=500)+teir(scale=grad)``."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, get_type_hints

from babelclip.config import read_value
from babelclip.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from babelclip.methods.base import Method


def split_names(text: str, separator: str) -> list[str]:
    """Cut text at a separator that stands outside parentheses: a sum at ``+``, a list of sums at ``,``."""
    return [part.strip() for part in re.split(rf"{re.escape(separator)}(?![^(]*\))", text)]


def read_name(text: str) -> tuple[str, dict[str, str]]:
    """Cut ``er(memory=500)`` into its name and options.

    Raises:
        SettingError: it is not of this form, or an option stands twice.
    """
    found = re.fullmatch(r"([\w-]+)\s*(?:\((.*)\))?", text)
    options = [part.partition("=") for part in (found[2] or "").split(",") if part.strip()] if found else []
    names = [name.strip() for name, _, _ in options]
    if not found or not all(equals for _, equals, _ in options) or len(set(names)) < len(names):
        raise SettingError(
            f"{text!r} is not a method", fix="Write NAME or NAME(OPTION=VALUE,...), such as er(memory=500)."
        )
    return found[1], {name.strip(): value.strip() for name, _, value in options}


def options_of(method: type[Method] | Method) -> list[dataclasses.Field[Any]]:
    """Return the fields that users may write."""
    return [field for field in dataclasses.fields(method) if field.init]


def make_method(kind: type[Method], options: dict[str, str]) -> Method:
    """Make a method with options as they were written.

    Raises:
        UnknownNameError: it has no such option.
        SettingError: a value is of the wrong kind, or cannot work.
    """
    types = get_type_hints(kind)
    known = {field.name: types[field.name] for field in options_of(kind)}
    made = {}
    for name, text in options.items():
        if name not in known:
            raise UnknownNameError(f"option of {kind.name}", name, known)
        try:
            made[name] = read_value(known[name], text)
        except ValueError as error:
            raise SettingError(
                f"{kind.name}({name}={text})", fix=f"{name} must be of type {known[name].__name__}."
            ) from error
    return kind(**made)


def write_name(method: Method) -> str:
    """Return how a method is written: its name, and the options that differ from the defaults."""
    changed = [
        f"{field.name}={getattr(method, field.name)}"
        for field in options_of(method)
        if getattr(method, field.name) != field.default
    ]
    return f"{method.name}({','.join(changed)})" if changed else method.name
