"""Where an index lives: one small interface, two implementations (``lance``: a folder; ``postgres``: a server)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from babelclip.search.items import File, Filter, Hit, Item, Skipped

FORMAT = 1


class Approximate(BaseModel):
    """An approximate index over the vectors, and how good it was when it was built.

    Attributes:
        kind: such as ``ivf_hnsw_sq`` or ``hnsw``.
        rows: how many rows it was built over.
        effort: how much a search looks at; its meaning is the store's.
        recall: share of the ten nearest rows by exact search that it finds, in the mean over ``queries`` queries.
        queries: how many queries that was measured with.
        seconds: what building it took.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str
    rows: int
    effort: int
    recall: float
    queries: int
    seconds: float


class About(BaseModel):
    """What a store says of itself.

    Attributes:
        format: of the store.
        model: name of the base model whose image tower made the vectors: a name, a folder or a hub id.
        fingerprint: of that base model; only a model with the same one can be searched with.
        dim: width of the vectors.
        frames: how many frames of a video were looked at.
        reader: how the first pictures were read (``encoders.looking.READER``); None where that was not written down.
        index: the approximate index; None while search is exact.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    model: str
    fingerprint: str
    dim: int
    frames: int
    reader: int | None = None
    index: Approximate | None = None


class VectorStore(Protocol):
    """Rows of pictures and moments, found by vector. Rows are float32 of length 1, scores are cosines.

    Any number of processes may read while one writes; each write is seen whole or not at all, also after a kill.
    Every method may raise ``BabelclipError`` where the place cannot be reached or written to, and ``FormatError`` where
    what lies there is damaged.

    Attributes:
        place: how messages call it: the folder, or the server's address without a password.
    """

    place: str

    def about(self) -> About | None:
        """Return what the store says of itself; None where nothing was written yet."""

    def write_about(self, about: About) -> None:
        """Begin a store (make its tables), or replace what it says of itself."""

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to write; given back when the process ends, however it ends.

        Raises:
            SettingError: another process holds it.
        """

    def files(self, folders: Sequence[str] = ()) -> Iterator[File]:
        """Return each file that has rows, once, those in folders only where there are any."""

    def skipped(self, folders: Sequence[str] = ()) -> Iterator[Skipped]:
        """Return what was skipped."""

    def put(self, items: Sequence[Item], skipped: Sequence[Skipped] = ()) -> None:
        """Write all rows of some files and what is skipped, in the place of all that the store had of those files.

        The rows of one file are given together. A kill in between leaves the old rows, the new ones, or both until the
        files are put again; never none.
        """

    def copy(self, source: str, target: File) -> None:
        """Give a file the rows of another one with the same content."""

    def remove(self, paths: Sequence[str]) -> None:
        """Forget files, their rows or that they were skipped; unknown ones are no error."""

    def search(
        self, queries: NDArray[np.float32], k: int, where: Filter | None = None, *, exact: bool = False
    ) -> list[list[Hit]]:
        """Return the k nearest rows of each of (Q, dim) queries of length 1, best first, equal ones by id.

        Args:
            queries: unit vectors.
            k: how many, at least 1.
            where: which rows count; the filter is applied before the k are chosen.
            exact: do without the approximate index.
        """

    def thumbnail(self, id: str) -> bytes | None:
        """Return the JPEG of a row; None where there is no such row."""

    def path_of(self, id: str) -> str | None:
        """Return the file of a row; None where there is no such row."""

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, dim) vectors of rows in the order of their ids.

        Raises:
            UnknownNameError: there is no such row.
        """

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """Return (at most count, dim) vectors of rows chosen by chance, without repetition."""

    def __len__(self) -> int:
        """Number of rows."""

    def build(self, effort: int) -> str:
        """Build the approximate index anew over all rows and return its kind; ``effort`` as for ``Approximate``."""

    def drop(self) -> None:
        """Drop the approximate index, where there is one."""

    def tidy(self) -> None:
        """Give back space and make reading fast after many writes; takes many new rows into the approximate index.

        Costs little where little was written: to be called after every few writes and at the end.
        """

    def close(self) -> None:
        """Give back connections."""
