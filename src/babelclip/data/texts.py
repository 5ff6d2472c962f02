"""Texts alone, without pictures: one a line, or the text columns of a caption file."""

from __future__ import annotations

from pathlib import Path

from babelclip.data.gather import clean, find_problem
from babelclip.data.tables import SUFFIXES, read_lines, read_rows
from babelclip.errors import DataError, UnknownNameError
from babelclip.languages import as_tag, normalise_tag

UNKNOWN = "und"
"""Tag of texts whose language is not said (BCP-47: undetermined)."""


def read_texts(file: Path, language: str | None = None) -> dict[str, list[str]]:
    """Read texts by language, in NFC with single spaces; empty ones are left out, pictures are not looked for.

    Args:
        file: a caption file (.tsv, .csv or .jsonl), each also with .gz behind; any other file has one text a line.
        language: the language of the lines, or the column of a caption file; by default lines are of an unknown one,
            and of a caption file all columns are read that are named as a language tag.

    Raises:
        DataError: the file cannot be read, holds no text, or no column is named as a language tag.
        UnknownNameError: there is no such column.
    """
    tag = None if language is None else normalise_tag(language)
    kind = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    if kind not in SUFFIXES:
        found = {tag or UNKNOWN: [text for _, text in read_lines(file)]}
    else:
        header, rows = read_rows(file)
        columns = {name: one for name in header if (one := as_tag(name)) is not None}
        if tag is not None:
            others = [name for name in header if name not in columns]
            columns = {name: tag for name, one in columns.items() if one == tag}
            if not columns:
                raise UnknownNameError("column", language or "", header, likely=others, file=file, line=1)
        elif not columns:
            raise DataError(
                f"none of the columns {', '.join(header)} is named as a language tag",
                file=file, line=1, fix="Name the columns of texts en, sw, pt-BR, ...",
            )  # fmt: skip
        found = {one: [row[name] for _, row in rows] for name, one in columns.items()}
    cleaned = {one: [text for text in map(clean, texts) if not find_problem(text)] for one, texts in found.items()}
    left = {one: texts for one, texts in cleaned.items() if texts}
    if not left:
        raise DataError("there is no text in it", file=file, fix="Give a file with one text a line, or captions.")
    return left
