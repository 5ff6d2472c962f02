"""BPE over bytes, as GPT-2 and CLIP have it: whatever text there is, its bytes have tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer, models

from babelclip.lexicon.kind import Wish
from babelclip.lexicon.merging import join_remains, learn_merges
from babelclip.lexicon.plain import can_end, read_tokens, take_out, with_model
from babelclip.lexicon.vocabulary import Vocabulary
from babelclip.lexicon.words import count_marked


class ByMerges:
    """What the kinds of BPE share: a vocabulary of tokens and merges."""

    def read(self, tokenizer: Tokenizer) -> Vocabulary:
        """See ``Kind``."""
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        return Vocabulary(read_tokens(tokenizer), tuple((a, b) for a, b in merges))

    def build(self, base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
        """See ``Kind``; pieces are cut by the merges in the order given."""
        blank = take_out(base)
        return with_model(blank, make_model(blank, vocabulary))

    def cut(self, base: Tokenizer, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
        """See ``Kind``; a token without the mark of a word's end is cut as the beginning or middle of a word."""
        return cut_by_merges(take_out(base), vocabulary, tokens)

    def flaw(self, base: Tokenizer, old: Vocabulary, new: Vocabulary) -> str | None:
        """See ``Kind``; merges make known tokens of known ones."""
        return flaw_of_merges(take_out(base), old, new)


class ByteLevelBpe(ByMerges):
    """BPE over bytes."""

    name = "byte-level BPE"

    def fits(self, blank: dict[str, Any]) -> bool:
        """See ``Kind``."""
        parts = json.dumps([blank["normalizer"], blank["pre_tokenizer"]])
        return blank["model"]["type"] == "BPE" and '"ByteLevel"' in parts

    def learn(self, texts: Iterable[str], base: Tokenizer, wish: Wish, old: Vocabulary) -> Vocabulary:
        """See ``Kind``; special tokens count towards the size and come first, as in the reference; letters are bytes.

        A BPE that marks what does not begin a word learns from letters, whatever is wished.
        """
        blank = take_out(base)
        suffix, prefix = marks(blank)
        if wish.remains and old.tokens and not prefix:
            return self._learn_of_remains(count_marked(texts, base), blank, wish, old)

        def order(symbols: set[str]) -> list[str]:
            return sorted(symbols, key=lambda one: (bool(suffix) and one.endswith(suffix) and one != suffix, one))

        specials = [token["content"] for token in blank["added_tokens"]]
        return learn_merges(list(texts), blank, wish, first=specials, suffix=suffix, prefix=prefix, order=order)

    def _learn_of_remains(
        self, words: Mapping[str, int], blank: dict[str, Any], wish: Wish, old: Vocabulary
    ) -> Vocabulary:
        """Learn merges of what old ones leave of words; a byte that ``old`` has no token for gets one first."""
        suffix, known = marks(blank)[0], set(old.tokens)
        letters = sorted({letter for word in words for letter in word} | {word[-1] + suffix for word in words if word})
        model = make_model(blank, old + Vocabulary(tuple(letter for letter in letters if letter not in known)))
        cut = {word: [piece.value for piece in model.tokenize(word)] for word in words}
        size = wish.size - len(letters) - len(blank["added_tokens"])
        found = join_remains(cut, words, replace(wish, size=max(0, size)))
        pieces = sorted({piece for one in cut.values() for piece in one})
        return Vocabulary(tuple(dict.fromkeys([*letters, *pieces, *found.tokens])), found.merges)

    def problem(self, base: Tokenizer, vocabulary: Vocabulary, eos: int) -> str | None:
        """See ``Kind``."""
        probe = self.build(base, vocabulary)
        if can_end(probe, eos):
            return "the base vocabulary cannot write every byte, so unknown text would end a caption early"
        return None


BYTE_LEVEL_BPE = ByteLevelBpe()


def marks(blank: dict[str, Any]) -> tuple[str, str]:
    """Return what ends a word's last symbol, and what begins those that do not begin a word."""
    return blank["model"]["end_of_word_suffix"] or "", blank["model"]["continuing_subword_prefix"] or ""


def make_model(blank: dict[str, Any], vocabulary: Vocabulary, suffix: str | None = None) -> models.BPE:
    """Return a model with a vocabulary and the options of a base tokenizer; chance (dropout) is none of them."""
    options = blank["model"]
    kept = {name: options[name] for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token")}
    if suffix is not None:
        kept["end_of_word_suffix"] = suffix
    kept = {name: value for name, value in kept.items() if value is not None}
    return models.BPE(
        vocab={token: i for i, token in enumerate(vocabulary.tokens)}, merges=list(vocabulary.merges),
        fuse_unk=options["fuse_unk"], byte_fallback=options["byte_fallback"],
        ignore_merges=options.get("ignore_merges", False), **kept,
    )  # fmt: skip


def cut_by_merges(blank: dict[str, Any], vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
    """Return the ids of the pieces that merges cut tokens into."""
    suffix, prefix = marks(blank)
    inside, ending = (make_model(blank, vocabulary, end) for end in ("", suffix))
    return [
        [
            piece.id
            for piece in (
                ending.tokenize(token.removesuffix(suffix))
                if suffix and token.endswith(suffix)
                else inside.tokenize(token.removeprefix(prefix))
            )
        ]
        for token in tokens
    ]


def flaw_of_merges(blank: dict[str, Any], old: Vocabulary, new: Vocabulary) -> str | None:
    """Return what is wrong with merges that are to stand behind others."""
    known, there, prefix = {*old.tokens, *new.tokens}, set(old.merges), marks(blank)[1]
    if new.scores:
        return "there are scores, but a BPE cuts by merges"
    for left, right in new.merges:
        if (left, right) in there:
            return f"the merge of {left[:40]!r} and {right[:40]!r} stands twice"
        if not {left, right, left + right.removeprefix(prefix)} <= known:
            return f"the merge of {left[:40]!r} and {right[:40]!r} is of unknown tokens"
        there.add((left, right))
    return None
