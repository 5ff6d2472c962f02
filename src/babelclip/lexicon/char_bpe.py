"""BPE over characters, as SentencePiece and Gemma have it: what has no token falls into bytes, if there are any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer

from babelclip.lexicon.bpe import cut_by_merges, flaw_of_merges, make_model, marks
from babelclip.lexicon.merging import learn_merges
from babelclip.lexicon.plain import can_end, read_tokens, take_out, with_model
from babelclip.lexicon.vocabulary import Vocabulary
from babelclip.lexicon.words import split_for_learning


class CharacterBpe:
    """BPE over characters."""

    name = "BPE over characters"

    def fits(self, blank: dict[str, Any]) -> bool:
        """See ``Kind``."""
        return bool(blank["model"]["type"] == "BPE")

    def learn(self, texts: Iterable[str], base: Tokenizer, vocab_size: int) -> Vocabulary:
        """See ``Kind``; words are split as SentencePiece does, also where the base tokenizer splits nothing."""
        blank = take_out(base)
        suffix, prefix = marks(blank)
        return learn_merges(
            list(texts), blank, vocab_size=vocab_size, suffix=suffix, prefix=prefix, apart=split_for_learning()
        )

    def read(self, tokenizer: Tokenizer) -> Vocabulary:
        """See ``Kind``."""
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        return Vocabulary(read_tokens(tokenizer), tuple((a, b) for a, b in merges))

    def build(self, base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
        """See ``Kind``; pieces are cut by the merges in the order given."""
        blank = take_out(base)
        return with_model(blank, make_model(blank, vocabulary))

    def cut(self, base: Tokenizer, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
        """See ``Kind``."""
        return cut_by_merges(take_out(base), vocabulary, tokens)

    def problem(self, base: Tokenizer, vocabulary: Vocabulary, eos: int) -> str | None:
        """See ``Kind``."""
        probe = self.build(base, vocabulary)
        model = take_out(base)["model"]
        known = probe.get_vocab()
        complete = model["byte_fallback"] and all(f"<0x{byte:02X}>" in known for byte in range(256))
        unknown = None if model["unk_token"] is None or complete else known.get(model["unk_token"])
        if eos == unknown or can_end(probe, eos):
            return "the base tokenizer writes the end-of-text token for unknown text, which would end a caption early"
        return None

    def flaw(self, base: Tokenizer, old: Vocabulary, new: Vocabulary) -> str | None:
        """See ``Kind``; merges make known tokens of known ones."""
        return flaw_of_merges(take_out(base), old, new)


CHARACTER_BPE = CharacterBpe()
