"""Multi30K: Flickr30k in English, German, French and Czech, as plain text.

``multi30k`` is what retrieval papers use: English and German have five captions a picture, written independently of
each other (task 2 of the shared task); French and Czech have one, a translation of one of the English ones (task 1).
``multi30k-task1`` takes task 1 for all four: one caption a picture, all of them translations of the English one.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from babelclip.benchmarks.base import Counts, Dataset, Place, pair_english
from babelclip.benchmarks.lines import find_file, read_aligned, read_names
from babelclip.data import Corpus
from babelclip.data.gather import clean

LANGUAGES = ("cs", "de", "en", "fr")
TASK1, TASK2 = "data/task1", "data/task2"
_TASK1_NAME = {"train": "train", "val": "val", "test": "test_2016_flickr"}
_TASK2_NAME = {"train": "train", "val": "val", "test": "test_2016"}
OBTAIN = (
    "Clone https://github.com/multi30k/dataset and put the photographs of Flickr30k "
    "(https://shannon.cs.illinois.edu/DenotationGraph) into images/."
)
Lines = list[tuple[Path, list[str]]]


def _read_texts(folder: Path, stems: list[str], number: int, names: Path) -> Lines:
    """Read the files of one language, each with a line for each picture."""
    files = [find_file(folder / "raw" / stem, OBTAIN) for stem in stems]
    return [(file, read_aligned(file, number, names)) for file in files]


def _read(place: Place, language: str, split: str, *, task1: tuple[str, ...]) -> Corpus:
    if language in task1:
        folder, stem = place.folder / TASK1, _TASK1_NAME[split]
        names, middles = folder / "image_splits" / f"{stem}.txt", [""]
    else:
        folder, stem = place.folder / TASK2, _TASK2_NAME[split]
        names, middles = folder / "image_splits" / f"{stem}_images.txt", [f".{k}" for k in range(1, 6)]
    pictures = read_names(names)
    texts, english = (
        _read_texts(folder, [f"{stem}{middle}.{tag}" for middle in middles], len(pictures), names)
        for tag in (language, "en")
    )
    gathered = place.gather_released(language, texts[0][0])
    for row, picture in enumerate(pictures):
        taught = [lines[row] for _, lines in english if clean(lines[row])]
        for k, (file, lines) in enumerate(texts):
            teacher = lines[row] if language == "en" else pair_english(taught, k) if taught else ""
            gathered.add(picture, teacher, lines[row], line=row + 1, columns=(names.name, "en", language), file=file)
    return gathered.corpus(empty="Restore the file from its source.")


def _counts(task1: tuple[str, ...]) -> dict[tuple[str, str], Counts]:
    sizes = {"train": 29000, "val": 1014, "test": 1000}
    return {
        (language, split): (pictures, pictures if language in task1 else 5 * pictures)
        for language in LANGUAGES
        for split, pictures in sizes.items()
    }


MULTI30K = Dataset(
    name="multi30k",
    title="Multi30K",
    version="task 1 (fr, cs) and task 2 (en, de), test of 2016",
    languages=LANGUAGES,
    splits=("train", "val", "test"),
    protocol="group",
    licence="captions: none stated; photographs: Flickr terms of use, non-commercial research and education",
    citation="Elliott et al., 2016 (de), 2017 (fr); Barrault et al., 2018 (cs); Young et al., TACL 2014",
    obtain=OBTAIN,
    layout={
        f"{TASK2}/image_splits/NAME_images.txt": "file names of the photographs of train, val or test_2016, one a line",
        f"{TASK2}/raw/NAME.K.LANGUAGE.gz": "en, de: caption K (1 to 5) of each photograph; with or without .gz",
        f"{TASK1}/image_splits/NAME.txt": "the same for train, val or test_2016_flickr",
        f"{TASK1}/raw/NAME.LANGUAGE.gz": "fr, cs and their English: the caption of each photograph",
        "images/NUMBER.jpg": "the photographs (or --image-vectors with file names as ids)",
    },
    read=partial(_read, task1=("cs", "fr")),
    counts=_counts(("cs", "fr")),
)

MULTI30K_TASK1 = dataclasses.replace(
    MULTI30K,
    name="multi30k-task1",
    title="Multi30K, translations only",
    version="task 1, test of 2016",
    layout={
        f"{TASK1}/image_splits/NAME.txt": "file names of the photographs of train, val or test_2016_flickr, one a line",
        f"{TASK1}/raw/NAME.LANGUAGE.gz": "the caption of each photograph; with or without .gz",
        "images/NUMBER.jpg": "the photographs (or --image-vectors with file names as ids)",
    },
    read=partial(_read, task1=LANGUAGES),
    counts=_counts(LANGUAGES),
)
