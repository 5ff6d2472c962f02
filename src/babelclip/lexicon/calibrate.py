"""Scores of a new language's pieces on the scale of the old ones: both are logarithms of shares of different texts."""

from __future__ import annotations

from statistics import median

from babelclip.lexicon.vocabulary import Vocabulary

DIGITS = 6
"""Decimals of scores."""


def scores_behind(old: Vocabulary, new: Vocabulary) -> tuple[float, ...]:
    """Return the scores with which the pieces that only ``new`` has stand behind ``old``; none where there are none.

    Pieces that both have tell how far apart the scales are: s' = s + median(s_old - s_new) over them; with no such
    piece scores stay as they are. What else was tried and lost stands in dev/LOG.md.
    """
    if not new.scores:
        return ()
    known = dict(zip(old.tokens, old.scores, strict=True))
    scored = list(zip(new.tokens, new.scores, strict=True))
    apart = [known[token] - score for token, score in scored if token in known]
    shift = median(apart) if apart else 0.0
    return tuple(round(score + shift, DIGITS) for token, score in scored if token not in known)
