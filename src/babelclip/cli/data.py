"""``babelclip data``: the named data sets."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.text import Text

from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.check import Checked, check_dataset
from babelclip.cli.console import console, quieten
from babelclip.data import read_image_vectors
from babelclip.errors import SettingError
from babelclip.languages import language_name
from babelclip.report.terminal import new_table


def run_list() -> None:
    """List all data sets."""
    table = new_table("Data sets")
    for name in ("name", "languages", "splits", "what"):
        table.add_column(name, no_wrap=name == "name")
    for name in DATASETS:
        dataset = DATASETS[name]
        count = str(len(dataset.languages)) if dataset.languages else "any"
        table.add_row(name, count, ", ".join(dataset.splits), dataset.title)
    console.print(table)


def run_show(name: str) -> None:
    """Tell everything about a data set."""
    dataset = DATASETS[name]
    lines = {
        "version": dataset.version, "languages": ", ".join(dataset.languages) or "as the folder has",
        "splits": ", ".join(dataset.splits), "protocol of its authors": dataset.protocol, "licence": dataset.licence,
        "cite": dataset.citation, "how to get it": dataset.obtain,
    }  # fmt: skip
    console.print(f"{name}: {dataset.title}")
    for key, value in lines.items():
        console.print(f"  {key}: {value}")
    console.print("  expected files:")
    for path, what in dataset.layout.items():
        console.print(f"    {path}: {what}")


def run_check(name: str, folder: Path, *, images: Path | None, image_vectors: Path | None) -> None:
    """Read everything of a data set and print what is there; exit code 1 if something is wrong.

    Args:
        name: of the data set.
        folder: where it lies.
        images: folder of its pictures, if they lie elsewhere.
        image_vectors: file of their vectors.
    """
    quieten()
    if images is not None and image_vectors is not None:
        raise SettingError("--images and --image-vectors are both given", fix="Give one of them.")
    dataset = DATASETS[name]
    place = dataset.place(folder, images if image_vectors is None else read_image_vectors(image_vectors))
    table = new_table(f"{dataset.title}: {folder}")
    for column in ("language", "split", "pictures", "captions", "expected", "left out"):
        table.add_column(column, justify="right" if column in ("pictures", "captions", "expected") else "left")
    checked = check_dataset(dataset, place)
    for one in checked:
        table.add_row(
            f"{one.language} {language_name(one.language)}", one.split, f"{one.pictures:,}", f"{one.captions:,}",
            _verdict(one), "; ".join(f"{count:,} {reason}" for reason, count in one.skipped.items()),
        )  # fmt: skip
    console.print(table)
    problems = [one for one in checked if one.problem]
    for one in problems:
        console.print(Text.assemble(("wrong", "red"), f": {one.language} {one.split}: {one.problem}"))
    if problems:
        console.print(f"{len(problems)} of {len(checked)} parts are missing or malformed. {dataset.obtain}")
        sys.exit(1)
    known = sum(one.expected is not None for one in checked)
    console.print(
        f"all {len(checked)} parts can be read; {known} have the expected counts, of the others none are known"
    )


def _verdict(one: Checked) -> str:
    if one.problem:
        return "wrong"
    return "as expected" if one.expected else "not known"
