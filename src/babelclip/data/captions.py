"""Caption files: one row a caption, with a picture, its English text and its text in the new language."""

from __future__ import annotations

from pathlib import Path

from babelclip.data.gather import Corpus, Gatherer, Images
from babelclip.data.tables import read_rows
from babelclip.errors import UnknownNameError
from babelclip.languages import as_tag, normalise_tag


def read_captions(
    file: Path,
    language: str,
    *,
    image_column: str = "image",
    english_column: str = "en",
    text_column: str | None = None,
    images: Images | None = None,
) -> Corpus:
    """Read a caption file: ``.tsv`` or ``.csv`` with a header, or ``.jsonl``; each also with ``.gz`` behind.

    Texts are normalised to NFC with single spaces. Nothing is dropped: any row that cannot be used is an error.

    Args:
        file: the file.
        language: tag of the language to read.
        image_column: column with the picture's path, or with the id of its vector.
        english_column: column with the English text.
        text_column: column with the text in ``language``; by default the one named as the tag. A tag finds its column
            however it is written there: ``pt-BR`` also one called ``PT_br``.
        images: folder that picture paths are relative to, by default that of the file; or vectors computed before.

    Raises:
        DataError: the file or rows of it cannot be used; names file and line, and says how many rows have problems.
        UnknownNameError: a column does not exist.
    """
    tag = normalise_tag(language)
    header, rows = read_rows(file)
    columns = (
        _find(image_column, header, file, "--image-column"),
        _find(english_column, header, file, "--english-column"),
        _find(text_column or language, header, file, "--text-column"),
    )
    gathered = Gatherer(tag, file, file.parent if images is None else images)
    for line, row in rows:
        gathered.add(row[columns[0]], row[columns[1]], row[columns[2]], line=line, columns=columns)
    return gathered.corpus(empty=f"The file has a header but no rows: add rows with the columns {', '.join(columns)}.")


def _find(name: str, header: list[str], file: Path, option: str) -> str:
    """The column of a name, or the one of a language tag; another language is never taken for a slip of the pen."""
    if name in header:
        return name
    tag = as_tag(name)
    alike = [column for column in header if tag is not None and as_tag(column) == tag]
    if len(alike) == 1:
        return alike[0]
    likely = [column for column in header if tag is None or as_tag(column) is None]
    raise UnknownNameError(
        "column", name, header, likely=likely, file=file, line=1,
        more=f"The first line must be the header; `learn` and `evaluate` take another column with {option} NAME.",
    )  # fmt: skip
