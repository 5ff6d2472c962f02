"""Results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from babelclip.evaluation import Run
from babelclip.languages import language_name
from babelclip.report.aggregate import Spread, by_method
from babelclip.report.sheets import Sheet


def new_table(title: str, *, header: bool = True) -> Table:
    """An empty table that fits into 80 columns; without a header where its columns have no names."""
    return Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_header=header
    )


def show(sheet: Sheet) -> Table:
    """Return a sheet for the terminal; to fit, BWT and FWT are left to the files."""
    table, header = new_table(sheet.title), sheet.short or sheet.header
    if sheet.short:
        table.padding = 0
    shown = [number for number, name in enumerate(sheet.header) if name not in ("BWT", "FWT")]
    for number in shown:
        widest = max((len(row[number]) for row in sheet.rows), default=0)
        table.add_column(
            header[number], justify="left" if number < sheet.words else "right", min_width=widest,
            no_wrap=number < sheet.words,
        )  # fmt: skip
    before = None
    for row in sheet.rows:
        if before is not None and row[0] != before and sheet.words > 1:
            table.add_section()
        before = row[0]
        table.add_row(*(row[number] for number in shown))
    return table


def language_table(runs: Sequence[Run], metric: str) -> Table:
    """One row a language: the score directly after it was learnt and the score at the end, for each method."""
    groups = by_method(runs)
    table = new_table(f"{metric} in percent: directly after learning -> after the last language")
    table.add_column("language", no_wrap=True)
    for method in groups:
        table.add_column(method, justify="right", no_wrap=True)
    for language in runs[0].order:
        cells = []
        for of in groups.values():
            j = of[0].order.index(language)
            own = Spread.of([run.scores[metric][j][j] for run in of])
            last = Spread.of([run.scores[metric][-1][j] for run in of])
            cells.append(f"{own.mean:.1f} -> {last.mean:.1f}")
        table.add_row(f"{language} {language_name(language)}", *cells)
    return table
