"""What a student has learnt beside its frozen base model: words, and modules of the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from babelclip.acquirers.base import Acquirers
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.lexicon import Lexicon


@dataclass(frozen=True)
class Learnt:
    """Words and modules; never changed, only replaced.

    Attributes:
        lexicon: all words.
        acquirers: all modules; none for methods that train token rows only.
    """

    lexicon: Lexicon
    acquirers: Acquirers = field(default_factory=Acquirers)

    def encode(
        self, encoder: DualEncoder, texts: Sequence[str], language: str | None = None, *, snapshot: bool = False
    ) -> Tensor:
        """Return (N, dim) float32 vectors of texts of one language, on the CPU, not normalised.

        Args:
            encoder: the frozen base model.
            texts: the texts.
            language: for modules that need it; None where unknown.
            snapshot: cut the texts with the tokenizer that the language was learnt with, not with the newest.

        Raises:
            UnknownNameError: ``snapshot`` of a language that has not been learnt.
        """
        sequences = self.lexicon.encode(texts, language if snapshot else None)
        return encode_tokens(encoder, self.lexicon.table, sequences, self.acquirers, language)
