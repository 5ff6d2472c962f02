"""What a pack will cost and what to expect of it, before any of it is learnt; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings
from babelclip.data import Corpus, Examples
from babelclip.encoders import DualEncoder
from babelclip.lexicon import Coverage, Lexicon, measure_coverage, tokenise
from babelclip.methods import Stack, compose
from babelclip.packs.card import ROW_DTYPES
from babelclip.packs.container import zip_files
from babelclip.packs.curve import expect
from babelclip.packs.pack import Profiles, make_pack
from babelclip.packs.polyglot import Polyglot
from babelclip.packs.store import pack_files
from babelclip.packs.warm import STARTS, Words, grow_words
from babelclip.training import StepReport, train_task

STEPS = 4
"""Steps that are timed; the first one, in which memory is fetched, does not count."""
LOOKED_AT = 8
"""Pictures that are encoded to time them."""


@dataclass(frozen=True)
class Plan:
    """What is known beforehand.

    Attributes:
        language: its tag.
        texts: number of training texts.
        pictures: number of their pictures.
        coverage: of the texts by the tokens that the pack will have.
        before: the same by the base tokenizer.
        new_tokens: tokens that the base model has not.
        own_rows: rows of the pack: new tokens, and base tokens that the texts use.
        pack_bytes: size of the pack by the way rows are stored.
        steps: optimiser steps.
        step_seconds: time of a step, measured on this machine just now: medians, and their mean where there are stages.
        picture_seconds: time for a picture, measured likewise; 0 where vectors were given.
        share: lowest and highest img_r10 to expect, percent of the base model's English one; None where nothing was
            measured for this start or script.
    """

    language: str
    texts: int
    pictures: int
    coverage: Coverage
    before: Coverage
    new_tokens: int
    own_rows: int
    pack_bytes: dict[str, int]
    steps: int
    step_seconds: float
    picture_seconds: float
    share: tuple[float, float] | None

    @property
    def seconds(self) -> float:
        """Estimated time of training, and of looking at pictures that are not in the cache."""
        return self.steps * self.step_seconds + self.pictures * self.picture_seconds


def plan_pack(polyglot: Polyglot, corpus: Corpus, *, method: str | Stack, settings: TaskSettings, start: str) -> Plan:
    """Look at captions, run a few steps on some of them, and multiply.

    The steps are real ones, but towards random vectors, because their time does not depend on them: so hardly a picture
    needs to be encoded, and what the steps learn is thrown away.

    Args:
        polyglot: the base model.
        corpus: the captions.
        method: names joined by ``+``.
        settings: of the task.
        start: where rows shall start, a name of ``STARTS``.

    Raises:
        UnknownNameError: there is no such start.
        BabelclipError: what ``learn_pack`` would raise for these captions and settings.
    """
    STARTS[start]  # refuses an unknown name
    stack = compose(method) if isinstance(method, str) else method
    encoder, base = polyglot.encoder, polyglot.base
    examples = _stand_in(corpus, encoder)
    stages = stack.stages(settings)
    words = grow_words(polyglot, examples, next(iter(stages.values())))
    steps = {name: _steps(len(examples.texts), one) for name, one in stages.items()}
    learnt, seconds = _run_some(encoder, words.grown, corpus, stack, settings)
    used = _changed(words, learnt)
    learnt.lexicon.table = words.grown.table.index_add(0, used, torch.ones(len(used), base.table.shape[1]))
    packs = {
        rows: make_pack(
            encoder, base, learnt, corpus.language, method=stack.name, rows=rows,
            profiles=Profiles.learn(examples.texts, examples.english, file=corpus.source),
            settings=settings.as_dict(),
        )
        for rows in ROW_DTYPES
    }  # fmt: skip
    cut = {
        name: measure_coverage(examples.texts, tokens, room=base.frame.room, new_ids=range(old, old + new))
        for name, tokens, old, new in (
            ("own", words.tokens, len(base.table), words.growth.new_tokens),
            ("base", tokenise(base.tokenizer(), examples.texts), 0, 0),
        )
    }
    return Plan(
        language=corpus.language, texts=len(examples.texts), pictures=len(examples.files), coverage=cut["own"],
        before=cut["base"], new_tokens=words.growth.new_tokens, own_rows=len(packs["float32"].rows),
        pack_bytes={rows: len(zip_files(pack_files(pack))) for rows, pack in packs.items()},
        steps=sum(steps.values()),
        step_seconds=sum(steps[name] * seconds[name] for name in steps) / max(1, sum(steps.values())),
        picture_seconds=_time_pictures(encoder, corpus, examples.files), share=expect(examples.texts, start),
    )  # fmt: skip


def _stand_in(corpus: Corpus, encoder: DualEncoder) -> Examples:
    """The captions with random vectors in the place of those of pictures and English texts."""
    captions = corpus.captions
    files = list(dict.fromkeys(caption.image for caption in captions))
    place = {file: number for number, file in enumerate(files)}
    chance = torch.Generator().manual_seed(0)
    return Examples(
        language=corpus.language, texts=[one.text for one in captions], english=[one.english for one in captions],
        files=files, owner=torch.tensor([place[one.image] for one in captions]),
        images=torch.randn(len(files), encoder.dim, generator=chance),
        teachers=torch.randn(len(captions), encoder.dim, generator=chance),
    )  # fmt: skip


def _steps(texts: int, settings: TaskSettings) -> int:
    """Steps of a stage: the last, incomplete batch of an epoch is left out."""
    return texts // max(1, min(settings.batch_size, texts)) * settings.epochs


def _run_some(
    encoder: DualEncoder, grown: Lexicon, corpus: Corpus, stack: Stack, settings: TaskSettings
) -> tuple[Learnt, dict[str, float]]:
    """Train on some of the captions; return what came out, and the median seconds of a step by stage."""
    largest = max(one.batch_size for one in stack.stages(settings).values())
    some = _stand_in(corpus.sample(STEPS * largest), encoder)
    found: dict[str, list[float]] = {}

    def listen(step: StepReport) -> None:
        found.setdefault(step.stage, []).append(step.seconds)

    learnt, _ = train_task(
        encoder, Learnt.start(grown, encoder), some, stack, replace(settings, epochs=1), on_step=listen
    )
    return learnt, {stage: median(seconds[1:] or seconds) for stage, seconds in found.items()}


def _changed(words: Words, learnt: Learnt) -> Tensor:
    """Ids of the rows that training will change: of the tokens in use and of start and end, unless rows are frozen."""
    base = words.base
    if torch.equal(learnt.lexicon.table, words.grown.table):
        return torch.empty(0, dtype=torch.int64)
    changed: Tensor = torch.cat([words.tokens.used(), torch.tensor(base.frame.specials)]).unique()
    return changed


def _time_pictures(encoder: DualEncoder, corpus: Corpus, files: Sequence[Path]) -> float:
    """Seconds to encode a picture, by the first few; 0 where their vectors are given."""
    if corpus.vectors is not None:
        return 0.0
    some = list(files[:LOOKED_AT])
    begin = time.perf_counter()
    encoder.encode_images(some)
    return (time.perf_counter() - begin) / len(some)
