"""Put a new language's vocabulary behind the old one: old ids never move, old merges come first."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.lexicon.calibrate import scores_behind
from babelclip.lexicon.vocabulary import Vocabulary


@dataclass(frozen=True)
class Growth:
    """What a language brought.

    Attributes:
        vocabulary: the whole vocabulary afterwards.
        new_tokens: how many tokens were appended.
        overlapping_tokens: how many of the language's own tokens existed before and keep their ids and rows.
        new_merges: how many merges were appended.
    """

    vocabulary: Vocabulary
    new_tokens: int
    overlapping_tokens: int
    new_merges: int


def merge_vocabularies(old: Vocabulary, new: Vocabulary) -> Growth:
    """Append what is new, in its own order; a token or merge that exists keeps its place.

    Appended merges can also fire inside words of earlier languages that were still split into several pieces
    (tokenisation drift); a snapshot of the old vocabulary cuts those words as before.
    """
    known_tokens = set(new.tokens).intersection(old.tokens)  # a set of all that is old would take three times as long
    known_merges = set(new.merges).intersection(old.merges)
    tokens = tuple(token for token in new.tokens if token not in known_tokens)
    merges = tuple(pair for pair in new.merges if pair not in known_merges)
    return Growth(
        old + Vocabulary(tokens, merges, scores_behind(old, new)),
        new_tokens=len(tokens),
        overlapping_tokens=len(new.tokens) - len(tokens),
        new_merges=len(merges),
    )
