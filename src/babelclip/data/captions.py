"""Caption files: one row a caption, with a picture, its English text and its text in the new language."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from babelclip.data.tables import read_rows
from babelclip.errors import DataError, UnknownNameError
from babelclip.languages import normalise_tag


@dataclass(frozen=True)
class Caption:
    """One row: a picture file, its English text, its text in the language, and the line it stands on."""

    image: Path
    english: str
    text: str
    line: int


@dataclass(frozen=True)
class Corpus:
    """The captions of one file in one language.

    Attributes:
        language: its normalised tag.
        captions: in the order of the file.
        source: the file.
    """

    language: str
    captions: tuple[Caption, ...]
    source: Path

    @property
    def fingerprint(self) -> str:
        """Sha256 over language, picture names and texts; equal for equal content, wherever the file lies."""
        digest = hashlib.sha256(self.language.encode())
        for caption in self.captions:
            digest.update("\0".join(("", caption.image.name, caption.english, caption.text)).encode())
        return digest.hexdigest()


def read_captions(
    file: Path,
    language: str,
    *,
    image_column: str = "image",
    english_column: str = "en",
    text_column: str | None = None,
    images: Path | None = None,
) -> Corpus:
    """Read a caption file: ``.tsv`` or ``.csv`` with a header, or ``.jsonl``; each also with ``.gz`` behind.

    Texts are normalised to NFC with single spaces. Nothing is dropped: any row that cannot be used is an error.

    Args:
        file: the file.
        language: tag of the language to read.
        image_column: column with the picture's path.
        english_column: column with the English text.
        text_column: column with the text in ``language``; by default the one named as the tag.
        images: folder that picture paths are relative to; by default the folder of the file.

    Raises:
        DataError: the file or rows of it cannot be used; names file and line, and says how many rows have problems.
        UnknownNameError: a column does not exist.
    """
    tag = normalise_tag(language)
    header, rows = read_rows(file)
    columns = (image_column, english_column, text_column or (language if language in header else tag))
    for column in columns:
        if column not in header:
            raise UnknownNameError("column", column, header, file=file, line=1)
    folder = file.parent if images is None else images
    captions: list[Caption] = []
    problems: list[tuple[int, str, str]] = []
    for line, row in rows:
        image_path, english, text = (" ".join(unicodedata.normalize("NFC", row[c]).split()) for c in columns)
        image = folder / row[image_column].strip()
        empty = [c for c, value in zip(columns, (image_path, english, text), strict=True) if not value]
        if empty:
            problems.append((line, f"the column {empty[0]!r} is empty", "Fill it in, or remove the row."))
        elif not image.is_file():
            where = f"(relative paths start at {folder})"
            problems.append((line, f"there is no picture {image_path!r} {where}", "Correct the path or the folder."))
        else:
            captions.append(Caption(image, english, text, line))
    if problems:
        line, what, fix = problems[0]
        others = ", ".join(str(number) for number, _, _ in problems[1:6])
        more = f" ({len(problems)} rows have problems, next lines {others})" if others else ""
        raise DataError(what + more, file=file, line=line, fix=fix)
    if not captions:
        raise DataError(
            "the file has a header but no rows", file=file, fix=f"Add rows with the columns {', '.join(columns)}."
        )
    return Corpus(tag, tuple(captions), file)
