"""Every kind of tokenizer that a lexicon can grow by; who grows it never asks which it is.

A new kind is one more file and one more entry of ``KINDS``. ``docs/tokenizers.md`` says what each does.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer

from babelclip.errors import ModelError
from babelclip.lexicon.bpe import BYTE_LEVEL_BPE
from babelclip.lexicon.char_bpe import CHARACTER_BPE
from babelclip.lexicon.kind import Kind, Wish
from babelclip.lexicon.plain import take_out
from babelclip.lexicon.unigram import UNIGRAM
from babelclip.lexicon.vocabulary import Vocabulary
from babelclip.lexicon.wordpiece import WORDPIECE

KINDS: tuple[Kind, ...] = (BYTE_LEVEL_BPE, CHARACTER_BPE, WORDPIECE, UNIGRAM)
"""The first that fits is taken."""


def kind_of(tokenizer: Tokenizer) -> Kind:
    """Return the kind of a tokenizer.

    Raises:
        ModelError: a lexicon cannot grow by it.
    """
    blank = take_out(tokenizer)
    for kind in KINDS:
        if kind.fits(blank):
            return kind
    raise ModelError(
        f"the base tokenizer is of type {blank['model']['type']}, expected one of "
        f"{', '.join(kind.name for kind in KINDS)}",
        fix="Use a base model with one of those; a list of whole words has no pieces that new words could be cut into.",
    )


def learn_vocabulary(
    texts: Iterable[str], base: Tokenizer, wish: Wish | int, old: Vocabulary | None = None
) -> Vocabulary:
    """Learn a vocabulary from the training texts of one language; see ``Kind.learn``.

    Args:
        texts: training captions only; nothing of a test set may come in here.
        base: the base model's tokenizer; only its algorithm is used, not its vocabulary.
        wish: what it is to be like; a number is its size (papers: 10,000).
        old: what it is to stand behind; nothing by default.
    """
    wish = wish if isinstance(wish, Wish) else Wish(wish)
    return kind_of(base).learn(texts, base, wish, old or Vocabulary(()))


def read_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a tokenizer.

    Raises:
        ModelError: a lexicon cannot grow by its kind, or its ids have gaps.
    """
    return kind_of(tokenizer).read(tokenizer)


def build_tokenizer(base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
    """Return the base tokenizer with another vocabulary, which begins with its own.

    Text that looks like a special token ("<|endoftext|>") is cut like any other text: it must not end a caption.
    """
    return kind_of(base).build(base, vocabulary)
