"""Scores after each task, where only texts that a task can have changed are encoded again.

Texts are encoded in parts of ``PART`` in the order of their file. The vectors of a part depend on the token ids of its
texts, on the rows of these ids and on the modules of its language alone, so a part where all three are equal has equal
vectors, bit for bit: the incremental evaluation equals the full one exactly, also in a process that was started in the
middle of a run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from babelclip.acquirers import Learnt
from babelclip.data import Examples
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.evaluation import bootstrap_intervals, retrieval_scores

PART = 64
Scores = dict[str, float]


@dataclass(frozen=True)
class Gallery:
    """What one score is measured on.

    Attributes:
        name: of the data set and split, such as ``flickr8k-multi test``.
        examples: texts and pictures.
        folds: equal parts that are ranked on their own (5 for MSCOCO-1k).
    """

    name: str
    examples: Examples
    folds: int = 1


class _Part(NamedTuple):
    """The input ids of neighbouring texts: (T,) int32, one text behind the other, and (n,) int32 how many each has."""

    ids: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, sequences: list[list[int]]) -> _Part:
        ids = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int32)
        return cls(ids, torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int32))

    def sequences(self) -> list[list[int]]:
        """The ids of each text."""
        return [one.tolist() for one in self.ids.split(self.lengths.tolist())]

    def same_as(self, other: _Part) -> bool:
        """Whether another one has the same texts."""
        return torch.equal(self.ids, other.ids) and torch.equal(self.lengths, other.lengths)


@dataclass
class _Known:
    """What was found the last time."""

    learnt: Learnt
    parts: list[_Part]
    vectors: Tensor
    scores: Scores


@dataclass
class Evaluator:
    """Scores galleries, remembering their vectors.

    Attributes:
        encoder: the base model.
        incremental: False encodes every text again, every time.
        texts: texts scored so far.
        encoded: texts encoded so far.
        seconds: time spent.
    """

    encoder: DualEncoder
    incremental: bool = True
    texts: int = 0
    encoded: int = 0
    seconds: float = 0.0
    _known: dict[tuple[str, str], _Known] = field(default_factory=dict, repr=False)
    _changed: tuple[Tensor, Tensor, Tensor] | None = field(default=None, repr=False)

    def score(self, learnt: Learnt, gallery: Gallery) -> Scores:
        """Return the retrieval scores of a gallery with the newest tokenizer, in percent."""
        started = time.perf_counter()
        known = self._look(learnt, gallery)
        self.seconds += time.perf_counter() - started
        return known.scores

    def intervals(self, learnt: Learnt, gallery: Gallery, *, seed: int) -> dict[str, tuple[float, float]]:
        """Return 95 % bootstrap intervals over the pictures of a gallery."""
        started = time.perf_counter()
        vectors, part = self._look(learnt, gallery).vectors, gallery.examples
        found = bootstrap_intervals(vectors, part.images[:], part.owner, seed=seed, folds=gallery.folds)
        self.seconds += time.perf_counter() - started
        return found

    def _look(self, learnt: Learnt, gallery: Gallery) -> _Known:
        """Encode what has changed, and score again if anything has."""
        examples = gallery.examples
        lexicon, modules = learnt.route(examples.language)
        key = gallery.name, examples.language
        known = self._known.get(key) if self.incremental else None
        parts = list(_cut(lexicon.encode(examples.texts)))
        vectors = torch.empty(len(examples.texts), self.encoder.dim) if known is None else known.vectors
        changed = None
        if known is not None:
            before = known.learnt.route(examples.language)
            if modules.same_for(examples.language, before.acquirers):
                changed = self._rows_changed(before.lexicon.table, lexicon.table)
        stale = [
            number
            for number, part in enumerate(parts)
            if known is None or changed is None or not part.same_as(known.parts[number]) or changed[part.ids].any()
        ]
        table = lexicon.table.to(self.encoder.device) if stale else lexicon.table
        for number in stale:
            sequences = parts[number].sequences()
            vectors[number * PART :][: len(sequences)] = encode_tokens(
                self.encoder, table, sequences, modules, examples.language, eos=lexicon.eos
            )
            self.encoded += len(sequences)
        self.texts += len(examples.texts)
        if known is None or stale:
            scores = retrieval_scores(vectors, examples.images[:], examples.owner, folds=gallery.folds)
        else:
            scores = known.scores
        self._known[key] = _Known(learnt, parts, vectors, scores)
        return self._known[key]

    def _rows_changed(self, before: Tensor, after: Tensor) -> Tensor:
        """(V,) whether a row of ``after`` is not what it was in ``before``; remembered for the next gallery."""
        if self._changed is None or self._changed[0] is not before or self._changed[1] is not after:
            changed = torch.ones(len(after), dtype=torch.bool)
            if before is after:
                changed[:] = False
            else:
                changed[: len(before)] = (after[: len(before)] != before).any(dim=1)
            self._changed = before, after, changed
        return self._changed[2]


def _cut(sequences: list[list[int]]) -> Iterator[_Part]:
    return (_Part.of(sequences[start : start + PART]) for start in range(0, len(sequences), PART))
