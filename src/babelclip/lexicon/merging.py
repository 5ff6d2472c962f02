"""Learn merges with the library's trainer, the same ones each time: for every kind that grows by merging."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from babelclip.lexicon.kind import Wish
from babelclip.lexicon.vocabulary import Vocabulary

Order = Callable[[set[str]], list[str]]


def learn_merges(
    texts: Sequence[str], blank: dict[str, Any], wish: Wish, *, first: Sequence[str] = (), suffix: str = "",
    prefix: str = "", order: Order = sorted, apart: Any = None,
) -> Vocabulary:  # fmt: skip
    """Return tokens and merges.

    The trainer numbers symbols with a prefix or suffix in the random order of a hash table and breaks ties between
    equally frequent merges by these numbers. A first pass that merges nothing finds all symbols; put in order, they fix
    the ties.

    Args:
        texts: training texts.
        blank: what the base tokenizer is; its normaliser and pre-tokenizer are used.
        wish: how many tokens, and how often a merge must occur; symbols are there in any case.
        first: tokens with the lowest ids.
        suffix: what a symbol has that ends a word.
        prefix: what a symbol has that does not begin one.
        order: all symbols in their order, of which more may be made.
        apart: a pre-tokenizer behind that of the base tokenizer, for learning alone.
    """
    learner = Tokenizer.from_str(
        json.dumps(
            {
                **blank, "model": {"type": "BPE", "vocab": {}, "merges": []}, "added_tokens": [],
                "post_processor": None, "truncation": None, "padding": None,
            }
        )
    )  # fmt: skip
    if apart is not None:
        known = learner.pre_tokenizer
        learner.pre_tokenizer = apart if known is None else pre_tokenizers.Sequence([known, apart])

    def train(size: int, lowest: Sequence[str]) -> Vocabulary:
        learner.model = models.BPE()
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=wish.min_count, special_tokens=list(lowest), end_of_word_suffix=suffix,
            continuing_subword_prefix=prefix, show_progress=False,
        )  # fmt: skip
        learner.train_from_iterator(texts, trainer)
        model = json.loads(learner.to_str())["model"]
        by_id = sorted((i, token) for token, i in model["vocab"].items())
        return Vocabulary(tuple(token for _, token in by_id), tuple((a, b) for a, b in model["merges"]))

    symbols = set(train(0, first).tokens) - set(first)
    return train(wish.size, [*first, *order(symbols)])


def join_remains(cut: Mapping[str, Sequence[str]], words: Mapping[str, int], wish: Wish) -> Vocabulary:
    """Learn merges of the pieces that words are cut into by old merges, so that each new one can fire behind them.

    Args:
        cut: the pieces of each word.
        words: how often each occurs.
        wish: the size counts new tokens alone.

    Returns:
        The new tokens and the merges.
    """
    pieces = sorted({piece for one in cut.values() for piece in one})
    sign = {piece: chr(FIRST + number) for number, piece in enumerate(pieces)}  # a sign for each piece
    learnt = learn_merges(
        [" ".join(["".join(sign[piece] for piece in cut[word])] * count) for word, count in words.items()],
        BARE, replace(wish, size=len(pieces) + wish.size),
    )  # fmt: skip

    def spell(signs: str) -> str:
        return "".join(pieces[ord(one) - FIRST] for one in signs)

    new = (spell(token) for token in learnt.tokens if len(token) > 1)
    merges = ((spell(left), spell(right)) for left, right in learnt.merges)
    return Vocabulary(tuple(dict.fromkeys(new)), tuple(dict.fromkeys(merges)))


FIRST = 0x20000
"""The first of the signs that stand for pieces; more than 900,000 follow."""
BARE: dict[str, Any] = {
    "version": "1.0", "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": None,
}  # fmt: skip
