"""The words that pieces are learnt from: no piece reaches over a space, or mixes letters, digits and punctuation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, pre_tokenizers

from babelclip.lexicon.plain import MARK

_PART = rf"{MARK}?(?:[\p{{L}}\p{{M}}]+|\p{{N}}+|[^\p{{L}}\p{{M}}\p{{N}}{MARK}]+)|{MARK}"


def split_for_learning() -> pre_tokenizers.PreTokenizer:
    """Return a pre-tokenizer that splits as SentencePiece does when it learns; the mark of a space begins a word."""
    return pre_tokenizers.Split(Regex(_PART), behavior="isolated")


def count_words(texts: Iterable[str], base: Tokenizer) -> Counter[str]:
    """Return how often each word occurs, as a base tokenizer normalises and marks texts, split for learning."""
    known, split = base.pre_tokenizer, split_for_learning()
    return _count(texts, base, split if known is None else pre_tokenizers.Sequence([known, split]))


def count_marked(texts: Iterable[str], base: Tokenizer) -> Counter[str]:
    """Return how often each word occurs, just as a base tokenizer splits texts."""
    return _count(texts, base, base.pre_tokenizer)


def _count(texts: Iterable[str], base: Tokenizer, cutter: pre_tokenizers.PreTokenizer | None) -> Counter[str]:
    normaliser = base.normalizer
    words: Counter[str] = Counter()
    for text, count in Counter(texts).items():
        plain = text if normaliser is None else normaliser.normalize_str(text)
        for word, _ in [(plain, (0, len(plain)))] if cutter is None else cutter.pre_tokenize_str(plain):
            words[word] += count
    return words
