"""What a kind of tokenizer has to know so that a lexicon can grow; one file for each kind, listed in ``kinds``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from tokenizers import Tokenizer

from babelclip.lexicon.vocabulary import Vocabulary


class Kind(Protocol):
    """One kind of tokenizer.

    Attributes:
        name: how messages and docs call it.
    """

    name: str

    def fits(self, blank: dict[str, Any]) -> bool:
        """Whether a tokenizer is of this kind; ``blank`` is its content without the vocabulary."""

    def learn(self, texts: Iterable[str], base: Tokenizer, vocab_size: int, old: Vocabulary) -> Vocabulary:
        """Learn a vocabulary of at most ``vocab_size`` tokens from the training texts of one language.

        The same texts give the same vocabulary in the same order, whatever the order of the texts. Letters count
        towards the size, and all of them are in it, also where there are more. Of the base tokenizer the algorithm is
        used, not the vocabulary: texts are normalised and cut into words just as it does. What is learnt is to stand
        behind ``old``, which a kind may look at.
        """

    def read(self, tokenizer: Tokenizer) -> Vocabulary:
        """Return the vocabulary of a tokenizer.

        Raises:
            ModelError: its ids have gaps.
        """

    def build(self, base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
        """Return the base tokenizer with another vocabulary, which begins with its own; it cuts plain text only."""

    def cut(self, base: Tokenizer, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
        """Return the ids of the pieces, in a vocabulary, of tokens that it need not know; a start or end stays one."""

    def problem(self, base: Tokenizer, vocabulary: Vocabulary, eos: int) -> str | None:
        """Return why text could be written with the end-of-text token of a base tokenizer; None where it cannot."""

    def flaw(self, base: Tokenizer, old: Vocabulary, new: Vocabulary) -> str | None:
        """Return what is wrong with a vocabulary from a file that is to stand behind an old one; None for nothing.

        That tokens differ is the caller's to see.
        """
