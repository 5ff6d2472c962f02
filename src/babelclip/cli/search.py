"""``babelclip search``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from babelclip.cli.console import console, note
from babelclip.cli.pictures import can_draw, draw
from babelclip.cli.place import Place, load_model, model_of, place_of
from babelclip.errors import SettingError
from babelclip.languages import language_name
from babelclip.packs import Polyglot
from babelclip.packs.router import CERTAIN, Reason, Route
from babelclip.report.terminal import new_table
from babelclip.search.items import VIDEO, Filter, Hit
from babelclip.search.open import open_store
from babelclip.search.query import Query, Searcher
from babelclip.search.wire import answer_as_json


def run_search(query: Query, place: Place, *, as_json: bool, thumbnails: bool | None) -> None:
    """Search an index and print what is found.

    Args:
        query: what is looked for.
        place: index and model.
        as_json: print JSON.
        thumbnails: draw them; None where the terminal can.
    """
    query.check()
    if query.language is not None and not query.texts:
        raise SettingError(
            f"--language {query.language} is of a text, and none is given", fix="Give a text, or leave --language away."
        )
    opened = open_store(place_of(place.store))
    polyglot = load_model(opened, place)
    answer = Searcher(polyglot, opened).search(query)
    if as_json:
        console.print_json(json.dumps(answer_as_json(answer, query.text)))
        return
    if answer.route is not None:
        console.print(_describe_route(answer.route, polyglot, model_of(opened, place), given=answer.given))
    pictures = can_draw() if thumbnails is None else thumbnails
    table = new_table("")
    for name in ("", "score", "file", ""):
        table.add_column(name, overflow="fold")
    for number, hit in enumerate(answer.hits, 1):
        if pictures:
            console.print(f"{number}. {hit.score:.3f} {hit.path} {_details(hit)}")
            draw(opened.thumbnail(hit.id) or b"")
        table.add_row(str(number), f"{hit.score:.3f}", hit.path, _details(hit))
    if not answer.hits:
        filtered = "" if query.where == Filter() else " with these filters"
        console.print(f"Nothing found among {len(opened):,} pictures and moments{filtered}.")
        for hint in _hints(query.where):
            note(hint)
    elif not pictures:
        console.print(table)
    opened.close()


def _describe_route(route: Route, polyglot: Polyglot, model: str, *, given: bool) -> str:
    """One line about the language of a query."""
    name = f"{language_name(route.tag)} ({route.tag})"
    if given:
        return f"Language: {name}, as told"
    if route.reason is Reason.ALONE:
        return f"Language: {name}, the only one installed in {model}"
    if route.reason is not Reason.SPELLING:
        what = "it has no letters" if route.reason is Reason.NO_LETTERS else "no installed language has its letters"
        return f"Language: {name}, because {what}; installed: {', '.join(polyglot.languages)}"
    unsure = route.second is not None and route.probability < CERTAIN
    second = f", blended with {language_name(route.second or '')} ({route.second})" if unsure else ""
    return f"Language: {name}, {route.probability:.0%} sure{second}"


def _hints(where: Filter) -> Iterator[str]:
    """What of a filter fits no file."""
    for folder in where.folders:
        if not Path(folder).is_dir():
            yield f"there is no folder {folder}"
    if where.since is not None and where.before is not None and where.since >= where.before:
        yield "no day is on or after --since and before --before"


def _details(hit: Hit) -> str:
    """Kind, moment and size of a result."""
    if hit.kind == VIDEO:
        minutes, seconds = divmod(round(hit.moment), 60)
        return f"video at {minutes}:{seconds:02}"
    return f"{hit.width} x {hit.height}"
