"""A tokenizer apart from its vocabulary: read it, take the vocabulary out, and let it cut plain text only."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers

from babelclip.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "\u2581"
"""What SentencePiece writes for a space, "▁"."""


def take_out(base: Tokenizer) -> dict[str, Any]:
    """Return what a tokenizer is apart from its vocabulary, of which only added tokens stay; not to be changed."""
    return _without_vocabulary(base.to_str())


@lru_cache(maxsize=2)  # reading 49,408 tokens takes 0.2 s
def _without_vocabulary(content: str) -> dict[str, Any]:
    blank: dict[str, Any] = json.loads(content)
    kept = {token["content"]: token["id"] for token in blank["added_tokens"]}
    blank["model"].update(vocab=kept)
    if "merges" in blank["model"]:
        blank["model"].update(merges=[])
    return blank


def read_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return all tokens in the order of their ids, added ones too.

    Raises:
        ModelError: the ids have gaps.
    """
    by_id = sorted((i, token) for token, i in tokenizer.get_vocab(with_added_tokens=True).items())
    if [i for i, _ in by_id] != list(range(len(by_id))):
        raise ModelError(
            f"the base tokenizer has {len(by_id)} tokens but ids up to {by_id[-1][0] if by_id else 'none'}",
            fix="Use a base model whose token ids have no gaps, or give the missing ids tokens in its tokenizer.json.",
        )
    return tuple(token for _, token in by_id)


def with_model(blank: dict[str, Any], model: Any, apart: Any = None) -> Tokenizer:
    """Return a tokenizer with another model that cuts whole texts as plain text.

    Text that looks like a special token ("<|endoftext|>") is cut like any other text: it must not end a caption.

    Args:
        blank: what the tokenizer is otherwise.
        model: the model.
        apart: a pre-tokenizer behind the tokenizer's own.
    """
    # Any model will do to read the other parts with; a BPE has no rules that its vocabulary must keep.
    reader = {"type": "BPE", "vocab": blank["model"]["vocab"], "merges": []}
    tokenizer = Tokenizer.from_str(json.dumps({**blank, "model": reader}))
    tokenizer.model = model
    if apart is not None:
        known = tokenizer.pre_tokenizer
        tokenizer.pre_tokenizer = apart if known is None else pre_tokenizers.Sequence([known, apart])
    return as_plain_text(tokenizer)


def as_plain_text(tokenizer: Tokenizer, ids: Iterable[int] | None = None) -> Tokenizer:
    """Change a tokenizer, and return it, so that it cuts whole texts, in which special tokens are words like others.

    Args:
        tokenizer: it loses truncation and padding.
        ids: of the special tokens; by default all that the tokenizer says are special.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder()
    for special in ids if ids is not None else [i for i, token in added.items() if token.special]:
        content = str(tokenizer.id_to_token(special))
        if writes(tokenizer, special, content):  # Unigram has it among its pieces
            known = tokenizer.normalizer
            between = " " if known is None or MARK not in known.normalize_str("a b") else MARK
            apart = normalizers.Replace(content, between.join(content))
            tokenizer.normalizer = apart if known is None else normalizers.Sequence([known, apart])
    return tokenizer


def writes(tokenizer: Tokenizer, number: int, text: str) -> bool:
    """Whether a text is cut into pieces of which one has this id."""
    return number in tokenizer.encode(text, add_special_tokens=False).ids


def can_end(tokenizer: Tokenizer, eos: int) -> bool:
    """Whether some text would be written with the end-of-text token, as far as a few texts of all sorts can tell."""
    everything = "".join(map(chr, range(0x80))) + "é中ж؀🙂\U0010ffff"
    return any(writes(tokenizer, eos, text) for text in (everything, str(tokenizer.id_to_token(eos))))


def mark_specials(tokenizer: Tokenizer, ids: Iterable[int]) -> Tokenizer:
    """Return a tokenizer that says of these ids that they are special; the one given where it says so already."""
    added = tokenizer.get_added_tokens_decoder()
    silent = [i for i in dict.fromkeys(ids) if i not in added or not added[i].special]
    if not silent:
        return tokenizer
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["special"] or token["id"] in silent
    marked = Tokenizer.from_str(json.dumps(content))
    marked.add_special_tokens(
        [AddedToken(str(tokenizer.id_to_token(i)), special=True, normalized=False) for i in silent if i not in added]
    )
    return marked
