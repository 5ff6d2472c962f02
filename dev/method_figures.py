"""What was measured with each method, from recorded runs, and what the papers report beside it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from babelclip.evaluation import Run, read_results
from babelclip.report.aggregate import Spread, summary
from babelclip.report.published import Scores, Summary, beside, find

RECORDS = Path(__file__).parent.parent / "bench" / "results"
RECORD = RECORDS / "table-methods.json"
OTHERS = {
    "table-ablation": ("cll+oracle", "cll+full", "cll+cross-modal", "cll+cross-lingual"),
    "table-packs": ("cll+joint",),
}
"""Methods of other records of the same stream."""
ELSEWHERE = {
    "cll+joint+oracle": ("reference", "cll+joint", "oracle-vocabulary"),
    "cll+oracle+teir": ("ablation", "cll+teir", "oracle-vocabulary"),
    "cll+full+teir": ("ablation", "cll+teir", "whole-tower"),
    "cll+cross-modal+teir": ("ablation", "cll+teir", "cross-modal-only"),
    "cll+cross-lingual+teir": ("ablation", "cll+teir", "cross-lingual-only"),
}
"""Published figures that are not in the main table: table, method and variant."""
HEAD = (
    "AA and F of img_r10, percent, {seeds} seeds, on the stream of the demo ([all tables](recorded.md#table-methods)); "
    "training time of a text in parts of that of `cll` (medians, other work beside; `lwf` and `counts` of later "
    "commits); MB that the method keeps for later tasks (memories, Fisher information); beside it AA of r_mean as "
    "published (MSCOCO_36, 36 languages, CLIP B/16; replay there keeps 8,000 texts; of joint training the mean over "
    "languages). The last five rows are of [table-ablation](recorded.md#table-ablation) and "
    "[table-packs](recorded.md#table-packs), on the same stream. Other work slowed their runs up to threefold, so "
    "their time, marked ~, is rough: the fastest run of the method (with TEIR where there is no other) against the "
    "fastest of `cll` and `cll+teir`.\n"
)
STAGES = (
    "MLA's stages were measured on another stream ([mla.md](mla.md#what-was-measured)): four languages of Flickr8k at "
    "once, on a multilingual lexicon. r_mean of the four, percent, {seeds} seeds; seconds of a pass over their some "
    "24,000 texts (means, other work beside); AR as published (Multi30K without training on it, mean of de fr cs, CLIP "
    "B/32, all captions of a picture together).\n"
)


def figures() -> list[str]:
    """Alone and with TEIR, on the stream of the demo."""
    if not RECORD.exists():
        return []
    groups = _groups(RECORD)
    names = [name for name in groups if "teir" not in name]
    lines = [
        "## Figures\n",
        HEAD.format(seeds=len(groups["cll"])),
        "| method | told | AA | AA with TEIR | F | F with TEIR | time a text | MB kept | published | and with TEIR |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    base = _median(groups["cll"])
    lines += [_row(name, groups, f"{_median(groups[name]) / base:.1f}") for name in names]
    for record, more in OTHERS.items():
        other = _groups(RECORDS / f"{record}.json")
        base = _fastest([*other["cll"], *other["cll+teir"]])
        for name in more:
            times = _fastest(other.get(name) or other[f"{name}+teir"]) / base
            lines.append(_row(name, other, f"~{times:.1f}"))
    return [*lines, ""]


def stage_figures() -> list[str]:
    """The two stages of MLA."""
    file = RECORDS / "mla.json"
    if not file.exists():
        return []
    record = json.loads(file.read_text(encoding="utf-8"))
    seeds, passes = record["seeds"], {name: int(record["options"][f"{name}_epochs"]) for name in ("nlt", "le")}
    rows = (
        ("mla+nlt", "NLT", _passes(seeds, "seconds", {"nlt": passes["nlt"]}), "-"),
        ("mla+nlt+le", "NLT + LE", _passes(seeds, "seconds", passes), f"{_published_mla():.1f}"),
        ("mla+le", "LE alone", "-", "-"),
        ("full+nlt+le", "whole tower, jointly", _passes(seeds, "seconds jointly", passes), "-"),
    )
    return [
        STAGES.format(seeds=len(seeds)),
        "| method | told | r_mean | seconds a pass | published |",
        "|---|---|--:|--:|--:|",
        *(f"| `{name}` | yes | {_mean(seeds, key)} | {seconds} | {known} |" for name, key, seconds, known in rows),
        "",
    ]


def _groups(record: Path) -> dict[str, list[Run]]:
    """The runs of a record by method."""
    groups: dict[str, list[Run]] = {}
    for run in read_results(record).runs:
        groups.setdefault(run.method, []).append(run)
    return groups


def _median(runs: Sequence[Run]) -> float:
    """Seconds a text."""
    return statistics.median(1 / run.cost.texts_per_s for run in runs)


def _fastest(runs: Sequence[Run]) -> float:
    """Seconds a text."""
    return min(1 / run.cost.texts_per_s for run in runs)


def _row(name: str, groups: dict[str, list[Run]], time: str) -> str:
    """One method of a record."""
    sides = groups.get(name, []), groups.get(f"{name}+teir", [])
    cells = [str(summary(side, "img_r10", key)) if side else "-" for key in ("AA", "F") for side in sides]
    runs = sides[0] or sides[1]
    told = "yes" if runs[0].needs_language else "no"
    kept = fmean(run.memory_bytes for run in runs) / 1e6
    printed = [_published(one) for one in (name, f"{name}+teir")]
    return f"| `{name}` | {told} | {' | '.join(cells)} | {time} | {kept:.1f} | {' | '.join(printed)} |"


def _published(name: str) -> str:
    """AA of r_mean on MSCOCO_36; of a reference its score."""
    main = beside("mscoco36", "r_mean", [name])
    if name in main:
        return f"{main[name]['AA']:.1f}"
    if name not in ELSEWHERE:
        return "-"
    table, method, variant = ELSEWHERE[name]
    rows = find(dataset="mscoco36", metric="r_mean", table=table, method=method)
    (values,) = [row.values for row in rows if row.variant == variant]
    if isinstance(values, Scores):
        raise TypeError(f"{name}: {table} has several numbers")
    return f"{values.AA if isinstance(values, Summary) else values.score:.1f}"


def _published_mla() -> float:
    """Mean AR of what both stages taught."""
    (row,) = find(dataset="multi30k", metric="ar", table="mla-zero-shot", method="mla")
    if not isinstance(row.values, Scores):
        raise TypeError("MLA's figures are not by language")
    return fmean(score for tag, score in row.values.scores.items() if tag != "en" and score is not None)


def _mean(seeds: Sequence[dict[str, Any]], key: str) -> str:
    """r_mean over the languages that were taught, over the seeds."""
    return str(Spread.of([fmean(score for tag, score in one[key].items() if tag != "en") for one in seeds]))


def _passes(seeds: Sequence[dict[str, Any]], key: str, passes: dict[str, int]) -> str:
    """Mean seconds of a pass of each stage."""
    return ", ".join(f"{name} {fmean(one[key][name] for one in seeds) / n:.0f}" for name, n in passes.items())
