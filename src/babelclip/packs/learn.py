"""Learn a language as a pack: alone, straight from the base model, so that no other language matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings, recipe_for
from babelclip.continual import Student
from babelclip.data import Corpus, Examples, Teacher
from babelclip.errors import SettingError
from babelclip.languages import NATIVE, normalise_tag
from babelclip.methods import Stack, compose
from babelclip.packs.card import DataCard, Measured
from babelclip.packs.pack import Pack, Profiles, check_kinds, make_pack
from babelclip.packs.polyglot import Polyglot
from babelclip.packs.warm import START, STARTS, Start, grow_words, start_words
from babelclip.training import Checkpoints, OnStep, TaskReport

METHOD = "cll"
"""What a pack is learnt with: plain training. Nothing can be forgotten, so nothing needs to be protected."""


def pack_recipe(base: str) -> TaskSettings:
    """Return the settings to begin with: those of the base model, but rows that no text uses do not decay.

    They would differ from the base model's by a factor and make each pack as large as the base model's table.
    """
    return replace(recipe_for(base), idle_decay=False)


def learn_pack(  # noqa: PLR0913 - all but two have defaults
    polyglot: Polyglot,
    language: str,
    data: Path | str | Corpus | Examples,
    *,
    method: str | Stack = METHOD,
    settings: TaskSettings | None = None,
    rows: str = "float16",
    start: str | Start = START,
    teacher: Teacher | None = None,
    validation: Examples | Sequence[Examples] | None = None,
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | Path | str | None = None,
    name: str = "",
) -> tuple[Pack, TaskReport]:
    """Learn one language from captions; nothing is installed.

    Args:
        polyglot: the base model; what is installed beside it does not matter, unless ``start`` is ``packs``.
        language: its BCP-47 tag.
        data: a caption file (``read_captions``), or what was made of one.
        method: names joined by ``+``; only what belongs to one language can go into a pack.
        settings: by default ``pack_recipe``.
        rows: how rows are stored: ``float32``, ``float16`` or ``int8``.
        start: where rows start, a name of ``STARTS`` or a function like those (docs/warm.md).
        teacher: the base model's vectors, remembered.
        validation: captions of the language to choose the best epoch with; without it the last one is kept.
        on_step: told about every step.
        checkpoints: a folder to save to, and to go on from if the same call was interrupted.
        name: of the data, for the card.

    Returns:
        The pack and what happened.

    Raises:
        SettingError: the language is the base model's own, the method wants several languages or shares modules between
            them, or there is no pack to start from.
        UnknownNameError: there is no such start.
        BabelclipError: the data or a setting cannot be used.
    """
    if normalise_tag(language) == NATIVE:
        raise SettingError(f"{NATIVE!r} is the base model's own language", fix="Learn another one.")
    stack = compose(method) if isinstance(method, str) else method
    stack.refuse_alone([language])
    encoder, settings = polyglot.encoder, settings or pack_recipe(polyglot.encoder.name)
    check_kinds(stack.acquirers(encoder.text_tower.shape))
    teacher = teacher or Teacher(encoder)
    examples = Student(encoder, Learnt.start(polyglot.base, encoder), teacher).examples(language, data)
    profiles = Profiles.learn(examples.texts, examples.english, file=examples.source)
    words, lexicon = None, polyglot.base
    make = STARTS[start] if isinstance(start, str) else start
    if make is not STARTS[START]:
        words = grow_words(polyglot, examples, next(iter(stack.stages(settings).values())))
        lexicon = start_words(words, make)
    student = Student(encoder, Learnt.start(lexicon, encoder), teacher)
    report = student.learn(
        examples.language, examples, method=stack, settings=settings, validation=validation, on_step=on_step,
        checkpoints=checkpoints,
    )  # fmt: skip
    pack = make_pack(
        encoder, polyglot.base, student.learnt, examples.language, method=stack.name, rows=rows,
        profiles=profiles, settings=settings.as_dict() | {"start": start if isinstance(start, str) else start.__name__},
    )  # fmt: skip
    card = DataCard(
        name=name, fingerprint=examples.fingerprint(), texts=len(examples.texts), pictures=len(examples.files)
    )
    pack = replace(pack, card=pack.card.model_copy(update={"data": card}))
    return pack, report if words is None else words.tell(report)


def add_metrics(pack: Pack, measured: Sequence[Measured]) -> Pack:
    """Return a pack whose card says how well it does on held-out captions."""
    return replace(pack, card=pack.card.model_copy(update={"metrics": [*pack.card.metrics, *measured]}))
