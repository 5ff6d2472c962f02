"""The user's own data: one caption file a language and split, ``sw.train.tsv``, as ``babelclip learn`` reads it."""

from __future__ import annotations

from pathlib import Path

from babelclip.benchmarks.base import Dataset, Place
from babelclip.data import Corpus, read_captions
from babelclip.data.tables import SUFFIXES
from babelclip.errors import DataError

SPLITS = ("train", "val", "test")
ENDINGS = tuple(f"{suffix}{packed}" for suffix in SUFFIXES for packed in ("", ".gz"))


def find_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the caption files of a folder by (language, split).

    Raises:
        DataError: a language and split have two files, or there are none at all.
    """
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.iterdir()):
        ending = next((one for one in ENDINGS if file.name.endswith(one)), None)
        language, dot, split = file.name.removesuffix(ending or "").rpartition(".")
        if ending is None or not dot or split not in SPLITS:
            continue
        if (language, split) in found:
            raise DataError(
                f"{file.name} and {found[language, split].name} are both {language} {split}",
                file=folder, fix="Keep one of them.",
            )  # fmt: skip
        found[language, split] = file
    if not found:
        raise DataError("no caption files", file=folder, fix="Name them LANGUAGE.SPLIT.tsv, such as sw.train.tsv.")
    return found


def _languages(folder: Path) -> tuple[str, ...]:
    return tuple(sorted({language for language, _ in find_files(folder)}))


def _splits(folder: Path, language: str) -> tuple[str, ...]:
    files = find_files(folder)
    return tuple(split for split in SPLITS if (language, split) in files)


def _read(place: Place, language: str, split: str) -> Corpus:
    files = find_files(place.folder)
    if (language, split) not in files:
        raise DataError(
            f"no {split} captions in {language!r}",
            file=place.folder,
            fix=f"Add {language}.{split}.tsv (or .csv, .jsonl).",
        )
    return read_captions(files[language, split], language, images=place.images)


FOLDER = Dataset(
    name="folder",
    title="Your own captions",
    version="as it lies there",
    languages=(),
    splits=SPLITS,
    protocol="caption",
    licence="yours",
    citation="yours",
    obtain="Make a folder of files LANGUAGE.SPLIT.tsv with the columns image, en, LANGUAGE (docs/data.md).",
    layout={"LANGUAGE.SPLIT.tsv": "columns image, en, LANGUAGE; also .csv, .jsonl, and .gz behind each"},
    read=_read,
    images=".",
    find_languages=_languages,
    find_splits=_splits,
)
