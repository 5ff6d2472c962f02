"""Texts beside what the frozen base model says of them: the teacher's vectors, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from babelclip.data.captions import Corpus
from babelclip.encoders import DualEncoder, encode_tokens
from babelclip.encoders.base import Progress
from babelclip.lexicon import Lexicon


@dataclass(frozen=True)
class Examples:
    """The captions of one language, ready for training or scoring.

    Attributes:
        language: its tag.
        texts: M texts in the language.
        english: M English texts.
        files: N different pictures.
        owner: (M,) index of each text's picture.
        images: (N, dim) the base model's picture vectors, not normalised.
        teachers: (M, dim) the base model's English text vectors, not normalised.
    """

    language: str
    texts: list[str]
    english: list[str]
    files: list[Path]
    owner: Tensor
    images: Tensor
    teachers: Tensor


class Teacher:
    """The frozen base model as a teacher; remembers every picture and English text that it has encoded."""

    def __init__(self, encoder: DualEncoder) -> None:
        """Teach with a base model."""
        self.encoder = encoder
        self._lexicon = base_lexicon(encoder)
        self._images: dict[Path, Tensor] = {}
        self._english: dict[str, Tensor] = {}

    def encode_english(self, texts: list[str]) -> Tensor:
        """Return (M, dim) vectors of English texts, with the base tokenizer and the base rows."""
        new = sorted(set(texts) - set(self._english))
        if new:
            vectors = encode_tokens(self.encoder, self._lexicon.table, self._lexicon.encode(new))
            self._english.update(zip(new, vectors, strict=True))
        return torch.stack([self._english[text] for text in texts])

    def prepare(self, corpus: Corpus, progress: Progress | None = None) -> Examples:
        """Encode what is new of a corpus, pictures and English texts, and put it beside the texts.

        Args:
            corpus: the captions.
            progress: called with (pictures done, pictures to do).

        Raises:
            DataError: a picture is damaged.
        """
        captions = corpus.captions
        files = list(dict.fromkeys(caption.image for caption in captions))
        new = [file for file in files if file not in self._images]
        if new:
            self._images.update(zip(new, self.encoder.encode_images(new, progress=progress), strict=True))
        place = {file: i for i, file in enumerate(files)}
        english = [caption.english for caption in captions]
        return Examples(
            language=corpus.language,
            texts=[caption.text for caption in captions],
            english=english,
            files=files,
            owner=torch.tensor([place[caption.image] for caption in captions]),
            images=torch.stack([self._images[file] for file in files]),
            teachers=self.encode_english(english),
        )


def base_lexicon(encoder: DualEncoder) -> Lexicon:
    """Return the base model's own lexicon, before any language is learnt."""
    return Lexicon.from_base(
        encoder.tokenizer, encoder.token_table.cpu(), bos=encoder.bos, eos=encoder.eos, max_length=encoder.max_length
    )
