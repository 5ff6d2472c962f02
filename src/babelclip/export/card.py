"""The README.md of an exported folder: what it is, where it comes from, how to load it, what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from babelclip import __version__
from babelclip.encoders.names import name_for_others
from babelclip.export.leaving import check_family
from babelclip.languages import NATIVE, language_name

if TYPE_CHECKING:
    from babelclip.encoders import DualEncoder
    from babelclip.export.leaving import Leaving
    from babelclip.packs.card import PackCard

SHOWN = ("img_r1", "img_r5", "img_r10", "txt_r10", "r_mean")
"""Scores that are printed, where a pack has them."""
TEXTS = ["a text in one of the languages", "another one"]


@dataclass(frozen=True)
class Usage:
    """How a folder is used.

    Attributes:
        library: what loads it, as hubs call it.
        packages: to install for it.
        code: a program that loads it and makes ``text_vectors`` and ``image_vectors`` of ``texts`` and ``photo.jpg``.
        limits: what to know beside what holds for all targets.
    """

    library: str
    packages: str
    code: str
    limits: tuple[str, ...] = ()


def write_card(encoder: DualEncoder, leavings: Sequence[Leaving], usage: Usage) -> str:
    """Return a model card.

    Args:
        encoder: the base model.
        leavings: what the folder holds.
        usage: how it is loaded.
    """
    tags = [tag for one in leavings for tag in one.languages]
    cards = {card.language: card for one in leavings for card in one.cards}
    shared = any(one.shared for one in leavings)
    base, kind = name_for_others(encoder.name), check_family(encoder).architecture.removesuffix("Model")
    names = [language_name(tag) for tag in tags]
    lines = [
        "---", "language:", *(f"- {json.dumps(tag)}" for tag in tags), f"library_name: {usage.library}",
        "pipeline_tag: zero-shot-image-classification", "tags:", f"- {kind.lower()}", "- babelclip", "---", "",
        f"# {', '.join(names)}: {base}", "",
        f"A {kind} for texts in {', '.join(names)} and for pictures, exported by babelclip {__version__}; it is loaded "
        "without babelclip. Texts and pictures have vectors in one space; the closer, the better they fit.",
        "",
        f"- Languages: {', '.join(tags)}",
        f"- Base model: {base}, fingerprint {encoder.fingerprint}; vectors of pictures are its own",
        "- Words: " + (
            "one vocabulary that all languages share and that each changed" if shared
            else "each language has rows of its own"
        ),
        "", "## Languages", "", *language_table(tags, cards, shared=shared), *score_table(cards),
        "", "## How to load", "", f"`pip install {usage.packages}`; in this folder:", "",
        "```python", usage.code.strip(), "```",
        "", "## Limitations", "", *(f"- {one}" for one in _limits(leavings, cards, usage)), "",
    ]  # fmt: skip
    return "\n".join(lines)


def language_table(tags: Sequence[str], cards: dict[str, PackCard], *, shared: bool) -> list[str]:
    """Return lines of Markdown: how each language was learnt.

    Args:
        tags: languages.
        cards: what packs say, by language.
        shared: whether the languages share one vocabulary.
    """
    lines = ["| language | method | data | texts | pictures | licence |", "|---|---|---|---|---|---|"]
    for tag in tags:
        card = cards.get(tag)
        if card is None:
            how = "in a shared lexicon" if shared else "the base model's own" if tag == NATIVE else "not recorded"
            lines.append(f"| {tag} | {how} | not recorded | | | that of the base model |")
            continue
        counts = f"{card.data.texts:,} | {card.data.pictures:,}"
        method, data, licence = (_cell(one) or "not stated" for one in (card.method, card.data.name, card.licence))
        lines.append(f"| {tag} | {method} | {data} | {counts} | {licence} |")
    notes = [f"- {tag}: {_cell(card.note)}" for tag, card in cards.items() if card.note]
    return [*lines, *(["", *notes] if notes else [])]


def score_table(cards: dict[str, PackCard]) -> list[str]:
    """Return lines of Markdown: what packs say of held-out captions, in percent; none where they say nothing."""
    rows = []
    for tag, card in cards.items():
        for one in card.metrics:
            what = f"{tag} | {_cell(one.data)} | {one.texts:,} | {one.pictures:,}"
            for name, scores in (("base model", one.before), ("this", one.scores)):
                if scores:
                    cells = " | ".join(f"{scores[key]:.1f}" if key in scores else "" for key in SHOWN)
                    rows.append(f"| {what} | {name} | {cells} |")
    if not rows:
        return []
    head = f"| language | captions | texts | gallery | model | {' | '.join(SHOWN)} |"
    return [
        "", "Held-out captions, percent (img_r@k: the picture is among the first k of a text; txt_r@k: the reverse), "
        "as the packs say:", "", head, "|" + "---|" * (5 + len(SHOWN)), *rows,
    ]  # fmt: skip


def _limits(leavings: Sequence[Leaving], cards: dict[str, PackCard], usage: Usage) -> list[str]:
    """What to know."""
    found = [f"Texts are cut at {leavings[0].frame.max_length} tokens, start and end included."]
    if cards:
        found.append(
            f"A language's own folder is for texts in that language alone, not for English: it has rows of its own for "
            f"tokens that English uses too. English goes through the base model (export with --languages {NATIVE})."
        )
    if any(one.shared for one in leavings):
        found.append(
            "Languages that were learnt later changed rows that earlier ones use, English too; English vectors are not "
            "those of the base model."
        )
    if any(one.lora for one in leavings):
        found.append("Weights of the text tower are the base model's with the language's LoRA added.")
    found.append("The licence of the base model holds too.")
    return [*found, *usage.limits]


def _cell(text: str) -> str:
    """What others wrote, on one line of a table."""
    return " ".join(text.split()).replace("|", "/").replace("<", "&lt;")
