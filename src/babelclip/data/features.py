"""Vectors of the frozen base model, each computed once: memory-mapped shards, found by content.

    FOLDER/images2-SHA256.safetensors    keys (n, 16) uint8, vectors (n, dim) float32 or float16
    FOLDER/texts-SHA256.safetensors

A shard is written whole and never changed; its name carries the sha256 of its content. Processes that write at the same
time do not disturb each other: what one has written by then, the other leaves out. Should both write a vector in the
same moment, it is stored twice, and the shard that comes first by name counts for all who open the store later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from babelclip.errors import BabelclipError, FormatError
from babelclip.files import sha256, write_whole

Key = bytes
KEY_BYTES = 16


def content_key(content: bytes) -> Key:
    """Return the key of a picture's or a text's bytes."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


def file_key(file: Path) -> Key:
    """Return the key of a file's content; a large one is read in parts.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=KEY_BYTES)).digest()


def keep(file: Path, content: bytes) -> None:
    """Write a file of the cache.

    Raises:
        BabelclipError: it cannot be written; says how to move the cache.
    """
    try:
        write_whole(file, content)
    except BabelclipError as error:
        fix = "Free some space, move the cache (--cache FOLDER or BABELCLIP_CACHE=FOLDER), or switch it off (off)."
        raise BabelclipError(error.what, file=error.file, fix=fix) from error


class Features:
    """(M, dim) vectors that stay where they are, on disk, until they are asked for: ``features[rows]``."""

    def __init__(self, shards: list[Tensor], rows: Tensor) -> None:
        """Point at ``rows`` (M,) of the shards' rows, counted through."""
        self._shards, self._rows = shards, rows
        self._starts = torch.tensor([0, *(len(shard) for shard in shards)]).cumsum(0)

    def __len__(self) -> int:
        """M."""
        return len(self._rows)

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """Return the vectors at places (B,), or at a slice, as (B, dim) float32."""
        rows = self._rows[places]
        of = torch.bucketize(rows, self._starts[1:], right=True)
        found = torch.empty(len(rows), self._shards[0].shape[1])
        for shard in of.unique().tolist():
            chosen = of == shard
            found[chosen] = self._shards[shard][rows[chosen] - self._starts[shard]].float()
        return found


class FeatureStore:
    """Vectors of one kind (pictures or texts) of one base model."""

    def __init__(self, folder: Path | None, kind: str, *, dtype: torch.dtype = torch.float32) -> None:
        """Open a store, or make one.

        Args:
            folder: where its shards lie; None keeps them in memory.
            kind: the start of the shards' names: ``texts``, or ``images`` and how they were read.
            dtype: float16 halves the store and rounds the vectors to 3 digits.

        Raises:
            FormatError: a shard is damaged.
        """
        self._folder, self._kind, self._dtype = folder, kind, dtype
        self._row_of: dict[Key, int] = {}
        self._shards: list[Tensor] = []
        self._opened: set[Path] = set()
        self._look()

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        """Return those keys that have no vector yet, each once, in order; looks for what other processes have added."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._row_of]
        if wanted:
            self._look()
        return [key for key in wanted if key not in self._row_of]

    def add(self, keys: Sequence[Key], vectors: Tensor) -> None:
        """Store (n, dim) vectors under n keys; on disk when this returns. A key that is there already keeps its vector.

        Raises:
            BabelclipError: the disk is full or the folder cannot be written to.
        """
        new = set(self.missing(keys))
        places = [place for place, key in enumerate(keys) if key in new]
        if not places:
            return
        keys, vectors = [keys[place] for place in places], vectors[places]
        table = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, KEY_BYTES)
        vectors = vectors.to(self._dtype).contiguous()
        if self._folder is None:
            self._take(table, vectors)
            return
        content = save({"keys": table, "vectors": vectors})
        file = self._folder / f"{self._kind}-{hashlib.sha256(content).hexdigest()[:32]}.safetensors"
        keep(file, content)
        self._open(file)

    def features(self, keys: Sequence[Key]) -> Features:
        """Return the vectors of keys that all are in the store."""
        return Features(self._shards, torch.tensor([self._row_of[key] for key in keys], dtype=torch.int64))

    def _look(self) -> None:
        """Open shards that were not there before."""
        if self._folder is not None:
            for file in sorted(set(self._folder.glob(f"{self._kind}-*.safetensors")) - self._opened):
                self._open(file)

    def _open(self, file: Path) -> None:
        """Check a shard and map it into memory."""
        fix = "Delete the file; its vectors will be computed again."
        found, expected = sha256(file)[:32], file.stem.rpartition("-")[2]
        if found != expected:
            raise FormatError(f"damaged: sha256 is {found}, its name says {expected}", file=file, fix=fix)
        try:
            tensors = load_file(file)
            self._take(tensors["keys"], tensors["vectors"])
            self._opened.add(file)
        except (SafetensorError, KeyError) as error:
            raise FormatError(f"not a shard of features ({error})", file=file, fix=fix) from error

    def _take(self, keys: Tensor, vectors: Tensor) -> None:
        start = sum(len(shard) for shard in self._shards)
        packed = keys.contiguous().numpy().tobytes()
        for i in range(len(vectors)):
            self._row_of.setdefault(packed[i * KEY_BYTES : (i + 1) * KEY_BYTES], start + i)
        self._shards.append(vectors)
