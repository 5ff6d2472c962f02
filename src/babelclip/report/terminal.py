"""Results as tables on the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from babelclip.evaluation import Results
from babelclip.languages import language_name
from babelclip.report.aggregate import Spread, by_method, summary

SUMMARY_KEYS = ("AA", "F", "Fen", "own")


def new_table(title: str) -> Table:
    """An empty table that fits into 80 columns."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def language_table(results: Results, metric: str) -> Table:
    """One row a language: the score directly after it was learnt and the score at the end, for each method."""
    groups = by_method(results.runs)
    title = f"{metric} in percent: directly after learning -> after the last language"
    table = new_table(title)
    table.add_column("language", no_wrap=True)
    for method in groups:
        table.add_column(method, justify="right", no_wrap=True)
    table.add_column("chance", justify="right")
    order = results.runs[0].order
    for j, language in enumerate(order):
        cells = []
        for runs in groups.values():
            own = Spread.of([run.scores[metric][j][j] for run in runs])
            last = Spread.of([run.scores[metric][-1][j] for run in runs])
            cells.append(f"{own.mean:.1f} -> {last.mean:.1f}")
        table.add_row(f"{language} {language_name(language)}", *cells, f"{results.runs[0].chance[metric]:.1f}")
    return table


def summary_table(results: Results, metrics: tuple[str, ...] = ("img_r1", "img_r10", "txt_r10")) -> Table:
    """One row a metric and method: AA, F, Fen, own, with the spread over seeds."""
    seeds = len({run.seed for run in results.runs})
    spread = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    title = f"AA: mean at the end. F: mean fall from the best. Fen: fall of the first language.\n{spread}"
    table = new_table(title)
    table.add_column("metric", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for key in (*SUMMARY_KEYS, "chance"):
        table.add_column(key, justify="right", no_wrap=True)
    for metric in metrics:
        for method, runs in by_method(results.runs).items():
            cells = [str(summary(runs, metric, key)) for key in SUMMARY_KEYS]
            table.add_row(metric, method, *cells, f"{runs[0].chance[metric]:.1f}")
        table.add_section()
    return table
