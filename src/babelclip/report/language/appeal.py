"""What readers can do: a table to fill in, and the commands that use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from babelclip.config import TaskSettings
from babelclip.data import Examples
from babelclip.packs import METHOD, PackCard
from babelclip.packs.warm import START
from babelclip.report.language.searches import Search, Searches

ROWS = 20
USUAL_ROWS = "float16"
TRAINING = "TRAINING.tsv"
"""What stands for the training captions where the pack does not name them."""


@dataclass(frozen=True)
class Row:
    """A picture to describe: its number, what stands in the image column, and its English text."""

    picture: int
    image: str
    english: str


def choose_rows(searches: Searches, examples: Examples, root: Path | None, *, count: int = ROWS) -> list[Row]:
    """Return the pictures that need captions most, each once.

    They are those that no place among the first ten has; first the ones that their English captions do find there, so
    that the pictures are not what is hard.

    Args:
        searches: of the captions.
        examples: the captions.
        root: folder that picture paths start at; None where the pictures are ids.
        count: how many, at most.
    """
    missed = [one for one in searches.worst(len(examples.files)) if one.last > 10]
    missed.sort(key=lambda one: one.english > 10)  # keeps the order of the worst
    rows = [_row(one, examples, root) for one in missed]
    return [row for row in rows if not set("\t\r\n") & set(row.image)][:count]


def _row(one: Search, examples: Examples, root: Path | None) -> Row:
    file = examples.files[one.picture]
    inside = root is not None and file.is_relative_to(root)
    return Row(
        one.picture, (file.relative_to(root) if inside and root is not None else file).as_posix(),
        examples.english[one.caption],
    )  # fmt: skip


def write_table(rows: Sequence[Row], columns: tuple[str, str, str]) -> str:
    """Return the rows as TSV whose last column is empty.

    Args:
        rows: the pictures.
        columns: names of the columns with the picture, the English text, and the text in the language.
    """
    return "".join("\t".join(cells) + "\n" for cells in [columns, *((row.image, row.english, "") for row in rows)])


def as_learnt(card: PackCard, usual: TaskSettings) -> str:
    """Return the options of ``babelclip learn`` that say how a pack was learnt, where it was not the usual way.

    Args:
        card: of the pack.
        usual: the settings that its base model brings.
    """
    if not card.settings:
        return ""  # taken out of a shared lexicon
    options = "" if card.method == METHOD else f" --method {quote(card.method)}"
    options += "" if card.rows == USUAL_ROWS else f" --rows {card.rows}"
    options += f" --licence {quote(card.licence)}" if card.licence else ""
    for name, value in usual.as_dict().items():
        learnt = card.settings.get(name, value)
        if learnt != value and learnt is not None:
            options += f" --set {quote(f'{name}={learnt}')}"
    start = str(card.settings.get("start", START))
    options += "" if start == START else f" --start {quote(start)}"
    return options


def commands(
    card: PackCard, model: str, data: str, options: str, *, as_before: str, folder: bool
) -> tuple[str, str]:  # fmt: skip
    """Return the command that learns the language again and the one that writes this page again.

    Args:
        card: of the pack.
        model: name of the folder of packs, or of the pack.
        data: name of the held-out captions.
        options: options that say where things stand in both files, each with a space before it.
        as_before: options that learn it as it was learnt (``as_learnt``).
        folder: whether ``model`` is a folder of packs: there a language can be replaced.
    """
    language = card.language
    if folder:
        place = f"--out {quote(model)} --replace"
    else:
        model = f"{Path(model).stem}-2.babelpack"
        place = f"--base {quote(card.base.name)} --out {quote(model)}"
    return (
        f"babelclip learn --language {language} --data {quote(card.data.name or TRAINING)}{options}{as_before} {place}",
        f"babelclip report language {language} --model {quote(model)} --data {quote(data)}{options} "
        f"--out {language}-2.html",
    )
