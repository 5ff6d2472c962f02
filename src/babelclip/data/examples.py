"""Texts beside what the frozen base model says of them: the teacher's vectors, each computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from babelclip.data.cache import Cache
from babelclip.data.features import Features, Key, content_key, file_key
from babelclip.data.gather import Corpus
from babelclip.data.vectors import ImageVectors
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.encoders.base import Progress
from babelclip.encoders.videos import is_video
from babelclip.errors import DataError, ModelError
from babelclip.lexicon import Lexicon


class Vectors(Protocol):
    """(M, dim) float32 vectors, in memory or not."""

    def __len__(self) -> int:
        """M."""

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        """Return the vectors at places (B,), or at a slice."""


CHUNK = 4096  # pictures or texts that are encoded before they are stored


@dataclass(frozen=True)
class Examples:
    """The captions of one language, ready for training or scoring.

    Attributes:
        language: its tag.
        texts: M texts in the language.
        english: M English texts.
        files: N different pictures, or the ids of their vectors.
        owner: (M,) index of each text's picture.
        images: (N, dim) the base model's picture vectors, not normalised; ``images[:]`` is all of them.
        teachers: (M, dim) the base model's English text vectors, not normalised.
        parts: tag and number of texts of each language, one behind the other, where there are several.
        source: the file that they were read from, for messages; None where there are several.
    """

    language: str
    texts: list[str]
    english: list[str]
    files: list[Path]
    owner: Tensor
    images: Vectors
    teachers: Vectors
    parts: tuple[tuple[str, int], ...] = ()
    source: Path | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the texts."""
        return tuple(tag for tag, _ in self.parts) or (self.language,)

    def tags(self) -> list[str]:
        """(M,) language of each text."""
        return [tag for tag, count in self.parts or ((self.language, len(self.texts)),) for _ in range(count)]

    def by_language(self) -> Iterator[tuple[str, slice]]:
        """Yield each language and where its texts stand."""
        start = 0
        for language, count in self.parts or ((self.language, len(self.texts)),):
            yield language, slice(start, start + count)
            start += count

    def fingerprint(self) -> str:
        """Sha256 over texts, their pictures and all vectors, shortened: what training and scoring depend on.

        Texts count as Python's ``repr`` of all four columns together would write them, which is never made as a whole.
        """
        digest = hashlib.sha256(f"({self.language!r}".encode())
        for column in (self.texts, self.english, self.owner):
            digest.update(b", [")
            for start in range(0, len(column), CHUNK):
                part = column[start : start + CHUNK]
                listed = repr(part.tolist() if isinstance(part, Tensor) else list(part))[1:-1]
                digest.update(f"{', ' if start else ''}{listed}".encode())
            digest.update(b"]")
        digest.update(b")")
        for vectors in (self.images, self.teachers):
            for start in range(0, len(vectors), CHUNK):
                digest.update(vectors[start : start + CHUNK].numpy().ravel().data)
        return digest.hexdigest()[:12]


class Teacher:
    """The frozen base model as a teacher; no picture and no English text is encoded twice.

    A vector can differ in its last bits with the batch that it was computed in; once it is stored, it stays.

    Attributes:
        encoder: the base model.
        cache: where vectors and tokens are kept.
    """

    def __init__(self, encoder: DualEncoder, cache: Cache | None = None) -> None:
        """Teach with a base model; without a cache, what was computed is forgotten with this object."""
        self.encoder = encoder
        self.cache = Cache(None) if cache is None else cache
        self._lexicon = base_lexicon(encoder)
        self._images = self.cache.features(encoder.fingerprint, "images")
        self._english = self.cache.features(encoder.fingerprint, "texts")
        self._key_of: dict[tuple[Path, int, int], Key] = {}

    def encode_english(self, texts: Sequence[str]) -> Features:
        """Return (M, dim) vectors of English texts, with the base tokenizer and the base rows."""
        keys = [content_key(text.encode()) for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        for new in _chunks(self._english.missing(keys), CHUNK):
            sequences = self._lexicon.encode([text_of[key] for key in new])
            self._english.add(new, encode_tokens(self.encoder, self._lexicon.table, sequences))
        return self._english.features(keys)

    def encode_images(self, files: Sequence[Path], progress: Progress | None = None) -> Features:
        """Return (N, dim) vectors of pictures and videos, known by their content: a copy elsewhere is the same.

        Args:
            files: the pictures and videos.
            progress: called with (pictures done, pictures to do), counting those that are new.

        Raises:
            DataError: a picture or video is missing or damaged.
        """
        keys = [self._image_key(file) for file in files]
        file_of = dict(zip(keys, files, strict=True))
        missing = self._images.missing(keys)
        for number, new in enumerate(_chunks(missing, CHUNK)):

            def shown(done: int, _: int, before: int = number * CHUNK) -> None:
                if progress is not None:
                    progress(before + done, len(missing))

            self._images.add(new, self.encoder.encode_images([file_of[key] for key in new], progress=shown))
        return self._images.features(keys)

    def prepare(self, corpus: Corpus, progress: Progress | None = None) -> Examples:
        """Encode what is new of a corpus, pictures and English texts, and put it beside the texts.

        Args:
            corpus: the captions.
            progress: called with (pictures done, pictures to do).

        Raises:
            DataError: a picture is damaged.
            ModelError: the corpus brings vectors, and they are not as wide as the base model's.
        """
        captions = corpus.captions
        files = list(dict.fromkeys(caption.image for caption in captions))
        place = {file: i for i, file in enumerate(files)}
        english = [caption.english for caption in captions]
        return Examples(
            language=corpus.language,
            texts=[caption.text for caption in captions],
            english=english,
            files=files,
            owner=torch.tensor([place[caption.image] for caption in captions]),
            images=self.encode_images(files, progress)
            if corpus.vectors is None
            else self._given(corpus.vectors, files),
            teachers=self.encode_english(english),
            source=corpus.source,
        )

    def _given(self, vectors: ImageVectors, ids: Sequence[Path]) -> Features:
        """Picture vectors that came with the data."""
        if vectors.dim != self.encoder.dim:
            raise ModelError(
                f"the vectors of {vectors.file} have {vectors.dim} dimensions, those of {self.encoder.name} "
                f"{self.encoder.dim}",
                fix="Give vectors that this base model's image side made.",
            )
        return vectors.features(ids)

    def _image_key(self, file: Path) -> Key:
        """The key of a picture's content, of a video with the number of frames that stand for it.

        A file is read again only when its size or time has changed.
        """
        try:
            state = file.stat()
            known = (file, state.st_size, state.st_mtime_ns)
            if known not in self._key_of:
                self._key_of[known] = file_key(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"the picture cannot be read ({reason})", file=file, fix="Correct the path.") from error
        key = self._key_of[known]
        return content_key(b"%d frames of %s" % (self.encoder.frames, key)) if is_video(file) else key


def _chunks(keys: list[Key], size: int) -> Iterator[list[Key]]:
    """Yield keys in parts: what is stored survives if the process dies in the next."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


def base_lexicon(encoder: DualEncoder) -> Lexicon:
    """Return the base model's own lexicon, before any language is learnt."""
    return Lexicon.from_base(encoder.tokenizer, encoder.token_table.cpu(), encoder.frame)
