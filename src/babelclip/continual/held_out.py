"""Examples that are scored again and again, as in the validation after each epoch: cut and read once."""

from __future__ import annotations

from functools import cached_property

from tokenizers import Tokenizer
from torch import Tensor

from babelclip.acquirers import Learnt
from babelclip.data import Examples
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.evaluation import retrieval_scores
from babelclip.lexicon import Tokens, tokenise


class HeldOut:
    """One language's examples; keeps the texts' tokens and the pictures' vectors from score to score."""

    def __init__(self, encoder: DualEncoder, examples: Examples) -> None:
        """Point at the examples; nothing is read before the first score."""
        self._encoder, self._examples = encoder, examples
        self._cut: tuple[Tokenizer, Tokens] | None = None

    def score(self, learnt: Learnt) -> dict[str, float]:
        """Return the scores of ``Student.evaluate``."""
        examples = self._examples
        lexicon, acquirers = learnt.route(examples.language)
        sequences = lexicon.add_specials(self._tokens(lexicon.tokenizer()))
        texts = encode_tokens(self._encoder, lexicon.table, sequences, acquirers, examples.language, eos=lexicon.eos)
        return retrieval_scores(texts, self._images, examples.owner)

    @cached_property
    def _images(self) -> Tensor:
        """(N, dim) vectors of all pictures."""
        return self._examples.images[:]

    def _tokens(self, tokenizer: Tokenizer) -> Tokens:
        """The texts as a tokenizer cuts them; another one cuts them anew."""
        if self._cut is None or self._cut[0] is not tokenizer:
            self._cut = tokenizer, tokenise(tokenizer, self._examples.texts)
        return self._cut[1]
