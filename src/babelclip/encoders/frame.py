"""How the pieces of a text become an input of a text tower: start, pieces, end, and padding where a tower reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """What a tower wants around the pieces of a text.

    Attributes:
        bos: id of the start token; None where texts have none.
        eos: id of the token that ends a text; what stands behind the first one is not read, unless ``padding`` says so.
        max_length: longest input in tokens, special tokens included.
        padding: id that fills every text up to ``max_length``, for towers that read padding like any token (SigLIP);
            None for all others.
        left: whether it fills them from the left.
    """

    bos: int | None
    eos: int
    max_length: int
    padding: int | None = None
    left: bool = False

    @property
    def room(self) -> int:
        """Pieces that a text can have."""
        return self.max_length - (1 if self.bos is None else 2)

    @property
    def specials(self) -> list[int]:
        """Ids that stand in every text and are no pieces of it, each once."""
        return list(dict.fromkeys(one for one in (self.bos, self.eos, self.padding) if one is not None))

    def wrap(self, pieces: Sequence[int]) -> list[int]:
        """Return the input of one text: cut at the tower's limit, keeping the end."""
        start = [] if self.bos is None else [self.bos]
        whole = [*start, *pieces[: self.room], self.eos]
        if self.padding is None:
            return whole
        filling = [self.padding] * (self.max_length - len(whole))
        return filling + whole if self.left else whole + filling
