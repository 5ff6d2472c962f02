"""The tables of a report, once; as Markdown, as CSV, on the terminal and in the page."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from babelclip.evaluation import METRICS, RANKS, Run
from babelclip.languages import language_name
from babelclip.report.aggregate import (
    Spread,
    by_method,
    last_scores,
    orders_of,
    pairs_by_part,
    sign_flip_p,
    sign_test_p,
    summary,
)
from babelclip.report.published import as_published, beside

SUMMARY_KEYS = ("AA", "F", "Fen", "own", "BWT", "FWT")
FEWEST_PAIRS = 3  # methods that stand without and with a part, for a table of their own
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Sheet:
    """A table: its first ``words`` columns hold words, the others figures; ``short``: its header on a terminal."""

    title: str
    header: tuple[str, ...]
    rows: Rows
    words: int = 1
    short: tuple[str, ...] = ()

    def markdown(self) -> str:
        """As a Markdown table under its title."""
        lines = [self.header, tuple("---" if i < self.words else "--:" for i in range(len(self.header))), *self.rows]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def csv(self) -> str:
        """As CSV with its header."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.rows])
        return buffer.getvalue()


def summary_sheet(runs: Sequence[Run], metrics: Sequence[str] = METRICS) -> Sheet:
    """AA, F, Fen, own, BWT and FWT of each metric and method on one gallery."""
    groups = by_method(runs)
    rows: Rows = []
    for metric in metrics:
        for method, of in groups.items():
            cells = (str(summary(of, metric, key)) for key in SUMMARY_KEYS)
            told = "told" if of[0].needs_language else "not told"
            rows.append((metric, method, told, *cells, f"{of[0].chance[metric]:.1f}"))
    header = ("metric", "method", "language at test", *SUMMARY_KEYS, "chance")
    return Sheet(f"Summary, percent, {_seeds(runs)}", header, rows, words=3)


def language_sheet(runs: Sequence[Run], metric: str) -> Sheet:
    """Each language: directly after it was learnt, at the end with its 95 % interval, and what lies between."""
    groups = by_method(runs)
    rows: Rows = []
    for method, of in groups.items():
        for j, language in enumerate(of[0].order):
            own = Spread.of([run.scores[metric][j][j] for run in of])
            last = Spread.of([run.scores[metric][-1][j] for run in of])
            low, high = (statistics.fmean(run.intervals[metric][j][side] for run in of) for side in (0, 1))
            start = statistics.fmean(run.initial[metric][j] for run in of)
            name = f"{language} {language_name(language)}"
            rows.append(
                (method, name, f"{start:.1f}", str(own), str(last), f"{low:.1f} to {high:.1f}",
                 f"{round(last.mean - own.mean, 1) + 0.0:+.1f}")
            )  # fmt: skip
    header = ("method", "language", "untouched", "after learning", "at the end", "95 % over pictures", "change")
    return Sheet(f"{metric} by language, percent, {_seeds(runs)}", header, rows, words=2)


def rank_sheet(runs: Sequence[Run]) -> Sheet:
    """Median ranks after the last task, averaged over languages."""
    rows: Rows = []
    for method, of in by_method(runs).items():
        cells = (str(Spread.of([statistics.fmean(run.ranks[rank][-1]) for run in of])) for rank in RANKS)
        rows.append((method, *cells))
    return Sheet("Median rank at the end, mean over languages (1 is best)", ("method", *RANKS), rows)


def cost_sheet(runs: Sequence[Run]) -> Sheet:
    """What a stream cost: seconds, memory, bytes, and how much of the evaluation was encoded again."""
    rows: Rows = []
    for method, of in by_method(runs).items():
        train, spent = (statistics.fmean(getattr(run.cost, part) for run in of) for part in ("train_s", "eval_s"))
        encoded = sum(run.cost.encoded_texts for run in of) / sum(run.cost.scored_texts for run in of)
        size = statistics.fmean(statistics.fmean(run.new_tokens) * run.bytes_per_token for run in of)
        modules = statistics.fmean(run.module_bytes / len(run.order) for run in of)
        memory = statistics.fmean(run.memory_bytes for run in of)
        rows.append(
            (method, f"{train:,.0f}", f"{spent:,.0f}", f"{spent / (train + spent):.0%}", f"{encoded:.0%}",
             f"{statistics.fmean(run.cost.texts_per_s for run in of):,.0f}",
             f"{max(run.cost.peak_mb for run in of):,.0f}", f"{size / 1e6:.2f}", f"{modules / 1e6:.2f}",
             f"{memory / 1e6:.2f}")
        )  # fmt: skip
    header = ("method", "training s", "eval s", "eval share", "of it encoded", "texts/s", "peak MB",
              "MB of new rows a language", "MB of modules a language", "MB kept for later tasks")  # fmt: skip
    short = ("method", "train\ns", "eval\ns", "eval\nshare", "done\nagain", "texts\n/s", "peak\nMB", "rows\nMB",
             "mods\nMB", "kept\nMB")  # fmt: skip
    return Sheet("Cost of one stream, mean over seeds", header, rows, short=short)


def compare_sheet(ours: Sequence[Run], theirs: Sequence[Run], metric: str, names: tuple[str, str]) -> Sheet:
    """Two sets of runs on one gallery: AA of each method, paired by language.

    A method stands beside the same one, in the same order of languages where there are several; beside the only one
    that the others have, if they have one alone.

    Args:
        ours: runs of the first results.
        theirs: runs of the second.
        metric: to compare.
        names: of the two.
    """
    rows: Rows = []
    known, one_method = by_method(theirs), len({run.method for run in theirs}) == 1
    one_order = len(orders_of(ours)) == len(orders_of(theirs)) == 1
    for method, of in by_method(ours).items():
        found = [
            (other, others)
            for other, others in known.items()
            if (one_method or of[0].method == others[0].method) and (one_order or of[0].order == others[0].order)
        ]
        for other, others in found:
            mine, yours = last_scores(of, metric), last_scores(others, metric)
            rows.append(_compared((method, other), mine, yours, [one for one in mine if one in yours]))
        if not found:
            rows.append(_compared((method, "no such method and order"), {}, {}, []))
    header = (names[0], names[1], "languages", "first", "second", "difference", "p (sign flip)")
    return Sheet(f"{metric} at the end, mean over shared languages, percent", header, rows, words=2)


def methods_sheet(runs: Sequence[Run], metric: str) -> Sheet:
    """Every method of one gallery against the first one in the same order of languages, paired by seed and language."""
    rows, groups = [], by_method(runs)
    for order in orders_of(runs):
        (first, base), *others = ((name, of) for name, of in groups.items() if of[0].order == order)
        for other, of in others:
            seeds = {run.seed for run in of} & {run.seed for run in base}
            mine, yours = (
                last_scores([run for run in side if run.seed in seeds], metric) if seeds else {} for side in (of, base)
            )
            rows.append(_compared((other, first), mine, yours, list(mine)))
    header = ("method", "against", "languages", "first", "second", "difference", "p (sign flip)")
    return Sheet(f"{metric} at the end, mean over languages, percent", header, rows, words=2)


def addition_sheets(runs: Sequence[Run], metric: str) -> dict[str, Sheet]:
    """What a part adds, such as TEIR, for each part that at least three methods of one gallery stand without and with.

    Runs are paired by seed and order. The sign test counts the methods in which the mean of AA is higher.
    """
    groups: dict[str, dict[tuple[int, tuple[str, ...]], Run]] = {}
    for run in runs:
        groups.setdefault(run.method, {})[run.seed, tuple(run.order)] = run
    sheets = {}
    for part, names in pairs_by_part(groups).items():
        pairs = {
            method: [(run, groups[other][key]) for key, run in groups[method].items() if key in groups[other]]
            for method, other in names
        }
        paired = {method: both for method, both in pairs.items() if both}
        if len(paired) >= FEWEST_PAIRS:
            sheets[f"with-{part}"] = _addition_sheet(part, paired, metric)
    return sheets


def _addition_sheet(part: str, paired: Mapping[str, Sequence[tuple[Run, Run]]], metric: str) -> Sheet:
    """One row a method; ``paired``: its runs without and with the part. The title counts the signs of the changes."""
    rows: Rows = []
    changes: dict[str, list[float]] = {"AA": [], "F": []}
    for method, pairs in paired.items():
        cells = [str(summary(side, metric, key)) for key in ("AA", "F") for side in zip(*pairs, strict=True)]
        of = {key: [more.summary[metric][key] - less.summary[metric][key] for less, more in pairs] for key in changes}
        gain, higher = Spread.of(of["AA"]), sum(change > 0 for change in of["AA"])
        told = "told" if any(run.needs_language for run in pairs[0]) else "not told"
        rows.append((method, told, *cells, f"{gain.mean:+.1f} ± {gain.deviation:.1f}", f"{higher} of {len(pairs)}"))
        for key, values in of.items():
            changes[key].append(statistics.fmean(values))
    rises, falls = sum(one > 0 for one in changes["AA"]), sum(one < 0 for one in changes["F"])
    p = [_p(sign_test_p(values)) for values in changes.values()]
    return Sheet(
        f"{metric} without and with {part}, percent, {len(rows)} methods; AA rises in {rises}, F falls in {falls}; "
        f"p of the sign test {p[0]} and {p[1]}",
        ("method", "language at test", "AA without", "AA with", "F without", "F with", "change of AA", "rises in runs"),
        rows,
        words=2,
    )


def published_sheet(runs: Sequence[Run], metrics: Sequence[str] = ("img_r1", "txt_r1", "r_mean")) -> Sheet:
    """What was measured on one gallery, and what the papers report for the same methods on their data."""
    keys = ("AA", "F", "Fen", "own")
    groups = by_method(runs)
    methods = sorted({run.method for run in runs})
    rows: Rows = []
    for metric in metrics:
        for method, of in groups.items():
            rows.append(("here", metric, method, *(str(summary(of, metric, k)) for k in keys)))
        for dataset in ("mscoco36", "crossmodal3600"):
            printed = {as_published(name): one for name, one in beside(dataset, metric, methods).items()}
            for method, one in printed.items():
                rows.append((dataset, metric, method, *(f"{one[key]:.1f}" for key in keys)))
    title = (
        f"Here ({runs[0].gallery}), and published for 36 languages in order222, CLIP ViT-B/16, all captions, percent; "
        "published F and Fen of mscoco36 count English after its own task as 0, and own leaves it out"
    )
    return Sheet(title, ("where", "metric", "method", *keys), rows, words=3)


def _compared(
    names: tuple[str, str], mine: dict[str, float], yours: dict[str, float], shared: Sequence[str]
) -> tuple[str, ...]:
    """One row of a comparison; without figures where nothing is shared."""
    if not shared:
        return (*names, "0", "-", "-", "-", "-")
    differences = [mine[language] - yours[language] for language in shared]
    first, second = (statistics.fmean(scores[language] for language in shared) for scores in (mine, yours))
    shown = _p(sign_flip_p(differences))
    return (*names, str(len(shared)), f"{first:.1f}", f"{second:.1f}", f"{first - second:+.1f}", shown)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _seeds(runs: Sequence[Run]) -> str:
    counts = sorted({len(of) for of in by_method(runs).values()})
    few, many = counts[0], counts[-1]
    if many == 1:
        return "one seed"
    return f"mean ± standard deviation of {many if few == many else f'{few} to {many}'} seeds"
