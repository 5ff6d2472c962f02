"""Several languages' examples as one, for training on all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from babelclip.data.examples import Examples, Vectors


class Joined:
    """(M, dim) rows of several sets of vectors, counted through; nothing is copied before it is asked for."""

    def __init__(self, parts: Sequence[Vectors], rows: Tensor) -> None:
        """Point at ``rows`` (M,) of the parts' rows."""
        self._parts, self._rows = parts, rows
        self._starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)

    def __len__(self) -> int:
        """M."""
        return len(self._rows)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """Return the vectors at places (B,), or at a slice, as (B, dim) float32."""
        rows = self._rows[places]
        of = torch.bucketize(rows, self._starts[1:], right=True)
        found = torch.empty(len(rows), self._parts[0][:1].shape[1])
        for part in of.unique().tolist():
            chosen = of == part
            found[chosen] = self._parts[part][rows[chosen] - self._starts[part]]
        return found


def join_examples(parts: Sequence[Examples], name: str) -> Examples:
    """Put the texts of several languages one behind the other; a picture that several of them have is one picture.

    Args:
        parts: one set a language.
        name: stands for the language of the whole.
    """
    place: dict[object, int] = {}
    first: list[int] = []
    owners, before = [], 0
    for part in parts:
        for number, file in enumerate(part.files):
            if file not in place:
                place[file] = len(place)
                first.append(before + number)
        owners.append(torch.tensor([place[file] for file in part.files])[part.owner])
        before += len(part.files)
    return Examples(
        language=name,
        texts=[text for part in parts for text in part.texts],
        english=[text for part in parts for text in part.english],
        files=list(dict.fromkeys(file for part in parts for file in part.files)),
        owner=torch.cat(owners),
        images=Joined([part.images for part in parts], torch.tensor(first)),
        teachers=Joined([part.teachers for part in parts], torch.arange(sum(len(part.texts) for part in parts))),
        parts=tuple((part.language, len(part.texts)) for part in parts),
    )
