"""Unigram, as SentencePiece has it: of all ways to cut a text, the one whose pieces are most probable together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer, models

from babelclip.lexicon.em import learn_pieces
from babelclip.lexicon.kind import Wish
from babelclip.lexicon.plain import can_end, read_tokens, take_out, with_model
from babelclip.lexicon.vocabulary import Vocabulary
from babelclip.lexicon.words import count_words

LARGEST_SCORE = 10_000.0
"""Of a score from a file, as a distance from 0; log probabilities are never near it."""


class Unigram:
    """Unigram."""

    name = "Unigram"

    def fits(self, blank: dict[str, Any]) -> bool:
        """See ``Kind``."""
        return bool(blank["model"]["type"] == "Unigram")

    def learn(self, texts: Iterable[str], base: Tokenizer, wish: Wish, old: Vocabulary) -> Vocabulary:
        """See ``Kind``; most probable pieces first."""
        found = learn_pieces(count_words(texts, base), wish.size, wish.min_count)
        return Vocabulary(tuple(piece for piece, _ in found), (), tuple(score for _, score in found))

    def read(self, tokenizer: Tokenizer) -> Vocabulary:
        """See ``Kind``; added tokens behind the pieces get the lowest score, which no text reaches."""
        tokens = read_tokens(tokenizer)
        scores = [score for _, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
        scores += [min(scores, default=0.0)] * (len(tokens) - len(scores))
        return Vocabulary(tokens, (), tuple(map(float, scores)))

    def build(self, base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
        """See ``Kind``."""
        blank = take_out(base)
        return with_model(blank, _model(blank, vocabulary))

    def cut(self, base: Tokenizer, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
        """See ``Kind``."""
        model = _model(take_out(base), vocabulary)
        return [[piece.id for piece in model.tokenize(token)] for token in tokens]

    def problem(self, base: Tokenizer, vocabulary: Vocabulary, eos: int) -> str | None:
        """See ``Kind``."""
        probe = self.build(base, vocabulary)
        model = take_out(base)["model"]
        if model["unk_id"] is None and not model["byte_fallback"]:
            return "the base tokenizer has no token for unknown text, so it cannot cut every caption"
        if eos == model["unk_id"] or can_end(probe, eos):
            return "the base tokenizer writes the end-of-text token for unknown text, which would end a caption early"
        return None

    def flaw(self, base: Tokenizer, old: Vocabulary, new: Vocabulary) -> str | None:
        """See ``Kind``; each new token has a score."""
        if new.merges:
            return "there are merges, but a Unigram has none"
        if len(new.scores) != len(new.tokens):
            return f"there are {len(new.scores):,} scores for {len(new.tokens):,} tokens"
        worst = next((one for one in new.scores if not (math.isfinite(one) and abs(one) <= LARGEST_SCORE)), None)
        return None if worst is None else f"a score is {worst}, which no logarithm of a probability is"


UNIGRAM = Unigram()


def _model(blank: dict[str, Any], vocabulary: Vocabulary) -> models.Unigram:
    options = blank["model"]
    pieces = list(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    return models.Unigram(pieces, options["unk_id"], byte_fallback=options["byte_fallback"])
