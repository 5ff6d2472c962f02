"""Pictures beside their English texts, for training that changes both towers: nothing can be encoded in advance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPModel

from babelclip.data import Corpus
from babelclip.data.examples import base_lexicon
from babelclip.data.features import file_key
from babelclip.encoders.clip import ClipEncoder
from babelclip.encoders.tower import pad
from babelclip.errors import DataError, SettingError
from babelclip.evaluation import retrieval_scores


@dataclass(frozen=True)
class PairBatch:
    """Texts and the pictures that they belong to.

    Attributes:
        ids: (B, L) token ids, padded with end-of-text.
        pixels: (U, 3, side, side) prepared pictures, each once.
        place: (B,) which of them belongs to each text.
    """

    ids: Tensor
    pixels: Tensor
    place: Tensor


@dataclass(frozen=True)
class Pairs:
    """The English texts of a corpus and their pictures.

    Attributes:
        encoder: the untouched model, for its tokenizer and its preparation of pictures.
        sequences: M token ids each, special tokens included, cut at the model's limit.
        files: N different pictures.
        owner: (M,) index of each text's picture.
        fingerprint: of texts and the pictures' content.
    """

    encoder: ClipEncoder
    sequences: list[list[int]]
    files: list[Path]
    owner: Tensor
    fingerprint: str

    @classmethod
    def of(cls, corpus: Corpus, encoder: ClipEncoder) -> Pairs:
        """Cut the English texts of a corpus in any language.

        Raises:
            SettingError: the corpus brings vectors in place of pictures.
        """
        if corpus.vectors is not None:
            raise SettingError(
                f"{corpus.source} comes with picture vectors of {corpus.vectors.file}, but the image side is trained",
                fix="Give the pictures themselves.",
            )
        files = list(dict.fromkeys(caption.image for caption in corpus.captions))
        place = {file: i for i, file in enumerate(files)}
        texts = [caption.english for caption in corpus.captions]
        owner = [place[caption.image] for caption in corpus.captions]
        content = repr((texts, [_content(file) for file in files], owner))
        return cls(
            encoder, base_lexicon(encoder).encode(texts), files, torch.tensor(owner),
            hashlib.sha256(content.encode()).hexdigest(),
        )  # fmt: skip

    def check(self) -> None:
        """Refuse what nothing can be learnt from.

        Raises:
            DataError: there are fewer than 2 texts, or fewer than 2 pictures.
        """
        if len(self.sequences) < 2 or len(self.files) < 2:
            raise DataError(
                f"{len(self.sequences)} training texts of {len(self.files)} pictures: nothing to tell apart",
                fix="Give at least 2 of each, better 10,000.",
            )

    def make(self, texts: Tensor) -> PairBatch:
        """Read a batch of texts, given by their places, and their pictures; runs in a second thread.

        Raises:
            DataError: a picture is missing or damaged.
        """
        wanted, place = self.owner[texts].unique(return_inverse=True)
        pixels = self.encoder.prepare_pictures([self.files[one] for one in wanted.tolist()])
        return PairBatch(pad([self.sequences[one] for one in texts.tolist()], self.encoder.frame.eos), pixels, place)

    @torch.no_grad()
    def r_mean(self, model: CLIPModel, *, batch_size: int = 64) -> float:
        """Return the mean of the six recalls of a model on these pairs, in percent; the gallery is all pictures."""
        device, images, texts = self.encoder.device, [], []
        for start in range(0, len(self.files), batch_size):
            pixels = self.encoder.prepare_pictures(self.files[start : start + batch_size]).to(device)
            images.append(model.get_image_features(pixel_values=pixels).pooler_output.cpu())
        for start in range(0, len(self.sequences), batch_size):
            ids = pad(self.sequences[start : start + batch_size], self.encoder.frame.eos).to(device)
            texts.append(model.get_text_features(input_ids=ids).pooler_output.cpu())
        return retrieval_scores(torch.cat(texts), torch.cat(images), self.owner)["r_mean"]


def _content(file: Path) -> str:
    """What tells a picture from another of the same name; one that is missing is refused when it is looked at."""
    return file_key(file).hex() if file.is_file() else "missing"
