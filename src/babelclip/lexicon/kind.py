"""What a kind of tokenizer has to know so that a lexicon can grow; one file for each kind, listed in ``kinds``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tokenizers import Tokenizer

from babelclip.config import TaskSettings
from babelclip.lexicon.vocabulary import Vocabulary


@dataclass(frozen=True)
class Wish:
    """What the vocabulary of one language is to be like.

    Attributes:
        size: tokens asked for, letters among them; there are fewer where the texts have no more, and as many as there
            are letters at least. Pieces that old merges leave of the words do not count.
        min_count: a piece is joined of smaller ones only where it occurs so often in the training texts, so that its
            row can be learnt; 0 for any, as in the papers.
        remains: whether merges of a byte-level BPE are learnt from what the old merges leave of the words, and not from
            letters. Old merges fire first, so many of the others wait for pieces that never stand there.
    """

    size: int
    min_count: int = 0
    remains: bool = False

    @classmethod
    def of(cls, settings: TaskSettings, size: int | None = None) -> Wish:
        """Return what the settings of a task wish for; of another size where one is given."""
        wanted = settings.vocab_size if size is None else size
        return cls(wanted, settings.min_count, settings.merges_from == "remains")


class Kind(Protocol):
    """One kind of tokenizer.

    Attributes:
        name: how messages and docs call it.
    """

    name: str

    def fits(self, blank: dict[str, Any]) -> bool:
        """Whether a tokenizer is of this kind; ``blank`` is its content without the vocabulary."""

    def learn(self, texts: Iterable[str], base: Tokenizer, wish: Wish, old: Vocabulary) -> Vocabulary:
        """Learn a vocabulary from the training texts of one language.

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
