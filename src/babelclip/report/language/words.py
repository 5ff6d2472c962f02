"""Words that occur more often in searches that fail than in those that succeed, as far as the evidence reaches."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma

LEAST = 5
"""A word is tested where at least so many captions have it."""
LEVEL = 0.05
"""Chance that a page shows any word whose searches fail no more often than others (Holm's correction)."""

# Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese: written without spaces between words.
_RUN = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f]+"
)


@dataclass(frozen=True)
class TellingWord:
    """A word whose searches fail more often.

    Attributes:
        word: the word; of a language without spaces one or two characters.
        bad: captions with it whose picture is not among the first ten.
        good: captions with it whose picture is.
        p: one-sided p-value of Fisher's exact test.
    """

    word: str
    bad: int
    good: int
    p: float


def is_spaceless(texts: Sequence[str]) -> bool:
    """Whether most letters of texts are of scripts that put no spaces between words."""
    letters = sum(letter.isalpha() for text in texts for letter in text)
    joined = sum(letter.isalpha() for text in texts for letter in "".join(_RUN.findall(text)))
    return 2 * joined > letters


def words_of(text: str) -> list[str]:
    """Return the words between spaces, without signs at their ends, in small letters, in their order."""
    return [word for one in text.lower().split() if (word := _bare(one))]


def parts_of(text: str) -> set[str]:
    """Return the words of a text; of what is written without spaces its characters and pairs of neighbours."""
    parts: set[str] = set()
    for run in _RUN.findall(text):
        parts |= set(run) | {run[i : i + 2] for i in range(len(run) - 1)}
    return parts | set(words_of(_RUN.sub(" ", text)))


def find_telling_words(texts: Sequence[str], good: Sequence[bool]) -> list[TellingWord]:
    """Return the words that occur more often in bad searches, by Fisher's exact test with Holm's correction.

    Args:
        texts: captions of different pictures: several of one picture would not be independent.
        good: whether each finds its picture among the first ten.
    """
    bad_of: Counter[str] = Counter()
    good_of: Counter[str] = Counter()
    for text, found in zip(texts, good, strict=True):
        (good_of if found else bad_of).update(parts_of(text))
    bad = len(good) - sum(good)
    tested = [
        TellingWord(word, bad_of[word], good_of[word], fisher_p(bad_of[word], good_of[word], bad, sum(good)))
        for word in sorted(bad_of.keys() | good_of.keys())
        if bad_of[word] + good_of[word] >= LEAST
    ]
    tested.sort(key=lambda one: (one.p, one.word))
    kept: list[TellingWord] = []
    for number, one in enumerate(tested):
        if one.p > LEVEL / (len(tested) - number):
            break
        kept.append(one)
    return kept


def fisher_p(bad_with: int, good_with: int, bad: int, good: int) -> float:
    """Return the chance that so many or more of the texts with a word are bad, were the word without meaning.

    With n = bad + good texts of which w have the word, P(B >= bad_with) for a hypergeometric B.

    Args:
        bad_with: bad texts with the word.
        good_with: good texts with it.
        bad: all bad texts.
        good: all good texts.
    """
    with_it = bad_with + good_with
    most = min(bad, with_it)
    every = _log_choose(bad + good, with_it)
    return min(
        1.0,
        sum(
            exp(_log_choose(bad, i) + _log_choose(good, with_it - i) - every)
            for i in range(max(bad_with, with_it - good), most + 1)
        ),
    )


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _bare(word: str) -> str:
    """A word without punctuation and symbols at its ends."""
    begin, end = 0, len(word)
    while begin < end and unicodedata.category(word[begin])[0] in "PSC":
        begin += 1
    while end > begin and unicodedata.category(word[end - 1])[0] in "PSC":
        end -= 1
    return word[begin:end]
