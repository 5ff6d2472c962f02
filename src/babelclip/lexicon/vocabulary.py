"""What a tokenizer knows, whatever its kind, and how much of it a language was learnt with."""

from __future__ import annotations

from dataclasses import dataclass

Merge = tuple[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The size of the vocabulary when a language was learnt; so many first tokens and merges are its tokenizer."""

    num_tokens: int
    num_merges: int


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids, and what else a kind of tokenizer cuts by.

    Attributes:
        tokens: all of them, special ones included.
        merges: of a BPE, in the order of their rank; other kinds have none.
        scores: of a Unigram, one for each token: the logarithm of its probability; other kinds have none.
    """

    tokens: tuple[str, ...]
    merges: tuple[Merge, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def size(self) -> Snapshot:
        """How many tokens and merges there are."""
        return Snapshot(len(self.tokens), len(self.merges))

    def first(self, size: Snapshot) -> Vocabulary:
        """Return the vocabulary as it was at a size."""
        tokens, merges = size.num_tokens, size.num_merges
        return Vocabulary(self.tokens[:tokens], self.merges[:merges], self.scores[:tokens])

    def behind(self, size: Snapshot) -> Vocabulary:
        """Return what came after a size."""
        tokens, merges = size.num_tokens, size.num_merges
        return Vocabulary(self.tokens[tokens:], self.merges[merges:], self.scores[tokens:])

    def __add__(self, other: Vocabulary) -> Vocabulary:
        """Put another one behind this one."""
        return Vocabulary(self.tokens + other.tokens, self.merges + other.merges, self.scores + other.scores)
