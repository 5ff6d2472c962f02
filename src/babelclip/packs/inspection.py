"""A model at a glance: what it is, what can be taught to it, what that costs, and how it cuts texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from babelclip.config import recipe_for
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DualEncoder, load_encoder
from babelclip.encoders.facts import ModelFacts
from babelclip.encoders.families import TEACHABLE, family_of, why_not
from babelclip.encoders.find import Found, find_model
from babelclip.encoders.insert import TowerShape
from babelclip.encoders.tokenizer_facts import open_tokenizer
from babelclip.errors import ModelError
from babelclip.languages import NATIVE
from babelclip.lexicon import Lexicon
from babelclip.lexicon.cuts import Cuts, measure_cuts
from babelclip.lexicon.store import LEXICON
from babelclip.methods.available import Availability, list_methods
from babelclip.packs.container import is_pack
from babelclip.packs.installed import base_of, is_polyglot, pack_files_of
from babelclip.packs.store import count_contents, load_card
from babelclip.training.footprint import BATCH, Memory, Sizes, Speed, estimate_memory, measure_speed


@dataclass(frozen=True)
class PackFacts:
    """An installed language, or one pack.

    Attributes:
        language: its tag.
        method: what it was learnt with.
        rows: number of token rows of its own.
        stored: how they are stored.
        new_tokens: tokens that the base model has not.
        modules: kinds of modules in the text tower.
        bytes: of its files, before they are compressed.
        fingerprint: of the base model that it is for.
    """

    language: str
    method: str
    rows: int
    stored: str
    new_tokens: int
    modules: tuple[str, ...]
    bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_model`` found.

    Attributes:
        name: as it was asked for.
        facts: of the base model.
        packs: installed languages; None where a base model was asked for.
        fingerprint: of the base model; None where it was not loaded.
        reasons: why it cannot be taught; empty where it can.
        methods: all of them.
        memory: of a task of ``batch`` texts of ``facts.context`` tokens that adds ``new_rows`` rows; None where the
            model cannot be taught.
        batch, new_rows: see ``memory``.
        speed: of the text tower; None where it was not measured.
        texts: how the base tokenizer cuts texts, by language.
        notes: what else should be known.
    """

    name: str
    facts: ModelFacts
    packs: list[PackFacts] | None
    fingerprint: str | None
    reasons: list[str]
    methods: list[Availability]
    memory: Memory | None
    batch: int
    new_rows: int
    speed: Speed | None
    texts: dict[str, Cuts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in types that JSON has."""
        facts = {name: value for name, value in vars(self.facts).items() if name != "weights"}
        for name in ("text", "image", "tokenizer"):
            facts[name] = None if facts[name] is None else asdict(facts[name])
        family = family_of(self.facts.family, self.facts.text.kind)
        return {
            "name": self.name, "fingerprint": self.fingerprint, "teachable": not self.reasons, "reasons": self.reasons,
            "what_can": list(TEACHABLE) if self.reasons else [],
            "model": facts | {"title": family.title, "causal": family.causal, "parameters": self.facts.parameters},
            "packs": None if self.packs is None else [asdict(one) for one in self.packs],
            "methods": [asdict(one) | {"available": one.available} for one in self.methods],
            "cost": None if self.memory is None else {
                "memory": asdict(self.memory) | {"total": self.memory.total}, "batch": self.batch,
                "length": self.facts.context, "new_rows": self.new_rows,
                "speed": None if self.speed is None else asdict(self.speed),
            },
            "texts": {tag: asdict(cuts) for tag, cuts in self.texts.items()}, "notes": self.notes,
        }  # fmt: skip


def inspect_model(
    name: str, *, base: str | None = None, texts: Mapping[str, Sequence[str]] | None = None, measure: bool = True,
    device: str | None = None,
) -> Inspection:  # fmt: skip
    """Look at a model. Its weights are loaded only where it can be taught and they are on this machine.

    Args:
        name: a folder of packs, one pack, ``pictoclip``, a model's folder, or a hub id.
        base: where the base model of packs lies now, if it has moved.
        texts: to be cut by the base tokenizer, by language.
        measure: whether to measure speed.
        device: where to measure.

    Raises:
        ModelError: there is no such model, it is none that we can read, or it has no tokenizer to cut texts with.
        FormatError: a pack is damaged.
    """
    path = Path(name)
    packs = [_read_pack(file) for file in pack_files_of(path)] if is_polyglot(path) or is_pack(path) else None
    found = _find(name, path, base, packs)
    facts, notes = found.facts, []
    reasons, encoder, lexicon = why_not(facts), None, None
    if not reasons and not found.here:
        notes.append(
            f"the weights ({facts.bytes / 1e6:,.0f} MB) are not on this machine, so the fingerprint and the speed are "
            f"not known; `babelclip pull {facts.name}` fetches them"
        )
    elif not reasons:
        encoder, lexicon, reasons = _load(facts.name, device)
    if encoder is not None and any(one.fingerprint != encoder.fingerprint for one in packs or ()):
        notes.append("the packs are for another base model than the one that was found: their fingerprints differ")
    recipe = recipe_for(facts.name)
    others = [some for tag, some in (texts or {}).items() if tag != NATIVE]
    first = [*others, *(texts or {}).values(), []][0]
    return Inspection(
        name=name, facts=facts, packs=packs, fingerprint=None if encoder is None else encoder.fingerprint,
        reasons=reasons, methods=list_methods(_shape(facts), reasons),
        memory=None if reasons else _memory(facts, batch=recipe.batch_size, new_rows=recipe.vocab_size),
        batch=recipe.batch_size, new_rows=recipe.vocab_size,
        speed=measure_speed(encoder, lexicon.encode(first[:BATCH])) if measure and encoder and lexicon else None,
        texts=_cut(found, texts), notes=notes,
    )  # fmt: skip


def _find(name: str, path: Path, base: str | None, packs: list[PackFacts] | None) -> Found:
    """The base model."""
    if packs is None:
        if (path / LEXICON).is_file():
            raise ModelError(
                f"{name} is a lexicon that languages share, not a model of its own",
                fix=f"Inspect the base model that its {LEXICON} names; `babelclip evaluate --model` measures it.",
            )
        return find_model(name)
    own = base or (base_of(path) if is_polyglot(path) else load_card(path).base.name)
    try:
        return find_model(own)
    except ModelError as error:
        raise ModelError(
            f"the base model of {name}, {own!r}, was not found: {error.what}", fix="Say where it lies now: --base."
        ) from error


def _read_pack(file: Path) -> PackFacts:
    card, rows, new_tokens = count_contents(file)
    return PackFacts(
        language=card.language, method=card.method, rows=rows, stored=card.rows, new_tokens=new_tokens,
        modules=tuple(card.modules), bytes=sum(one.bytes for one in card.files.values()),
        fingerprint=card.base.fingerprint,
    )  # fmt: skip


def _load(name: str, device: str | None) -> tuple[DualEncoder | None, Lexicon | None, list[str]]:
    """The model and its words, or why they cannot be had."""
    try:
        encoder = load_encoder(name, device=device)
        return encoder, base_lexicon(encoder), []
    except ModelError as error:
        return None, None, [error.what]


def _shape(facts: ModelFacts) -> TowerShape | None:
    text = facts.text
    if text.layers is None or text.width is None or text.heads is None or facts.dim is None:
        return None
    return TowerShape(text.layers, text.width, text.heads, facts.dim)


def _memory(facts: ModelFacts, *, batch: int, new_rows: int) -> Memory | None:
    text, image = facts.text, facts.image
    if text.layers is None or text.width is None or facts.rows is None:
        return None
    sizes = Sizes(
        facts.parameters, facts.rows, text.width, text.inner or 4 * text.width, text.layers, (facts.patches or 0) + 1,
        image.width or 0, image.inner or 4 * (image.width or 0),
    )  # fmt: skip
    return estimate_memory(sizes, batch=batch, length=facts.context or 77, new_rows=new_rows)


def _cut(found: Found, texts: Mapping[str, Sequence[str]] | None) -> dict[str, Cuts]:
    if not texts:
        return {}
    tokenizer, facts = open_tokenizer(found.folder), found.facts
    if facts.tokenizer is None:
        raise ModelError(facts.no_tokenizer, file=found.folder, fix="Put the model's tokenizer.json there.")
    return {tag: measure_cuts(tokenizer, some, facts.tokenizer, context=facts.context) for tag, some in texts.items()}
