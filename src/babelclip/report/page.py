"""One self-contained HTML page: figures, tables and example searches. No script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from babelclip.errors import MissingExtraError
from babelclip.evaluation import SEEN, Results, Run
from babelclip.files import write_whole
from babelclip.languages import language_name
from babelclip.report.aggregate import by_gallery, by_method, orders_of
from babelclip.report.examples import LanguageQueries
from babelclip.report.plots import draw_curves, draw_heatmaps
from babelclip.report.sheets import (
    Sheet,
    addition_sheets,
    cost_sheet,
    language_sheet,
    methods_sheet,
    published_sheet,
    rank_sheet,
    summary_sheet,
)

METRIC = "img_r10"


@dataclass(frozen=True)
class Section:
    """What is shown of one gallery: two figures as SVG, and tables; its chance level, and pictures seen in training."""

    gallery: str
    chance: float
    seen: int
    heatmaps: str
    curves: str
    sheets: list[Sheet]


@dataclass(frozen=True)
class Searches:
    """Example searches for each language, the method whose final model made them, and what to credit."""

    queries: Sequence[LanguageQueries]
    method: str
    credit: str


def sheets_of(runs: Sequence[Run], metric: str = METRIC, *, published: bool = False) -> dict[str, Sheet]:
    """Return the tables of one gallery by name."""
    sheets = {"summary": summary_sheet(runs)}
    if len(by_method(runs)) > 1:
        sheets["methods"] = methods_sheet(runs, metric)
    sheets |= addition_sheets(runs, metric)
    sheets |= {"languages": language_sheet(runs, metric), "ranks": rank_sheet(runs), "cost": cost_sheet(runs)}
    return sheets | ({"published": published_sheet(runs)} if published else {})


def write_page(
    results: Results, file: Path, *, metric: str = METRIC, published: bool = False, more: Sequence[Sheet] = (),
    searches: Searches | None = None, commands: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a report: the page, and its figures once more as PNG beside it.

    Of the first gallery they are called ``heatmaps.png`` and ``curves.png``, of the second ``heatmaps-2.png``, ...

    Args:
        results: what was measured.
        file: the page to write.
        metric: what figures and language tables show.
        published: put the papers' figures beside.
        more: further tables, such as a comparison.
        searches: example searches.
        commands: what the reader may type next.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "Writing a report") from error
    template = files("babelclip.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    galleries = by_gallery(results.runs)
    orders = orders_of(results.runs)
    html = page.from_string(template).render(
        results=results,
        metric=metric,
        seeds=sorted({run.seed for run in results.runs}),
        orders=[[language_name(language) for language in order] for order in orders],
        sections=[
            Section(name, runs[0].chance[metric], results.data.counts.get(f"{name} {SEEN}", 0),
                    _inline(draw_heatmaps(runs, metric)), _inline(draw_curves(runs, metric)),
                    list(sheets_of(runs, metric, published=published).values()))
            for name, runs in galleries.items()
        ],
        more=more,
        searches=searches,
        commands=commands,
    )  # fmt: skip
    write_whole(file, html)
    for number, runs in enumerate(galleries.values(), 1):
        end = "" if number == 1 else f"-{number}"
        for name, draw in (("heatmaps", draw_heatmaps), ("curves", draw_curves)):
            write_whole(file.with_name(f"{name}{end}.png"), draw(runs, metric, file_format="png"))


def _inline(svg: bytes) -> str:
    """An SVG without its XML prologue, to stand inside HTML."""
    text = svg.decode()
    return text[text.index("<svg") :]
