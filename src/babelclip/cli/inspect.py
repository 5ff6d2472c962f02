"""``babelclip inspect``: what a model is, what can be taught to it, what that costs, how it cuts texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from babelclip.cli.console import console, quieten
from babelclip.data.texts import UNKNOWN, read_texts
from babelclip.encoders.facts import ModelFacts, TowerFacts
from babelclip.encoders.families import TEACHABLE, family_of
from babelclip.encoders.tokenizer_facts import TokenizerFacts
from babelclip.errors import SettingError
from babelclip.languages import language_name
from babelclip.packs.inspection import Inspection, PackFacts, inspect_model
from babelclip.report.terminal import new_table


def run_inspect(
    model: str, *, base: str | None, texts: Path | None, language: str | None, measure: bool, device: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Look, measure, print; arguments as for ``inspect_model``.

    Raises:
        SettingError: a language is given, but no texts.
    """
    quieten()
    if language is not None and texts is None:
        raise SettingError("--language is given without --texts", fix="Say which texts: --texts FILE.")
    read = None if texts is None else read_texts(texts, language)
    found = inspect_model(model, base=base, texts=read, measure=measure, device=device)
    if as_json:
        console.print_json(json.dumps(found.as_dict()))
        return
    _pairs(f"{found.name}: what was found", _facts(found))
    if found.packs is not None:
        _show_packs(found.packs)
    _show_teaching(found)
    _show_cost(found)
    if found.texts:
        _show_texts(found)
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=False)


def _pairs(title: str, facts: Mapping[str, str]) -> None:
    """Print a table of names and what they are; empty ones are left out."""
    table = new_table(title, header=False)
    table.add_column("", no_wrap=True)
    table.add_column("")
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    console.print(table)


def _facts(found: Inspection) -> dict[str, str]:
    facts = found.facts
    family = family_of(facts.family, facts.text.kind)
    ids = "".join(f", {name} {number}" for name, number in facts.pooling_ids.items())
    sees = {True: "; each token sees those before it", False: "; each token sees all others", None: ""}[family.causal]
    return {
        "base model": facts.name if facts.name != found.name else "",
        "family": f"{facts.family}: {family.title}" + f" ({facts.architecture})" * bool(facts.architecture),
        "text tower": _tower(facts.text),
        "image tower": _tower(facts.image),
        "beside them": f"{facts.other:,} parameters" if facts.other > 2 else "",
        "pictures": _pictures(facts),
        "texts": f"at most {_said(facts.context)} tokens{_own_limit(facts)}{sees}",
        "pooling": facts.pooling + ids,
        "tokenizer": facts.no_tokenizer if facts.tokenizer is None else _tokenizer(facts.tokenizer),
        "shared space": f"{_said(facts.dim)} dimensions",
        "on disk": f"{_size(facts.bytes)}: " + ", ".join(f"{n:,} {dtype}" for dtype, n in facts.dtypes.items()),
        "fingerprint": (found.fingerprint or "")[:12],
    }


def _tower(tower: TowerFacts) -> str:
    sizes = (
        f"{_said(tower.layers)} layers of width {_said(tower.width)}, {_said(tower.heads)} heads, MLP "
        f"{_said(tower.inner)} {tower.activation}"
    ).rstrip()
    return f"{tower.kind or 'its kind is not said'}: {sizes}; {tower.parameters:,} parameters, {_size(tower.bytes)}"


def _pictures(facts: ModelFacts) -> str:
    whole = facts.image_size is None and facts.patches is not None
    side = f"any size, at most {facts.patches:,} patches" if whole else f"{_said(facts.image_size)} px, patches"
    missing = "" if facts.prepares_pictures else "; no preprocessor_config.json"
    return f"{side} of {_said(facts.patch)} px{missing}"


def _own_limit(facts: ModelFacts) -> str:
    """What the tokenizer says, where it is less than what the tower takes."""
    own = None if facts.tokenizer is None else facts.tokenizer.longest
    return "" if own is None or facts.context is None or own >= facts.context else f", {own} by its tokenizer"


def _tokenizer(one: TokenizerFacts) -> str:
    parts = [f"{one.kind}, {one.tokens:,} tokens"]
    parts += [f"{one.merges:,} merges"] * bool(one.merges)
    parts.append("byte level" if one.byte_level else "bytes as a fallback" if one.byte_fallback else "no byte level")
    parts.append("lower-cases" if one.lower_case else "keeps capitals")
    if one.made_from:
        parts.append(f"made from {', '.join(one.made_from)}")
    ids = ", ".join(f"{name} {number}" for name, number in one.specials.items())
    return ", ".join(parts) + (f"; ids: {ids}" if ids else "")


def _show_packs(packs: list[PackFacts]) -> None:
    table = new_table(f"installed: English and {len(packs)} more" if len(packs) != 1 else "installed: one pack")
    for name in ("tag", "language", "method", "rows", "new tokens", "modules", "size"):
        table.add_column(name, justify="right" if name in ("rows", "new tokens", "size") else "left")
    for one in packs:
        table.add_row(
            one.language, language_name(one.language), one.method, f"{one.rows:,} {one.stored}",
            f"{one.new_tokens:,}", ", ".join(one.modules) or "none", _size(one.bytes),
        )  # fmt: skip
    console.print(table)


def _show_teaching(found: Inspection) -> None:
    """The methods; of a model that cannot be taught, why not, and what can."""
    if found.reasons:
        console.print("It cannot be taught yet:")
        _list([*found.reasons, f"so none of the {len(found.methods)} methods is available"])
        console.print("What can be taught:")
        _list(TEACHABLE)
        return
    table = new_table("what can be taught: methods (docs/methods.md)")
    why = ("why not",) * any(one.reason for one in found.methods)
    for name in ("method", "available", "language is told", "keeps texts", "as a pack", *why):
        table.add_column(name, no_wrap=name == "method")
    for one in found.methods:
        marks = ("yes" if is_so else "" for is_so in (one.told, one.memory, one.pack))
        table.add_row(one.method, "yes" if one.available else "no", *marks, *(one.reason for _ in why))
    console.print(table)
    console.print(
        "language is told: that of each text must be said; keeps texts: of earlier languages; as a pack: what it "
        "learns can be a language's own, else only learn --shared works",
        soft_wrap=False,
    )
    console.print()


def _show_cost(found: Inspection) -> None:
    if found.memory is None:
        return
    memory, speed = found.memory, found.speed
    facts = {
        "memory": f"about {_about(memory.total)}, beside 0.5 GB of interpreter and libraries",
        "model": _about(memory.model),
        "lexicon": f"{_about(memory.lexicon)}, with {found.new_rows:,} new tokens",
        "training": f"{_about(memory.training)}, if all rows are trained",
        "texts": f"{_about(memory.texts)}, {found.batch} texts of {_said(found.facts.context)} tokens in a step",
        "pictures": f"{_about(memory.pictures)}, before training; of the two the larger counts",
        "speed": "" if speed is None else f"{speed.texts_per_second:,.0f} texts/s forward and backward, "
        f"{speed.batch} texts of {speed.length:.1f} tokens at a time, {speed.device}"
        + f", {speed.threads} thread{'s' * (speed.threads > 1)}" * (speed.device == "cpu"),
    }  # fmt: skip
    _pairs("what it will cost, in float32 with the method cll", facts)


def _show_texts(found: Inspection) -> None:
    """How the base tokenizer cuts texts."""
    table = new_table("texts: tokens a word, a character and a text, as the base tokenizer cuts them")
    names = ("language", "texts", "/word", "/character", "/text", "too long", "words in bytes", "unknown")
    for name in names:
        table.add_column(name, justify="left" if name == "language" else "right")
    for tag, cuts in found.texts.items():
        table.add_row(
            "not said" if tag == UNKNOWN else f"{tag} {language_name(tag)}", f"{cuts.texts:,}",
            f"{cuts.tokens_per_word:.2f}", f"{cuts.tokens_per_character:.2f}", f"{cuts.tokens_per_text:.1f}",
            "?" if cuts.over_limit is None else _percent(cuts.over_limit), _percent(cuts.in_bytes),
            _percent(cuts.unknown),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"too long: over {_said(found.facts.context)} tokens with special ones; words in bytes: every token is a "
        "single byte; unknown: words with a part that has no token",
        soft_wrap=False,
    )


def _list(lines: tuple[str, ...] | list[str]) -> None:
    table = new_table("", header=False)
    table.title = None
    for _ in range(2):
        table.add_column("")
    for line in lines:
        table.add_row("-", line)
    console.print(table)


def _said(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _size(number: int) -> str:
    """Bytes in MB or GB."""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.2f} MB"


def _about(number: int) -> str:
    """Bytes of an estimate, in whole MB or tenths of a GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
