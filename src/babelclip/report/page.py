"""One self-contained HTML page: figures, tables and example searches. No script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from babelclip.errors import MissingExtraError
from babelclip.evaluation import METRICS, Results
from babelclip.files import write_whole
from babelclip.languages import language_name
from babelclip.report.aggregate import Spread, by_method, summary
from babelclip.report.examples import LanguageQueries
from babelclip.report.plots import draw_curves, draw_heatmaps
from babelclip.report.terminal import SUMMARY_KEYS

METRIC = "img_r10"


def write_page(
    results: Results, file: Path, *, queries: Sequence[LanguageQueries], queries_method: str, commands: Sequence[str]
) -> None:
    """Write a report: the page, and its two figures once more as ``heatmaps.png`` and ``curves.png`` beside it.

    Args:
        results: what was measured.
        file: the page to write.
        queries: example searches for each language.
        queries_method: the method whose final model made them.
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
    html = page.from_string(template).render(
        results=results,
        metric=METRIC,
        seeds=sorted({run.seed for run in results.runs}),
        heatmaps=_inline(draw_heatmaps(results, METRIC)),
        curves=_inline(draw_curves(results, METRIC)),
        summary_keys=SUMMARY_KEYS,
        summary_rows=[
            (metric, method, [str(summary(runs, metric, key)) for key in SUMMARY_KEYS], runs[0].chance[metric])
            for metric in METRICS
            for method, runs in by_method(results.runs).items()
        ],
        languages=_language_rows(results),
        methods=list(by_method(results.runs)),
        queries=queries,
        queries_method=queries_method,
        commands=commands,
    )
    write_whole(file, html)
    for name, draw in (("heatmaps", draw_heatmaps), ("curves", draw_curves)):
        write_whole(file.with_name(f"{name}.png"), draw(results, METRIC, file_format="png"))


def _language_rows(results: Results) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """(tag, name, [(directly after learning, at the end) for each method])."""
    rows = []
    for j, language in enumerate(results.runs[0].order):
        cells = []
        for runs in by_method(results.runs).values():
            own = Spread.of([run.scores[METRIC][j][j] for run in runs])
            last = Spread.of([run.scores[METRIC][-1][j] for run in runs])
            cells.append((own.mean, last.mean))
        rows.append((language, language_name(language), cells))
    return rows


def _inline(svg: bytes) -> str:
    """An SVG without its XML prologue, to stand inside HTML."""
    text = svg.decode()
    return text[text.index("<svg") :]
