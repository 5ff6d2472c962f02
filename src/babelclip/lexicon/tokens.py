"""The token ids of many texts as two flat arrays: small, quick to cut batches from, and ready to be memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from babelclip.encoders.frame import Frame
from babelclip.errors import DataError
from babelclip.files import is_utf8

CHUNK = 8192  # texts that are tokenised at a time, on all cores


@dataclass(frozen=True)
class Tokens:
    """Token ids of M texts, without special tokens and without truncation.

    Attributes:
        ids: (T,) int32, one text behind the other.
        offsets: (M + 1,) int64; text i is ``ids[offsets[i] : offsets[i + 1]]``.
    """

    ids: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> list[int]:
        """Ids of one text."""
        if not 0 <= text < len(self):
            raise IndexError(f"text {text} of {len(self)}")
        found: list[int] = self.ids[self.offsets[text] : self.offsets[text + 1]].tolist()
        return found

    def __iter__(self) -> Iterator[list[int]]:
        """Ids of each text."""
        return (self[text] for text in range(len(self)))

    @property
    def lengths(self) -> Tensor:
        """(M,) int64 number of tokens of each text."""
        return self.offsets[1:] - self.offsets[:-1]

    def part(self, texts: slice) -> Tokens:
        """Return the tokens of neighbouring texts."""
        offsets = self.offsets[texts.start : texts.stop + 1]
        return Tokens(self.ids[offsets[0] : offsets[-1]], offsets - offsets[0])

    def used(self) -> Tensor:
        """(k,) int64 sorted ids that occur: the papers' T_t, when the texts are a task's training texts."""
        used: Tensor = self.ids.unique()
        return used.long()

    def inputs(self, texts: Tensor, frame: Frame) -> Tensor:
        """Return (B, L) input ids of the tower: start, pieces, end; cut at the longest text and padded behind the end.

        Texts of a tower that reads padding are as long as its frame. Longer texts are cut and keep their end.

        Args:
            texts: (B,) places of the texts.
            frame: what the tower wants around the pieces.
        """
        first = self.offsets[texts]
        lengths = (self.offsets[texts + 1] - first).clamp(max=frame.room)
        place = torch.arange(int(lengths.max()) if frame.padding is None else frame.room)
        inside = place < lengths[:, None]
        pieces = self.ids[torch.where(inside, first[:, None] + place, 0)].long()
        start = [] if frame.bos is None else [torch.full((len(texts), 1), frame.bos)]
        if frame.padding is None:
            return torch.cat(
                [*start, torch.where(inside, pieces, frame.eos), torch.full((len(texts), 1), frame.eos)], 1
            )
        filled = torch.where(inside, pieces, frame.padding)
        whole = torch.cat([filled, torch.full((len(texts), 1), frame.padding)], 1)
        whole = torch.cat([*start, whole.scatter(1, lengths[:, None], frame.eos)], 1)
        if not frame.left:
            return whole
        used = lengths + frame.max_length - frame.room
        return whole.gather(1, (torch.arange(frame.max_length) + used[:, None]) % frame.max_length)


def tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Cut texts, on all cores (TOKENIZERS_PARALLELISM=false keeps to one).

    Raises:
        DataError: a text holds half of a surrogate pair.
    """
    for text in texts:
        if not is_utf8(text):
            raise DataError(
                f"the text {text!r} holds half of a surrogate pair", fix="Read it as UTF-8, or correct the escape."
            )
    ids: list[Tensor] = []
    lengths: list[int] = []
    for start in range(0, len(texts), CHUNK):
        encodings = tokenizer.encode_batch_fast(list(texts[start : start + CHUNK]), add_special_tokens=False)
        cut = [encoding.ids for encoding in encodings]
        lengths += map(len, cut)
        ids.append(torch.tensor([piece for one in cut for piece in one], dtype=torch.int32))
    flat = torch.cat(ids) if ids else torch.empty(0, dtype=torch.int32)
    return Tokens(flat, torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0))
