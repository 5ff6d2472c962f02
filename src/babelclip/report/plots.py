"""Pictures of a results file: forgetting heatmaps and curves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from babelclip.errors import MissingExtraError
from babelclip.evaluation import Results
from babelclip.evaluation.transfer import average_accuracy
from babelclip.languages import language_name
from babelclip.report.aggregate import Spread, by_method, mean_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#c2410c", "#0f766e", "#4338ca", "#a16207", "#be185d", "#334155")
HEAT = "YlGnBu"


@contextmanager
def figure(columns: int, *, width: float, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure with axes side by side, independent of any display and of the user's matplotlib settings.

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
        axes = drawing.subplots(1, columns, squeeze=False)[0]
        yield drawing, list(axes)


def draw_heatmaps(results: Results, metric: str, *, file_format: str = "svg") -> bytes:
    """Draw a[i, j] for each method: row i is what was known after task i."""
    groups = by_method(results.runs)
    order = results.runs[0].order
    with figure(len(groups), width=0.6 + 4.1 * len(groups), height=3.9) as (drawing, axes):
        for axis, (method, runs) in zip(axes, groups.items(), strict=True):
            matrix = mean_matrix(runs, metric)
            full = [[*row, *[float("nan")] * (len(order) - len(row))] for row in matrix]
            axis.imshow(full, cmap=HEAT, vmin=0, vmax=100)
            for i, row in enumerate(matrix):
                for j, value in enumerate(row):
                    colour = "white" if value > 60 else "black"
                    axis.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
            axis.set_xticks(range(len(order)), order)
            axis.set_yticks(range(len(order)), [f"after {language}" for language in order])
            axis.set_xlabel("score on")
            axis.set_title(method)
            axis.spines[:].set_visible(False)
        drawing.suptitle(f"{metric} in percent (chance {results.runs[0].chance[metric]:.1f})", fontsize=9)
        return _write(drawing, file_format)


def draw_curves(results: Results, metric: str, *, file_format: str = "svg") -> bytes:
    """Draw AA after each task, and the fall of each language from directly after learning to the end."""
    groups = by_method(results.runs)
    order = results.runs[0].order
    with figure(2, width=8.8, height=3.4) as (drawing, (curves, falls)):
        width = 0.8 / len(groups)
        for number, (method, runs) in enumerate(groups.items()):
            colour = COLOURS[number % len(COLOURS)]
            steps = range(1, len(order) + 1)
            aa = [Spread.of([average_accuracy(run.scores[metric][:i]) for run in runs]) for i in steps]
            mean = [each.mean for each in aa]
            curves.plot(steps, mean, marker="o", color=colour, label=method)
            low, high = ([each.mean + sign * each.deviation for each in aa] for sign in (-1, 1))
            curves.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            fall = [
                Spread.of([run.scores[metric][j][j] - run.scores[metric][-1][j] for run in runs])
                for j in range(len(order))
            ]
            places = [j + (number - (len(groups) - 1) / 2) * width for j in range(len(order))]
            errors = [each.deviation for each in fall] if len(runs) > 1 else None
            falls.bar(places, [each.mean for each in fall], width, yerr=errors, color=colour, label=method)
        curves.set_xticks(range(1, len(order) + 1), [f"+{language}" for language in order])
        curves.set_ylim(0, 100)
        curves.set_title("Mean over all languages learnt so far (AA)")
        curves.set_ylabel(f"{metric}, percent")
        curves.legend(frameon=False)
        falls.set_xticks(range(len(order)), [language_name(language) for language in order], rotation=30, ha="right")
        falls.axhline(0, color="black", linewidth=0.8)
        falls.set_title("Forgotten by the end")
        falls.set_ylabel("points lost")
        for axis in (curves, falls):
            axis.spines[["top", "right"]].set_visible(False)
        return _write(drawing, file_format)


def _write(drawing: Figure, file_format: str) -> bytes:
    """Return the file's bytes; equal results give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else None
    drawing.savefig(buffer, format=file_format, dpi=150, metadata=metadata)
    return buffer.getvalue()
