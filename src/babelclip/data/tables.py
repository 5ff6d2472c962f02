"""Rows with names from TSV, CSV and JSONL files, plain lines, and JSON; plain or gzipped, with line numbers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from babelclip.errors import DataError
from babelclip.files import is_utf8

Row = tuple[int, dict[str, str]]
SUFFIXES = (".tsv", ".csv", ".jsonl")


def read_rows(file: Path) -> tuple[list[str], list[Row]]:
    """Return the column names and all rows with their line numbers.

    TSV fields are plain text between tabs, without quoting. CSV follows RFC 4180. A JSONL line is an object with text
    values; its column names are those of the first line.

    Raises:
        DataError: the file is missing, empty, not UTF-8, of an unknown kind, or a row has the wrong number of fields.
    """
    kind = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    if kind not in SUFFIXES:
        raise DataError(
            f"the file ending is {''.join(file.suffixes[-2:]) or '(none)'!r}",
            file=file, fix=f"Expected one of {', '.join(SUFFIXES)}, each also with .gz behind.",
        )  # fmt: skip
    text = _read_text(file)
    rows = list(_jsonl(file, text) if kind == ".jsonl" else _delimited(file, text, kind))
    if not rows:
        raise DataError("the file is empty", file=file, fix="It needs a header line and at least one row.")
    header = list(rows[0][1])
    return header, rows if kind == ".jsonl" else rows[1:]


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file with their numbers; empty lines at the end are dropped.

    Raises:
        DataError: the file is missing, damaged, or not UTF-8.
    """
    return [(i, line.removesuffix("\r")) for i, line in enumerate(_read_text(file).rstrip("\r\n").split("\n"), 1)]


def read_json(file: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: the file is missing, damaged, not UTF-8 or not JSON.
    """
    try:
        return parse_json(_read_text(file))
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=file, fix="Restore the file from its source.") from error


def read_json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield the values of a file with one JSON value a line, with their line numbers; empty lines are passed over.

    Raises:
        DataError: the file is missing, damaged, not UTF-8, or a line is not JSON.
    """
    return _json_lines(file, _read_text(file))


def _json_lines(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            raise DataError(f"not JSON: {error}", file=file, line=number, fix="Write one object a line.") from error


def parse_json(text: str) -> Any:
    """Parse JSON; an object with the same key twice is an error, since one of its values would be lost.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("brackets are nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"the key {name!r} stands there twice")
    return found


def _read_text(file: Path) -> str:
    """Read and decode; a byte-order mark is dropped."""
    try:
        raw = file.read_bytes()
        if file.suffix == ".gz":
            raw = gzip.decompress(raw)
    except FileNotFoundError as error:
        raise DataError("there is no such file", file=file, fix="Correct the path.") from error
    except IsADirectoryError as error:
        raise DataError("this is a folder", file=file, fix="Give the caption file itself.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read ({error})", file=file, fix="Restore it from its source.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8", file=file, line=line, fix="Save the file as UTF-8."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            "the line holds a NUL character", file=file, line=line, fix="Save the file as plain UTF-8 text."
        )
    return text


def _delimited(file: Path, text: str, kind: str) -> Iterator[Row]:
    """Yield the header as the first row (name -> name), then the rows."""
    lines: Iterable[tuple[int, list[str]]]
    if kind == ".tsv":
        split = (line.removesuffix("\r").split("\t") for line in text.split("\n"))
        lines = ((number, fields) for number, fields in enumerate(split, 1) if fields != [""])
    else:
        lines = _csv_lines(file, text)
    header: list[str] | None = None
    for number, fields in lines:
        if header is None:
            header = [name.strip() for name in fields]
            if len(header) == 1 and any(sign in header[0] for sign in ",;\t"):
                raise DataError(
                    f"the header is one column, {header[0]!r}",
                    file=file, line=number, fix="Separate columns by tabs in a .tsv file, by commas in a .csv file.",
                )  # fmt: skip
            if len(set(header)) < len(header) or "" in header:
                raise DataError(
                    f"the header is {header}", file=file, line=number, fix="Column names must be unique and not empty."
                )
            yield number, dict(zip(header, header, strict=True))
        elif len(fields) != len(header):
            raise DataError(
                f"{len(fields)} fields, but the header has {len(header)} ({', '.join(header)})",
                file=file, line=number, fix="Give every row one field a column.",
            )  # fmt: skip
        else:
            yield number, dict(zip(header, fields, strict=True))


def _csv_lines(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with the line on which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begin = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"broken CSV: {error}", file=file, line=begin, fix="Check its quotation marks.") from error
        if fields is None:
            return
        if fields:
            yield begin, fields
        begin = reader.line_num + 1


def _jsonl(file: Path, text: str) -> Iterator[Row]:
    """Yield one row a line; every line must be an object of texts with the columns of the first."""
    columns: list[str] | None = None
    for number, row in _json_lines(file, text):
        if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
            raise DataError(
                "expected an object whose values are all texts", file=file, line=number, fix="Write one object a line."
            )
        for name, value in row.items():
            if "\0" in value or not is_utf8(value):
                raise DataError(
                    f"{name!r} holds a NUL character or half of a surrogate pair",
                    file=file, line=number, fix="Correct the escape (\\u0000, \\ud800 to \\udfff).",
                )  # fmt: skip
        columns = columns or list(row)
        if set(row) != set(columns):
            raise DataError(
                f"the keys are {sorted(row)}, but the first line has {sorted(columns)}",
                file=file, line=number, fix="Give every line the same keys.",
            )  # fmt: skip
        yield number, row
