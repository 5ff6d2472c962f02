"""Learn one language's byte-level BPE with the base tokenizer's own algorithm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, trainers

from babelclip.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

Merge = tuple[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids and merges in the order of their rank."""

    tokens: tuple[str, ...]
    merges: tuple[Merge, ...]


def learn_bpe(texts: Iterable[str], base: Tokenizer, vocab_size: int) -> Vocabulary:
    """Learn a vocabulary of at most ``vocab_size`` tokens from the training texts of one language.

    The same texts give the same vocabulary in the same order, whatever the order of the texts.

    Normaliser, pre-tokeniser and word suffix are those of the base tokenizer, so the pieces of the new language are
    cut just as CLIP cuts English. Special tokens count towards ``vocab_size`` and come first, as in the reference.

    Args:
        texts: training captions only; nothing of a test set may come in here.
        base: the base model's tokenizer; only its algorithm is used, not its vocabulary.
        vocab_size: the papers use 10,000.
    """
    texts, blank = list(texts), _blank(base)
    specials = [token["content"] for token in blank["added_tokens"]]
    # The trainer numbers end-of-word symbols in the random order of a hash table and breaks ties between equally
    # frequent merges by these numbers. A first pass that merges nothing finds all symbols; sorted, they fix the ties.
    symbols = set(_train(texts, blank, vocab_size=0, first=specials).tokens) - set(specials)
    suffix = blank["model"]["end_of_word_suffix"] or ""
    by_kind = sorted(
        symbols, key=lambda symbol: (bool(suffix) and symbol.endswith(suffix) and symbol != suffix, symbol)
    )
    return _train(texts, blank, vocab_size=vocab_size, first=[*specials, *by_kind])


def _blank(base: Tokenizer) -> dict[str, Any]:
    """What a tokenizer is apart from its vocabulary, of which only special tokens stay."""
    return _without_vocabulary(base.to_str())


@lru_cache(maxsize=2)  # reading 49,408 tokens takes 0.2 s
def _without_vocabulary(content: str) -> dict[str, Any]:
    blank: dict[str, Any] = json.loads(content)
    blank["model"].update(vocab={token["content"]: token["id"] for token in blank["added_tokens"]}, merges=[])
    return blank


def _train(texts: list[str], blank: dict[str, Any], *, vocab_size: int, first: list[str]) -> Vocabulary:
    """Run the library's trainer; ``first`` are the tokens with the lowest ids."""
    model = blank["model"] | {"vocab": {}, "unk_token": None}
    learner = Tokenizer.from_str(json.dumps(blank | {"model": model, "added_tokens": [], "post_processor": None}))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=0,
        special_tokens=first,
        end_of_word_suffix=blank["model"]["end_of_word_suffix"] or "",
        continuing_subword_prefix=blank["model"]["continuing_subword_prefix"] or "",
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return read_vocabulary(learner)


def read_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Return the tokens and merges of a byte-level BPE tokenizer.

    Raises:
        ModelError: the tokenizer is of another kind, or its ids have gaps.
    """
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] != "BPE":
        raise ModelError(
            f"the base tokenizer is of type {model['type']}, expected BPE",
            fix="Use a base model with a byte-level BPE tokenizer, as all OpenAI-style CLIPs have.",
        )
    by_id = sorted((i, token) for token, i in tokenizer.get_vocab(with_added_tokens=True).items())
    if [i for i, _ in by_id] != list(range(len(by_id))):
        raise ModelError(
            f"the base tokenizer has {len(by_id)} tokens but ids up to {by_id[-1][0]}",
            fix="Use a base model whose token ids have no gaps.",
        )
    return Vocabulary(tuple(token for _, token in by_id), tuple((a, b) for a, b in model["merges"]))


def build_tokenizer(base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
    """Return the base tokenizer with another vocabulary; its pieces are cut by the merges in the order given.

    Text that looks like a special token ("<|endoftext|>") is cut like any other text: it must not end a caption.
    """
    blank = _blank(base)
    options = blank["model"]
    kept = {name: options[name] for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token")}
    tokenizer = Tokenizer.from_str(json.dumps(blank))
    tokenizer.model = models.BPE(
        vocab={token: i for i, token in enumerate(vocabulary.tokens)}, merges=list(vocabulary.merges),
        fuse_unk=options["fuse_unk"], byte_fallback=options["byte_fallback"], **kept,
    )  # fmt: skip
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
