"""Pieces of words as numbers: runs of 1 to 4 characters of many texts at once, without a loop over texts.

A word is a run of letters and of the marks that belong to them (vowel signs of Devanagari, Bengali and Thai, accents);
all else - digits, punctuation, emoji, symbols, spaces, format characters - only separates words. Texts are lower-cased
and composed (NFC) first. A word is padded by one boundary on each side, and no piece reaches into the next word: ``of``
gives ``o f _o of f_ _of of_ _of_``. Each piece becomes a number below ``BUCKETS``, which says its length, too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ORDERS = 4
"""Longest piece, in characters, boundaries included."""

HASH_BITS = 19
BUCKETS = ORDERS << HASH_BITS
"""Pieces of n characters have numbers from ``(n - 1) << HASH_BITS`` to below ``n << HASH_BITS``. A single character
has its code point, so no two letters share a number; longer pieces are hashed, and some do."""

CHUNK = 2048  # texts that are cut at a time
_CHARACTERS = 1 << 20  # at most so many characters at a time, unless one text alone is longer
_END = "\n"
_MULTIPLIER = np.uint32(0x9E3779B1)
_NOTHING = np.zeros(1, dtype=np.uint32)
_LETTERS = np.uint32((1 << HASH_BITS) - 1)  # all letters of Unicode are below
_LETTER, _MARK = 1, 2


@dataclass(frozen=True)
class Grams:
    """The pieces of M texts, one text behind the other.

    Attributes:
        ids: (G,) int32, from 0 to below ``BUCKETS``, in the order of the text.
        offsets: (M + 1,) int64; pieces of text i are ``ids[offsets[i] : offsets[i + 1]]``. None: no letter in it.
    """

    ids: Tensor
    offsets: Tensor


def cut(texts: Sequence[str]) -> Grams:
    """Cut M texts into pieces; a text gives the same pieces alone as among others."""
    joined = _END.join(texts)
    if joined.count(_END) != len(texts) - 1:
        joined = _END.join(text.replace(_END, " ") for text in texts)
    if not joined.isascii():
        joined = unicodedata.normalize("NFC", joined)
    return _cut((joined.lower() + _END).encode("utf-32-le", "surrogatepass"), len(texts))


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield texts in neighbouring parts small enough to be cut in little memory."""
    ends = np.cumsum(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
    start = 0
    while start < len(texts):
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + _CHARACTERS, side="right"))
        end = min(max(end, start + 1), start + CHUNK)
        yield texts[start:end]
        start = end


def order_of(ids: Tensor) -> Tensor:
    """Return the length of pieces in characters, 1 to ``ORDERS``, in the shape and type of ``ids``."""
    return (ids >> HASH_BITS) + 1


def _cut(encoded: bytes, texts: int) -> Grams:
    """Cut texts that each end in a separator, in UTF-32."""
    points = np.frombuffer(encoded, dtype="<u4")
    inside = _inside_words(points)
    # Of each run of separators one boundary is kept; the text that it ends is the owner.
    keep = inside.copy()
    keep[1:] |= inside[:-1]
    kept = np.flatnonzero(keep)
    owner = np.searchsorted(np.flatnonzero(points == ord(_END)), kept).astype(np.int32)
    inside = inside[kept]
    letters = np.concatenate([_NOTHING, np.where(inside, points[kept], 0).astype(np.uint32)])
    inside = np.concatenate([[False], inside])
    owner = np.concatenate([np.zeros(1, dtype=np.int32), owner])

    # Column n - 1 of a row: the piece of n characters that begins there.
    size = len(letters)
    ids = np.zeros((size, ORDERS), dtype=np.int32)
    whole = np.zeros((size, ORDERS), dtype=bool)
    code = np.zeros(size, dtype=np.uint32)
    within = np.ones(size, dtype=bool)  # characters from the second to the last but one belong to one word
    for order in range(1, ORDERS + 1):
        length = size - order + 1
        if length <= 0:
            break
        code, within = code[:length], within[:length]
        if order > 2:
            within = within & inside[order - 2 : order - 2 + length]
        code = (code + letters[order - 1 :]) * _MULTIPLIER
        if order == 1:
            ids[:, 0], whole[:, 0] = letters & _LETTERS, inside
            continue
        ids[:length, order - 1] = _bucket(code, order)
        if order == 2:
            whole[:length, 1] = inside[:-1] | inside[1:]
        else:
            whole[:length, order - 1] = within
    # A piece that begins with a boundary belongs to the text of its second character.
    begins = np.where(inside, owner, np.concatenate([owner[1:], owner[-1:]]))
    counts = np.bincount(begins, weights=whole.sum(axis=1), minlength=texts)[:texts]
    offsets = np.concatenate([[0], np.cumsum(counts.astype(np.int64))])
    return Grams(torch.from_numpy(ids[whole]), torch.from_numpy(offsets))


def _inside_words(points: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether each character belongs to a word: letters do, and marks that follow one, other marks between or not."""
    kinds = _kinds()[points]
    inside: NDArray[np.bool_] = kinds == _LETTER
    marks = kinds == _MARK
    if marks.any():
        carrier = np.maximum.accumulate(np.where(marks, 0, np.arange(len(points))))
        inside = inside[carrier]
    return inside


@cache
def _kinds() -> NDArray[np.uint8]:
    """Letter, mark or neither, for every code point; made on first use, in about 0.2 seconds.

    Marks that enclose (the keycap) and selectors of variants (emoji or text) say nothing about a language.
    """
    kinds = np.zeros(0x110000, dtype=np.uint8)
    for point in range(0x110000):
        category = unicodedata.category(chr(point))
        if category[0] == "L":
            kinds[point] = _LETTER
        elif category in {"Mn", "Mc"}:
            kinds[point] = _MARK
    kinds[0xFE00:0xFE10] = kinds[0xE0100:0xE01F0] = 0
    return kinds


def _bucket(code: NDArray[np.uint32], order: int) -> NDArray[np.int32]:
    """Spread codes over the numbers of pieces of ``order`` characters (the last steps of MurmurHash3)."""
    mixed = code ^ (code >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed >>= np.uint32(32 - HASH_BITS)
    mixed += np.uint32((order - 1) << HASH_BITS)
    return mixed.view(np.int32)
