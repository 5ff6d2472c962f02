"""The tables that stand between the text of docs/comparison.md and docs/ablation.md, from recorded runs.

A page asks for one by a mark, ``<!-- table: KIND of RECORD -->``, and ends it with ``<!-- /table -->``; KIND is one of
``KINDS``, RECORD a file of bench/results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from babelclip.evaluation import Run, read_results
from babelclip.methods import compose
from babelclip.report.aggregate import Spread, summary
from babelclip.report.published import Summary, find
from babelclip.report.sheets import addition_sheets

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
MARK = re.compile(r"(<!-- table: (\S+) of (\S+) -->\n).*?(\n<!-- /table -->)", re.DOTALL)
METRIC, PUBLISHED_METRIC = "img_r10", "img_r1"
KEYS = ("AA", "F", "Fen", "own")
BySeed = dict[int, Run]

ROWS = (
    ("(1) none", "cll"),
    ("(2) initialisation", "teir(scale=none)"),
    ("(3) gradient scaling", "teir(init=normal,scale=grad)"),
    ("(4) decay scaling", "teir(init=normal,scale=decay)"),
    ("(5) both scalings", "teir(init=normal)"),
    ("(6) TEIR", "teir"),
    ("(7) and one vocabulary", "teir+oracle"),
    ("whole text tower", "teir+full"),
    ("images only", "teir+cross-modal"),
    ("teacher only", "teir+cross-lingual"),
    ("idle rows do not decay", "teir(init=normal,scale=idle)"),
    ("start and end are frozen", "teir(init=normal,scale=specials)"),
    ("one vocabulary from the start: no drift", "oracle"),
)
CLAIMS = (  # what the paper finds: this row against those rows
    ("initialisation alone helps, (2) > (1)", 1, (0,)),
    ("gradient scaling alone helps, (3) > (1)", 2, (0,)),
    ("decay scaling alone helps, (4) > (1)", 3, (0,)),
    ("both help more than either, (5) > (3), (4)", 4, (2, 3)),
    ("initialisation adds to both, (6) > (5)", 5, (4,)),
    ("one vocabulary helps, (7) > (6)", 6, (5,)),
    ("the whole tower forgets nearly all", 7, (5,)),
    ("images alone are worse than both terms", 8, (5,)),
    ("the teacher alone is a little worse than both terms", 9, (5,)),
)
CAUSES = (
    ("decay of idle rows", "teir(init=normal,scale=idle)"),
    ("training of the start and end tokens", "teir(init=normal,scale=specials)"),
    ("growing vocabularies (drift, and words of each language's own)", "oracle"),
)


def with_tables(page: Path) -> str:
    """A page with its tables written anew; the text around them stays."""
    return MARK.sub(lambda found: found[1] + _table(found[2], found[3]) + found[4], page.read_text(encoding="utf-8"))


def _table(kind: str, record: str) -> str:
    return KINDS[kind](record)


def _groups(record: str) -> dict[str, BySeed]:
    """The runs of a record by method and seed."""
    groups: dict[str, BySeed] = {}
    for run in read_results(RESULTS / f"{record}.json").runs:
        groups.setdefault(run.method, {})[run.seed] = run
    return groups


def methods_table(record: str) -> str:
    """Methods that were run without and with TEIR, best AA first, and the counts of the sign test."""
    groups, rows, used = _groups(record), [], []
    for method, plain in groups.items():
        both = sorted(plain.keys() & groups.get(f"{method}+teir", {}).keys())
        if both:
            sides = [plain[seed] for seed in both], [groups[f"{method}+teir"][seed] for seed in both]
            used += [*sides[0], *sides[1]]
            rows.append((summary(sides[0], METRIC, "AA").mean, _method_row(method, *sides)))
    header = ["method", "language at test", "AA", "AA with TEIR", "change", "F", "F with TEIR", "Fen", "Fen with TEIR",
              "own", "own with TEIR"]  # fmt: skip
    table = _markdown(header, [row for _, row in sorted(rows, reverse=True)], words=2)
    return f"{table}\n\n{addition_sheets(used, METRIC)['with-teir'].title}."


def ablation_table(record: str) -> str:
    """Every row of the paper's ablation, and those that isolate one cause of forgetting."""
    groups, printed = _groups(record), [f"{one:.1f}" for one in _published()]
    rows = []
    for (label, method), known in zip(ROWS, [*printed, *["-"] * (len(ROWS) - len(printed))], strict=True):
        of = list(_runs(groups, method).values())
        cells = [str(summary(of, METRIC, key)) for key in KEYS]
        rows.append([label, f"`{method}`", str(summary(of, PUBLISHED_METRIC, "AA")), known, *cells])
    return _markdown(["row", "method here", "img_r1 AA", "published", "img_r10 AA", "F", "Fen", "own"], rows, words=2)


def order_table(record: str) -> str:
    """Each row of the ablation against those that the paper finds it to differ from, paired by seed."""
    groups, printed, rows = _groups(record), _published(), []
    for claim, row, others in CLAIMS:
        ours = [_change(_runs(groups, ROWS[row][1]), _runs(groups, ROWS[other][1])) for other in others]
        theirs = [printed[row] - printed[other] for other in others]
        cells = [f"{mine.mean:+.1f} ± {mine.deviation:.1f}" if mine.count > 1 else f"{mine.mean:+.1f}" for mine in ours]
        found = dict.fromkeys(_verdict(mine, known) for mine, known in zip(ours, theirs, strict=True))
        rows.append([claim, ", ".join(f"{known:+.1f}" for known in theirs), f"{', '.join(cells)}: {' / '.join(found)}"])
    return _markdown(["claim", "published", "here"], rows, words=3)


def causes_table(record: str) -> str:
    """How much less is forgotten where one cause alone is taken away; over the seeds that both were run with."""
    groups, rows = _groups(record), _drift(record)
    for label, method in CAUSES:
        without, cells = _runs(groups, method), []
        seeds = sorted(without.keys() & groups["cll"])
        for key in ("F", "Fen"):
            left, whole = (summary([of[seed] for seed in seeds], METRIC, key).mean for of in (without, groups["cll"]))
            cells += [f"{left:.1f}", _share(1 - left / whole)]
        rows.append([label, *cells])
    return _markdown(["taken away", "F", "share of F", "Fen", "share of Fen"], rows, words=1)


KINDS: dict[str, Callable[[str], str]] = {
    "methods": methods_table, "ablation": ablation_table, "order": order_table, "causes": causes_table,
}  # fmt: skip


def _method_row(method: str, plain: Sequence[Run], teir: Sequence[Run]) -> list[str]:
    """One method; ``plain`` and ``teir`` are of the same seeds."""
    told = "told" if plain[0].needs_language else "not told"
    cells = {key: [summary(side, METRIC, key) for side in (plain, teir)] for key in KEYS}
    change = f"{cells['AA'][1].mean - cells['AA'][0].mean:+.1f}"
    pairs = [str(each) for key, both in cells.items() for each in ([*both, change] if key == "AA" else both)]
    return [f"`{method.removeprefix('cll+')}`", told, *pairs]


def _drift(record: str) -> list[list[str]]:
    """What plain training forgets where its final texts are cut by snapshots, if ``bench/drift.py`` measured it."""
    measured = json.loads((RESULTS / "drift.json").read_text(encoding="utf-8")).get(record, [])
    if not measured:
        return []
    cells = []
    for key in ("F", "Fen"):
        whole, left = (sum(one[name] for one in measured) / len(measured) for name in (key, f"{key}_without_drift"))
        cells += [f"{left:.1f}", _share(1 - left / whole)]
    return [["drift of tokenisation (the same models, texts cut by each language's snapshot)", *cells]]


def _runs(groups: dict[str, BySeed], method: str) -> BySeed:
    return groups[compose(method).name]


def _published() -> list[float]:
    """AA of the paper's rows on Crossmodal-3600, in the order of ``ROWS``."""
    rows = find(dataset="crossmodal3600", metric=PUBLISHED_METRIC, table="ablation")
    return [row.values.AA for row in rows if isinstance(row.values, Summary)]


def _change(ours: BySeed, theirs: BySeed) -> Spread:
    """The change of AA, paired by seed."""
    aa = [{seed: run.summary[PUBLISHED_METRIC]["AA"] for seed, run in side.items()} for side in (ours, theirs)]
    return Spread.of([aa[0][seed] - aa[1][seed] for seed in sorted(aa[0].keys() & aa[1])])


def _verdict(mine: Spread, known: float) -> str:
    """Whether a difference has the sign that was published, beyond its own spread where there are several seeds."""
    same = (mine.mean > 0) == (known > 0)
    if mine.count == 1:
        return "same sign, one seed" if same else "the other sign, one seed"
    if abs(mine.mean) <= mine.deviation:
        return "within the spread"
    return "agrees" if same else "the reverse"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value > 0 else "none"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> str:
    """A table whose first ``words`` columns hold words."""
    rule = f"|{'---|' * words}{'--:|' * (len(header) - words)}"
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])
