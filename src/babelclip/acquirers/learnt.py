"""What a student has learnt beside its frozen base model: words, and modules of the text tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from babelclip.acquirers.base import Acquirers
from babelclip.acquirers.projection import Projection
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.errors import SettingError
from babelclip.languages import NATIVE, language_part
from babelclip.lexicon import Lexicon, MultilingualLexicon


class Route(NamedTuple):
    """Words and modules that the texts of one language pass through."""

    lexicon: Lexicon
    acquirers: Acquirers


@dataclass(frozen=True)
class Learnt:
    """Words and modules; never changed, only replaced.

    Attributes:
        lexicon: all words.
        acquirers: all modules; none for methods that train token rows only.
        remembered: what methods keep of the languages so far, named ``method.name``: a memory's texts, importances, ids
            of rows. Vectors do not depend on it; the learning of the next language does.
    """

    lexicon: Lexicon
    acquirers: Acquirers = field(default_factory=Acquirers)
    remembered: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(cls, lexicon: Lexicon, encoder: DualEncoder) -> Learnt:
        """Begin with words; multilingual ones bring a projection to the tower's width, always the same at its start."""
        if not isinstance(lexicon, MultilingualLexicon):
            return cls(lexicon)
        projection = Projection(encoder.text_tower.shape, lexicon.table.shape[1])
        projection.begin("", encoder, torch.Generator().manual_seed(0))
        return cls(lexicon, Acquirers({projection.name: projection}))

    @property
    def needs_language(self) -> bool:
        """Whether the language of every text must be known: English has words of its own."""
        return isinstance(self.lexicon, MultilingualLexicon)

    def route(self, language: str | None) -> Route:
        """Return what texts of a language pass through: English beside a multilingual lexicon only the base model.

        Raises:
            SettingError: the language is unknown, and the lexicon is multilingual.
        """
        if not isinstance(self.lexicon, MultilingualLexicon):
            return Route(self.lexicon, self.acquirers)
        if language is None:
            raise SettingError(
                "with a multilingual lexicon the language of a text must be known",
                fix="Say it: language='en' for the base model's own.",
            )
        if language_part(language) == NATIVE:
            return Route(self.lexicon.native, Acquirers())
        return Route(self.lexicon, self.acquirers)

    def encode(
        self, encoder: DualEncoder, texts: Sequence[str], language: str | None = None, *, snapshot: bool = False,
        training: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return (N, dim) float32 vectors of texts of one language, on the CPU, not normalised.

        Args:
            encoder: the frozen base model.
            texts: the texts.
            language: for modules that need it; None where unknown.
            snapshot: cut the texts with the tokenizer that the language was learnt with, not with the newest.
            training: whether modules that choose by themselves at test time may use the language.

        Raises:
            UnknownNameError: ``snapshot`` of a language that has not been learnt.
            SettingError: the language must be known, and is not.
        """
        lexicon, acquirers = self.route(language)
        sequences = lexicon.encode(texts, language if snapshot and lexicon is self.lexicon else None)
        return encode_tokens(encoder, lexicon.table, sequences, acquirers, language, eos=lexicon.eos, training=training)
