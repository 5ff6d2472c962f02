"""Which of the installed languages a text is written in, where nobody says so.

With c(g) the count of a piece g of n characters in a language's profile, N_n all pieces of that length and T_n the
different ones (Witten and Bell, 1991), a piece has

    p(g) = c(g) / (N_n + T_n)                              where it is kept,
    p(g) = (N_n + T_n - sum of kept counts) / (N_n + T_n) / UNSEEN     where it is not, and never less;

the log-likelihood of a text is the sum of log p over its pieces of all lengths, and its probability the softmax over
the installed languages of log-likelihood x SHARPNESS x K^-DECAY, with K pieces in the text: pieces overlap, so they
are not K independent witnesses. Every language has the same prior. A log-likelihood depends on one profile alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from babelclip.errors import UnknownNameError
from babelclip.languages import NATIVE
from babelclip.packs.ngrams import HASH_BITS, ORDERS, Grams, chunks, cut
from babelclip.packs.profile import Profile

UNSEEN = 100_000
"""Pieces of each length that a language may still show; chosen on held-out training texts (dev/LOG.md)."""

SHARPNESS, DECAY = 0.197, 0.173
"""Fitted on held-out training texts by ``python bench/router.py ... --fit``; the same for all languages."""


CERTAIN = 0.9
"""Below this probability of the best language the two best ones are blended."""


class Reason(IntEnum):
    """Why a text was routed as it was."""

    SPELLING = 0
    """By its pieces."""
    NO_LETTERS = 1
    """It has no letter (empty, digits, emoji): the base language, with the probability of a guess."""
    UNKNOWN_LETTERS = 2
    """No installed language knows any letter of it: the base language, with the probability of a guess."""
    ALONE = 3
    """No other language is installed."""


@dataclass(frozen=True)
class Route:
    """Where one text goes; see ``Routes``."""

    tag: str
    probability: float
    second: str | None
    second_probability: float
    reason: Reason


@dataclass(frozen=True)
class Routes:
    """Where M texts go.

    Attributes:
        languages: L tags, the base language first.
        best: (M,) int64 place of the likeliest language in ``languages``.
        probability: (M,) float32 its probability, at least 1 / L.
        second: (M,) int64 place of the next language; -1 where only one is installed.
        second_probability: (M,) float32 its probability; 0 where only one is installed.
        reasons: (M,) int8 of ``Reason``.
    """

    languages: tuple[str, ...]
    best: Tensor
    probability: Tensor
    second: Tensor
    second_probability: Tensor
    reasons: Tensor

    @classmethod
    def all_to(cls, tag: str, count: int) -> Routes:
        """Return the routes of texts where only one language is there."""
        ones, none = torch.ones(count), torch.zeros(count)
        first = torch.zeros(count, dtype=torch.int64)
        return cls((tag,), first, ones, first - 1, none, torch.full((count,), int(Reason.ALONE), dtype=torch.int8))

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.best)

    @property
    def unsure(self) -> Tensor:
        """(M,) whether a text goes by its spelling, but with a probability below ``CERTAIN``."""
        return (self.reasons == int(Reason.SPELLING)) & (self.probability < CERTAIN)

    def __getitem__(self, text: int) -> Route:
        """Where one text goes."""
        second = int(self.second[text])
        return Route(
            self.languages[int(self.best[text])],
            float(self.probability[text]),
            None if second < 0 else self.languages[second],
            float(self.second_probability[text]),
            Reason(int(self.reasons[text])),
        )

    @property
    def tags(self) -> list[str]:
        """The likeliest language of each text."""
        return [self.languages[place] for place in self.best.tolist()]

    def texts_of(self, tag: str) -> Tensor:
        """Return the rising places of the texts that go to a language, (m,) int64; none where it is not installed."""
        place = self.languages.index(tag) if tag in self.languages else len(self.languages)
        return (self.best == place).nonzero().flatten()


class Router:
    """Routes texts to the languages of profiles. Nothing is trained: a router is made anew when a pack comes or goes.

    Attributes:
        languages: L tags: the base language, then the others sorted, whatever the order of the profiles.
    """

    def __init__(self, profiles: Mapping[str, Profile], native: str = NATIVE) -> None:
        """Lay the profiles side by side: a table of one row a known piece and one column a language, in float32.

        Args:
            profiles: by language tag, the base language among them (``Profile.merged``).
            native: tag of the base language.

        Raises:
            UnknownNameError: the base language has no profile.
        """
        if native not in profiles:
            raise UnknownNameError("base language of the router", native, profiles)
        self.languages = (native, *sorted(set(profiles) - {native}))
        columns = [profiles[tag] for tag in self.languages]
        known = np.unique(np.concatenate([profile.ids.numpy() for profile in columns]))
        order = known >> HASH_BITS
        # Row n - 1 is for pieces of n characters that no profile knows.
        row = np.repeat(np.arange(ORDERS, dtype=np.int32), 1 << HASH_BITS)
        row[known] = np.arange(ORDERS, ORDERS + len(known))
        table = np.empty((ORDERS + len(known), len(columns)), dtype=np.float32)
        for column, profile in enumerate(columns):
            seen, unseen = _log_probabilities(profile)
            table[:ORDERS, column] = unseen
            table[ORDERS:, column] = unseen[order]
            table[row[profile.ids.numpy()], column] = seen
        self._row, self._table = torch.from_numpy(row), torch.from_numpy(table)

    def log_likelihoods(self, texts: Sequence[str]) -> Tensor:
        """Return (M, L) float32 natural logarithms; 0 for a text without a letter.

        A column is the same to the last bit whatever other languages are installed, a row whatever other texts
        are asked for.
        """
        rows = [self._scores(cut(part))[0] for part in chunks(texts)]
        return torch.cat(rows) if rows else torch.empty(0, len(self.languages))

    def route(self, texts: Sequence[str]) -> Routes:
        """Return the two likeliest languages of M texts; of equally likely ones the first in ``languages``."""
        parts = [self._route(cut(part)) for part in chunks(texts)] or [self._route(cut([]))]
        best, probability, second, second_probability, reasons = (torch.cat(one) for one in zip(*parts, strict=True))
        return Routes(self.languages, best, probability, second, second_probability, reasons)

    def _scores(self, grams: Grams) -> tuple[Tensor, Tensor]:
        """Log-likelihoods (M, L) and the reasons (M,)."""
        rows, starts = self._row[grams.ids.long()], grams.offsets.to(torch.int32)
        if not len(rows):
            scores = torch.zeros(len(starts) - 1, len(self.languages))
            return scores, torch.full((len(scores),), int(Reason.NO_LETTERS), dtype=torch.int8)
        scores = embedding_bag(rows, self._table, starts, mode="sum", include_last_offset=True)
        # Letters only: longer pieces are hashed, and of many unknown ones some share the number of a known one.
        letters = (rows >= ORDERS) & (grams.ids < 1 << HASH_BITS)
        known = torch.cat([torch.zeros(1, dtype=torch.int64), letters.cumsum(0)])
        known = known[grams.offsets[1:]] - known[grams.offsets[:-1]]
        reasons = torch.full_like(known, int(Reason.SPELLING), dtype=torch.int8)
        reasons[known == 0] = int(Reason.UNKNOWN_LETTERS)
        reasons[grams.offsets.diff() == 0] = int(Reason.NO_LETTERS)
        return scores, reasons

    def _route(self, grams: Grams) -> tuple[Tensor, ...]:
        """The five columns of ``Routes``."""
        scores, reasons = self._scores(grams)
        scale = SHARPNESS * grams.offsets.diff().clamp(min=1).double() ** -DECAY
        likely = (scores * scale[:, None].float()).softmax(dim=1)
        guess = reasons != int(Reason.SPELLING)
        likely[guess] = 1 / len(self.languages)
        scores[guess] = 0.0
        best, probability = _largest(scores, likely)
        scores[torch.arange(len(scores)), best] = -torch.inf
        second, second_probability = _largest(scores, likely)
        if len(self.languages) == 1:
            second, second_probability = torch.full_like(second, -1), torch.zeros_like(second_probability)
        return best, probability, second, second_probability, reasons


def _largest(scores: Tensor, likely: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the largest scores of each row, and its probability."""
    best = torch.from_numpy(scores.numpy().argmax(axis=1))
    return best, likely[torch.arange(len(best)), best]


def _log_probabilities(profile: Profile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log p of the pieces that a profile keeps, (G,), and of an unseen one by its length, (ORDERS,)."""
    ids, counts = profile.ids.numpy(), profile.counts.numpy().astype(np.float64)
    order = ids >> HASH_BITS
    pieces, kinds = profile.totals.numpy().astype(np.float64)
    kept = np.bincount(order, weights=counts, minlength=ORDERS)
    mass = np.maximum(pieces + kinds, 1)
    unseen = np.maximum(pieces + kinds - kept, 1) / mass / UNSEEN
    return np.log(np.maximum(counts / mass[order], unseen[order])), np.log(unseen)
