"""BPE over characters, as SentencePiece and Gemma have it: what has no token falls into bytes, if there are any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer

from babelclip.lexicon.bpe import ByMerges, make_model, marks
from babelclip.lexicon.kind import Wish
from babelclip.lexicon.merging import join_remains, learn_merges
from babelclip.lexicon.plain import can_end, take_out
from babelclip.lexicon.vocabulary import Vocabulary
from babelclip.lexicon.words import count_words, split_for_learning


class CharacterBpe(ByMerges):
    """BPE over characters."""

    name = "BPE over characters"

    def fits(self, blank: dict[str, Any]) -> bool:
        """See ``Kind``."""
        return bool(blank["model"]["type"] == "BPE")

    def learn(self, texts: Iterable[str], base: Tokenizer, wish: Wish, old: Vocabulary) -> Vocabulary:
        """See ``Kind``; words are split as SentencePiece does, also where the base tokenizer splits nothing.

        Old merges fire before new ones. So they cut the words first, and what is learnt are merges of what they leave:
        merges learnt from letters would wait for pieces that old ones never leave (dev/LOG.md). A BPE that marks the
        beginnings or ends of words learns from letters.
        """
        blank = take_out(base)
        suffix, prefix = marks(blank)
        if suffix or prefix:
            apart = split_for_learning()
            return learn_merges(list(texts), blank, wish, suffix=suffix, prefix=prefix, apart=apart)
        words = count_words(texts, base)
        letters, known = sorted(set().union(*words)), set(old.tokens)
        behind = old + Vocabulary(tuple(letter for letter in letters if letter not in known))
        model = make_model(blank, behind)
        cut = {word: [piece.value for piece in model.tokenize(word)] for word in sorted(words)}
        found = join_remains(cut, words, replace(wish, size=max(0, wish.size - len(letters))))
        return Vocabulary(tuple(dict.fromkeys([*letters, *found.tokens])), found.merges)

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


CHARACTER_BPE = CharacterBpe()
