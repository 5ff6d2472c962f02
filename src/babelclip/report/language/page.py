"""The page itself: everything is measured first, then written whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote as quote_url

from babelclip import __version__
from babelclip.data import Examples
from babelclip.errors import NOT_INSTALLED, MissingExtraError, SettingError, UnknownNameError
from babelclip.files import write_whole
from babelclip.languages import NATIVE, language_name, normalise_tag
from babelclip.packs import Polyglot, pack_recipe
from babelclip.report.language.appeal import as_learnt, choose_rows, commands, write_table
from babelclip.report.language.coverage import measure
from babelclip.report.language.mixups import count_lost, find_in_the_way, find_pairs, find_same_words
from babelclip.report.language.searches import Searches, run_searches
from babelclip.report.language.thumbnails import thumbnail
from babelclip.report.language.words import LEAST, LEVEL, find_telling_words

BEST, WORST, GROUPS, LISTED = 8, 12, 6, 12


@dataclass(frozen=True)
class Source:
    """Where things come from, by name: folders of this machine are nobody's business, and the page may travel.

    Attributes:
        model: name of the folder of packs, or of the pack.
        folder: whether it is a folder of packs.
        data: name of the captions' file.
        fingerprint: of the captions.
        pictures: folder that picture paths start at; None where the pictures are vectors with ids.
        columns: names of the columns with the picture, the English text, and the text in the language.
        options: options that name columns and places on a command line, each with a space before it.
    """

    model: str
    folder: bool
    data: str
    fingerprint: str
    pictures: Path | None
    columns: tuple[str, str, str]
    options: str = ""


@dataclass(frozen=True)
class Shown:
    """A picture of the page: its data URI (None: there is only an id), its id, and its first caption and English text.

    Several captions may name the same picture; the first one in the file stands for it.
    """

    uri: str | None
    name: str
    text: str
    english: str


def write_language_page(polyglot: Polyglot, examples: Examples, file: Path, source: Source) -> None:
    """Measure a language and write a page about it for people who speak it.

    The page is one HTML file without script that asks nothing of anywhere; the same input gives the same bytes. It is
    the only place that captions are written to.

    Args:
        polyglot: a base model with a pack of the language.
        examples: held-out captions of the language; the gallery is all their pictures.
        file: the page to write, .html.
        source: where things come from.

    Raises:
        UnknownNameError: the language is not installed.
        SettingError: the file is no .html, or there are fewer than two pictures.
        DataError: a picture is damaged.
        ModelError: a vector is not finite.
        MissingExtraError: jinja2 is not installed.
    """
    check_out(file)
    write_whole(file, make_page(polyglot, examples, source))


def check_out(file: Path) -> None:
    """Refuse a page that is not called .html: a page may be written again, and nothing else may be lost.

    Raises:
        SettingError: it is called otherwise.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--out {file} does not end in .html", fix=f"Write --out {file.with_suffix('.html').name}.")


def check_language(polyglot: Polyglot, language: str) -> str:
    """Return the tag of an installed language.

    Raises:
        UnknownNameError: it is not installed; the base model's own language needs no pack and has no page.
    """
    tag = normalise_tag(language)
    if tag not in polyglot.packs:
        more = NOT_INSTALLED if tag != NATIVE else "English is the base model's own and has no page."
        raise UnknownNameError("installed language", tag, polyglot.packs, likely=(), more=more)
    return tag


def make_page(polyglot: Polyglot, examples: Examples, source: Source) -> str:
    """Return the page; arguments and errors as for ``write_language_page``."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "Writing a report") from error
    tag = check_language(polyglot, examples.language)
    if len(examples.files) < 2:
        raise SettingError(
            f"{source.data} has only one picture, so every search finds it", fix="Give captions of more pictures."
        )
    searches = run_searches(polyglot.encode_texts(examples.texts, language=tag), examples)
    card = polyglot.packs[tag].card
    again = commands(
        card, source.model, source.data, source.options,
        as_before=as_learnt(card, pack_recipe(polyglot.encoder.name)), folder=source.folder,
    )  # fmt: skip
    rows = choose_rows(searches, examples, source.pictures)
    table = write_table(rows, source.columns)
    first, good = _first_captions(searches)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["in_hundred"] = in_hundred
    template = files("babelclip.report.language").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        tag=tag, name=language_name(tag), names=language_name, version=__version__, card=card, source=source,
        examples=examples, searches=searches, lost=count_lost(searches), best=searches.best(BEST),
        worst=searches.worst(WORST), pairs=find_pairs(searches), blocking=find_in_the_way(searches),
        same=find_same_words(examples.texts, searches),
        telling=find_telling_words([examples.texts[i] for i in first], good), least=LEAST, level=LEVEL,
        good=sum(good), bad=len(good) - sum(good),
        cover=measure(polyglot, tag, examples.texts, examples.english), groups=GROUPS, listed=LISTED,
        picture=_gallery(examples, source), rows=rows, table=table, again=again,
        learnt_from=card.data.fingerprint in (source.fingerprint, examples.fingerprint()),
        link="data:text/tab-separated-values;charset=utf-8," + quote_url(table),
    )  # fmt: skip


def in_hundred(percent: float) -> str:
    """Return a share as so many of a hundred, in words that never claim more than there is."""
    if percent <= 0:
        return "none"
    if percent < 1:
        return "fewer than 1"
    if percent >= 100:
        return "all 100"
    return "more than 99" if percent > 99 else f"{percent:.0f}"


def _first_captions(searches: Searches) -> tuple[list[int], list[bool]]:
    """The first caption of each picture, and whether it finds it among the first ten."""
    first: dict[int, int] = {}
    for caption, picture in enumerate(searches.owner.tolist()):
        first.setdefault(picture, caption)
    return list(first.values()), [float(searches.ranks[caption]) <= 10 for caption in first.values()]


def _gallery(examples: Examples, source: Source) -> Callable[[int], Shown]:
    """A function that returns a picture by its number, made small once."""
    captions: dict[int, int] = {}
    for caption, number in enumerate(examples.owner.tolist()):
        captions.setdefault(number, caption)
    known: dict[int, Shown] = {}

    def picture(number: int) -> Shown:
        if number not in known:
            file, caption = examples.files[number], captions[number]
            uri = None if source.pictures is None else thumbnail(file)
            known[number] = Shown(uri, file.name, examples.texts[caption], examples.english[caption])
        return known[number]

    return picture
