"""Pictures of the runs on one gallery: heatmaps of a[i, j], curves, and what each language lost."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from babelclip.errors import MissingExtraError
from babelclip.evaluation import Run
from babelclip.evaluation.transfer import average_accuracy
from babelclip.languages import language_name
from babelclip.report.aggregate import Spread, by_method, mean_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#c2410c", "#0f766e", "#4338ca", "#a16207", "#be185d", "#334155")
HEAT = "YlGnBu"
FEW = 12  # languages up to which figures stand in the cells and names under the bars


@contextmanager
def figure(rows: int, columns: int, *, width: float, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure and its axes, row by row, independent of any display and of the user's matplotlib settings.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "Drawing a report") from error
    style: Any = {"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "babelclip", "axes.titleweight": "bold"}
    with rc_context(style):
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing, list(drawing.subplots(rows, columns, squeeze=False).flat)


def draw_heatmaps(runs: Sequence[Run], metric: str, *, file_format: str = "svg") -> bytes:
    """Draw a[i, j] for each method: row i is what was known after task i."""
    groups = by_method(runs)
    many = len(runs[0].order) > FEW
    top = _top(runs, metric)
    side = 5.2 if many else 4.1
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    with figure(rows, columns, width=0.6 + side * columns, height=(side - 0.2) * rows) as (drawing, axes):
        for axis in axes[len(groups) :]:
            axis.set_visible(False)
        for axis, (method, of) in zip(axes, groups.items(), strict=False):
            order, matrix = of[0].order, mean_matrix(of, metric)
            full = [[*row, *[float("nan")] * (len(order) - len(row))] for row in matrix]
            image = axis.imshow(full, cmap=HEAT, vmin=0, vmax=top)
            for i, row in enumerate([] if many else matrix):
                for j, value in enumerate(row):
                    colour = "white" if value > 0.6 * top else "black"
                    axis.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
            size = 5.5 if many else 9
            axis.set_xticks(range(len(order)), order, fontsize=size, rotation=90 if many else 0)
            axis.set_yticks(range(len(order)), [f"after {language}" for language in order], fontsize=size)
            axis.set_xlabel("score on")
            axis.set_title(method)
            axis.spines[:].set_visible(False)
        if many:
            drawing.colorbar(image, ax=axes, shrink=0.6)
        drawing.suptitle(f"{metric} in percent (chance {runs[0].chance[metric]:.1f})", fontsize=9)
        return _write(drawing, file_format)


def draw_curves(runs: Sequence[Run], metric: str, *, file_format: str = "svg") -> bytes:
    """Draw AA after each task, and the fall of each language from directly after learning to the end."""
    groups = by_method(runs)
    order = runs[0].order
    many = len(order) > FEW
    stacked = (2, 1) if many else (1, 2)
    with figure(*stacked, width=8.8, height=6.6 if many else 3.4) as (drawing, (curves, falls)):
        width = 0.8 / len(groups)
        for number, (method, of) in enumerate(groups.items()):
            colour = COLOURS[number % len(COLOURS)]
            steps = range(1, len(order) + 1)
            aa = [Spread.of([average_accuracy(run.scores[metric][:i]) for run in of]) for i in steps]
            mean = [each.mean for each in aa]
            curves.plot(steps, mean, marker="o", markersize=3 if many else 6, color=colour, label=method)
            low, high = ([each.mean + sign * each.deviation for each in aa] for sign in (-1, 1))
            curves.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            place = {language: j for j, language in enumerate(of[0].order)}
            fall = [
                Spread.of(
                    [run.scores[metric][place[one]][place[one]] - run.scores[metric][-1][place[one]] for run in of]
                )
                for one in order
            ]
            places = [j + (number - (len(groups) - 1) / 2) * width for j in range(len(order))]
            errors = [each.deviation for each in fall] if len(of) > 1 else None
            falls.bar(places, [each.mean for each in fall], width, yerr=errors, color=colour, label=method)
        one_order = len({tuple(run.order) for run in runs}) == 1
        names = [f"+{language}" if one_order else str(i) for i, language in enumerate(order, 1)]
        curves.set_xticks(range(1, len(order) + 1), names, rotation=90 if many else 0)
        curves.set_ylim(0, _top(runs, metric))
        curves.set_title("Mean over all languages learnt so far (AA)")
        curves.set_ylabel(f"{metric}, percent")
        curves.legend(frameon=False)
        shown = order if many else [language_name(language) for language in order]
        falls.set_xticks(range(len(order)), shown, rotation=90 if many else 30, ha="center" if many else "right")
        falls.axhline(0, color="black", linewidth=0.8)
        falls.set_title("Forgotten by the end")
        falls.set_ylabel("points lost")
        for axis in (curves, falls):
            axis.spines[["top", "right"]].set_visible(False)
        return _write(drawing, file_format)


def _top(runs: Sequence[Run], metric: str) -> float:
    """The end of the scale: the next 20 % above all scores."""
    highest = max(value for run in runs for row in run.scores[metric] for value in row)
    return min(100, 20 * (highest // 20 + 1))


def _write(drawing: Figure, file_format: str) -> bytes:
    """Return the file's bytes; equal results give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else None
    drawing.savefig(buffer, format=file_format, dpi=150, metadata=metadata)
    return buffer.getvalue()
