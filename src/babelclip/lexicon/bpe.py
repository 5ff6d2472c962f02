"""BPE over bytes, as GPT-2 and CLIP have it: whatever text there is, its bytes have tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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
        """See ``Kind``; learnt from letters, special tokens count towards the size and come first, as in the reference.

        Letters are bytes here, and all of them have tokens in ``old``.
        """
        blank = take_out(base)
        if wish.remains and old.tokens:
            words, model = count_marked(texts, base), make_model(blank, old)
            return join_remains({word: [piece.value for piece in model.tokenize(word)] for word in words}, words, wish)
        suffix, prefix = marks(blank)

        def order(symbols: set[str]) -> list[str]:
            return sorted(symbols, key=lambda one: (bool(suffix) and one.endswith(suffix) and one != suffix, one))

        specials = [token["content"] for token in blank["added_tokens"]]
        return learn_merges(list(texts), blank, wish, first=specials, suffix=suffix, prefix=prefix, order=order)

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
