"""How a tokenizer cuts the texts of a language: what a base model makes of it before it is taught."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from babelclip.encoders.tokenizer_facts import TokenizerFacts
from babelclip.lexicon.coverage import measure_coverage
from babelclip.lexicon.tokens import tokenise

_FALLBACK = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Cuts:
    """Figures over the texts of one language; shares are 0 to 1.

    Attributes:
        texts: number of texts.
        tokens_per_text: mean number of tokens, without special tokens.
        tokens_per_word: the same per white-space separated word (Chinese, Japanese and Thai have few of those).
        tokens_per_character: the same per character that is no white space, as Unicode counts them in NFC.
        over_limit: of the texts, those longer than the context, which are cut there; None where that is not known.
        in_bytes: of the words with a letter in them and more than one byte, those of which every token is one byte.
        unknown: of the words, those in which some part has no token at all.
    """

    texts: int
    tokens_per_text: float
    tokens_per_word: float
    tokens_per_character: float
    over_limit: float | None
    in_bytes: float
    unknown: float


def measure_cuts(tokenizer: Tokenizer, texts: Sequence[str], facts: TokenizerFacts, *, context: int | None) -> Cuts:
    """Cut texts and count.

    Args:
        tokenizer: the base model's, without truncation and padding.
        texts: in NFC.
        facts: what the tokenizer is.
        context: longest text in tokens, special tokens included; None where that is not known.
    """
    tokens = tokenise(tokenizer, texts)
    around = tokenizer.num_special_tokens_to_add(is_pair=False) or 2
    coverage = measure_coverage(texts, tokens, room=(context or 0) - around, new_ids=range(0))
    characters = sum(not letter.isspace() for text in texts for letter in text)
    words = Counter(word for text in texts for word in text.split())
    suffix = getattr(tokenizer.model, "end_of_word_suffix", None) or ""
    cut, lost, long = 0, 0, 0
    encodings = tokenizer.encode_batch(list(words), add_special_tokens=False)
    for (word, count), encoding in zip(words.items(), encodings, strict=True):
        lost += count * _is_lost(encoding, facts)
        if len(word.encode()) > 1 and any(map(str.isalpha, word)):
            long += count
            cut += count * _in_bytes(encoding.tokens, suffix, facts)
    return Cuts(
        texts=len(texts), tokens_per_text=coverage.tokens_per_text, tokens_per_word=coverage.tokens_per_word,
        tokens_per_character=len(tokens.ids) / max(1, characters),
        over_limit=None if context is None else coverage.over_limit,
        in_bytes=cut / max(1, long), unknown=lost / max(1, sum(words.values())),
    )  # fmt: skip


def _is_lost(encoding: Encoding, facts: TokenizerFacts) -> bool:
    """Whether a part of a word has no token; a byte-level BPE that is complete has one for everything."""
    return facts.specials.get("unk") in encoding.ids or not encoding.ids


def _in_bytes(tokens: Sequence[str], suffix: str, facts: TokenizerFacts) -> bool:
    """Whether all tokens are single bytes: letters of the byte alphabet, or fallbacks such as <0xE4>."""
    if facts.byte_level:
        return all(len(token.removesuffix(suffix)) == 1 for token in tokens)
    bare = [token for token in tokens if token != "▁"]  # the mark of a word's beginning  # noqa: S105
    return bool(bare) and all(_FALLBACK.fullmatch(token) for token in bare)
