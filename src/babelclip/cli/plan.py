"""``babelclip learn --plan``: what a pack will cost and may reach, before it is learnt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from babelclip.cli.console import console, counted, quieten
from babelclip.cli.learn import Columns, rare_tokens
from babelclip.cli.teaching import PackTeaching, Start
from babelclip.config import change_settings
from babelclip.data import Cache
from babelclip.errors import SettingError
from babelclip.languages import language_name, normalise_tag
from babelclip.methods import compose
from babelclip.packs import METHOD
from babelclip.packs.curve import CURVES
from babelclip.packs.plan import Plan, plan_pack
from babelclip.packs.warm import START
from babelclip.report.terminal import new_table


def run_plan(
    language: str, out: Path, data: Path, *, start: Start, method: str | None, columns: Columns, device: str | None,
    frames: int, changes: Sequence[str], as_json: bool,
) -> None:  # fmt: skip
    """Read the captions, measure a few steps, print; arguments as for ``run_learn``.

    Raises:
        SettingError: what is to be learnt is no pack.
    """
    quieten()
    tags = [normalise_tag(tag) for tag in language.split(",")]
    if start.shares(tags):
        raise SettingError(
            "--plan is for packs, but what is to be learnt belongs to several languages",
            fix="Plan one language from a base model, without --lexicon, --again and --shared.",
        )
    stack, rows_from = compose(method or METHOD), start.rows_from or START
    stack.refuse(change.partition("=")[0].strip() for change in changes)
    corpus = columns.read(data, tags[0])
    teaching = PackTeaching(start, tags[0], out, device=device, cache=Cache(None), frames=frames)
    settings = change_settings(teaching.recipe, changes)
    plan = plan_pack(teaching.polyglot, corpus, method=stack, settings=settings, start=rows_from)
    if as_json:
        content = asdict(plan) | {"seconds": plan.seconds, "rows": start.rows, "start": rows_from}
        console.print_json(json.dumps(content))
        return
    _show(plan, start.rows, rows_from)
    if advice := rare_tokens(plan.coverage, plan.new_tokens, settings):
        console.print(f"note: {advice}")


def _show(plan: Plan, rows: str, start: str) -> None:
    """Print a plan."""
    table = new_table(
        f"{language_name(plan.language)} ({plan.language}), planned; nothing has been learnt or written", header=False
    )
    table.add_column("")
    table.add_column("")
    own, base = plan.coverage, plan.before
    sizes = ", ".join(f"{size / 1e6:.2f} MB as {name}" for name, size in plan.pack_bytes.items() if name != rows)
    facts = {
        "data": f"{plan.texts:,} texts of {plan.pictures:,} pictures",
        "tokens a word": f"{own.tokens_per_word:.2f}, with the base tokenizer {base.tokens_per_word:.2f}",
        "tokens a text": f"{own.tokens_per_text:.1f}, with the base tokenizer {base.tokens_per_text:.1f}",
        "cut at the limit": f"{100 * own.over_limit:.1f} % of the texts, with the base tokenizer "
        f"{100 * base.over_limit:.1f} %",
        "new tokens": f"{plan.new_tokens:,}, of them {own.unused:,} in no training text",
        "pack": f"{plan.own_rows:,} rows, {plan.pack_bytes[rows] / 1e6:.2f} MB as {rows} ({sizes})",
        "time, estimated": f"{_time(plan.steps * plan.step_seconds)} for {counted(plan.steps, 'step')}"
        + (f", {_time(plan.pictures * plan.picture_seconds)} for pictures that are new" * (plan.picture_seconds > 0)),
        "quality, guessed": _expected(plan, start),
    }
    for name, fact in facts.items():
        table.add_row(name, fact)
    console.print(table)


def _expected(plan: Plan, start: str) -> str:
    """What to expect, and what that is worth."""
    if plan.share is None:
        return (
            f"nothing was measured for this script with the start {start!r}; measured: Latin script with "
            f"{' and '.join(CURVES)} (docs/warm.md)"
        )
    low, high = plan.share
    on = ", ".join(curve.name for curve in CURVES[start])
    return (
        f"img_r10 of {low:.0f} to {high:.0f} % of the base model's own in English, after enough passes; from {on}; "
        "a guess for other data (docs/warm.md)"
    )


def _time(seconds: float) -> str:
    """Seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
