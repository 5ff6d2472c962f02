"""The tables of docs/comparison.md: every method without and with TEIR, one for each record that the page asks for."""

from __future__ import annotations

import re
from pathlib import Path

from babelclip.evaluation import Run, read_results
from babelclip.report.aggregate import summary
from babelclip.report.sheets import addition_sheets

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "comparison.md"
METRIC = "img_r10"
TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(\n<!-- /table -->)", re.DOTALL)
HEADER = (
    "method", "language at test", "AA", "AA with TEIR", "change", "F", "F with TEIR", "Fen", "Fen with TEIR", "own",
    "own with TEIR",
)  # fmt: skip


def comparison_page() -> str:
    """The page with its tables written anew; the text around them stays."""
    return TABLE.sub(lambda found: found[1] + _table(found[2]) + found[3], PAGE.read_text(encoding="utf-8"))


def _table(name: str) -> str:
    """Methods of a record that were run without and with TEIR, best AA first, and the counts of the sign test."""
    runs = read_results(ROOT / "bench" / "results" / f"{name}.json").runs
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        groups.setdefault(run.method, {})[run.seed] = run
    rows = []
    for method, plain in groups.items():
        both = sorted(plain.keys() & groups.get(f"{method}+teir", {}).keys())
        if both:
            sides = [plain[seed] for seed in both], [groups[f"{method}+teir"][seed] for seed in both]
            rows.append((summary(sides[0], METRIC, "AA").mean, _row(method, *sides)))
    lines = [row for _, row in sorted(rows, reverse=True)]
    head = f"| {' | '.join(HEADER)} |\n|---|---|{'--:|' * (len(HEADER) - 2)}"
    return "\n".join([head, *lines, f"\n{addition_sheets(runs, METRIC)['with-teir'].title}."])


def _row(method: str, plain: list[Run], teir: list[Run]) -> str:
    """One method; ``plain`` and ``teir`` are of the same seeds."""
    told = "told" if plain[0].needs_language else "not told"
    cells = {key: [summary(side, METRIC, key) for side in (plain, teir)] for key in ("AA", "F", "Fen", "own")}
    change = f"{cells['AA'][1].mean - cells['AA'][0].mean:+.1f}"
    name = method.removeprefix("cll+")
    pairs = [str(each) for key, both in cells.items() for each in ([*both, change] if key == "AA" else both)]
    return f"| `{name}` | {told} | {' | '.join(pairs)} |"
