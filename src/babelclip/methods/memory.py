"""A memory of training texts of earlier languages: every text of the stream has the same chance to be in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from babelclip.errors import SettingError
from babelclip.lexicon import Tokens, tokenise
from babelclip.methods.base import NONE, Task


@dataclass(frozen=True)
class Samples:
    """Some texts of a memory.

    Attributes:
        sequences: their token ids with specials, cut with the newest tokenizer.
        languages: (M,) their tags.
        targets: (M, dim) what their vectors are drawn to.
        images: (M, dim) vectors of their images.
        image_keys: (M,) equal where two texts share an image, whatever their languages.
    """

    sequences: list[list[int]]
    languages: list[str]
    targets: Tensor
    images: Tensor
    image_keys: Tensor


def image_keys(files: Sequence[Path]) -> Tensor:
    """Return (N,) int64 that tell images apart over all tasks."""
    digests = (hashlib.blake2b(str(file).encode(), digest_size=8).digest() for file in files)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)


class Memory:
    """A reservoir (Vitter's algorithm R): each of the n texts that were offered is held with probability size / n.

    Attributes:
        size: texts that it holds at most.
        texts: (m,) texts.
        languages: (m,) their tags.
        offered: texts that were offered so far.
    """

    def __init__(self, size: int) -> None:
        """Hold nothing yet."""
        self.size = size
        self.texts: list[str] = []
        self.languages: list[str] = []
        self.offered = 0
        self._targets = self._images = torch.empty(0, 0)
        self._image_keys = NONE
        self._tokens: Tokens | None = None
        self._generator = torch.Generator()

    def __len__(self) -> int:
        """Texts that it holds."""
        return len(self.texts)

    def begin(self, task: Task, seed: int) -> Tensor:
        """Cut all texts with a task's tokenizer and begin new draws; return the ids that occur, sorted."""
        self._generator.manual_seed(seed)
        self._lexicon = task.lexicon
        self._tokens = tokenise(task.lexicon.tokenizer(), self.texts)
        return self._tokens.used()

    def used_by_language(self) -> list[Tensor]:
        """Return for each language that is held the (k,) ids that its texts are cut into, sorted."""
        tokens = self._tokens
        if tokens is None:
            raise RuntimeError("begin() comes before used_by_language()")
        places: dict[str, list[int]] = {}
        for place, language in enumerate(self.languages):
            places.setdefault(language, []).append(place)
        return [torch.tensor(sorted({piece for place in one for piece in tokens[place]})) for one in places.values()]

    def draw(self, count: int) -> Samples:
        """Draw ``count`` texts, each at most once, all if there are fewer."""
        if self._tokens is None:
            raise RuntimeError("begin() comes before draw()")
        chosen = torch.randperm(len(self), generator=self._generator)[:count]
        places = chosen.tolist()
        return Samples(
            self._lexicon.add_specials(self._tokens[place] for place in places),
            [self.languages[place] for place in places],
            self._targets[chosen], self._images[chosen], self._image_keys[chosen],
        )  # fmt: skip

    def offer(self, task: Task, targets: Tensor) -> None:
        """Offer every text of a finished task once.

        Args:
            task: the task.
            targets: (M, dim) what the vectors of its texts are to be drawn to.
        """
        if task.examples is None:
            return
        kept = self._choose(len(task.examples.texts))
        tags, examples = task.examples.tags(), task.examples
        chosen = torch.tensor(list(kept.values()), dtype=torch.int64)
        owners = examples.owner[chosen]
        old = torch.tensor([place for place in range(len(self)) if place not in kept], dtype=torch.int64)
        new = chosen.tolist()
        self.texts = [self.texts[place] for place in old.tolist()] + [examples.texts[text] for text in new]
        self.languages = [self.languages[place] for place in old.tolist()] + [tags[text] for text in new]
        self._targets = _behind(self._targets, old, targets[chosen])
        self._images = _behind(self._images, old, examples.images[owners])
        self._image_keys = torch.cat([self._image_keys[old], image_keys(examples.files)[owners]])

    def _choose(self, count: int) -> dict[int, int]:
        """Play algorithm R for ``count`` texts: place of the memory -> the text that ends there."""
        kept: dict[int, int] = {}
        for text in torch.randperm(count, generator=self._generator).tolist():
            self.offered += 1
            if self.offered <= self.size:
                kept[self.offered - 1] = text
            else:
                place = int(torch.randint(self.offered, (1,), generator=self._generator))
                if place < self.size:
                    kept[place] = text
        return kept

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything as tensors; texts and tags as bytes."""
        return {
            **_pack("texts", self.texts), **_pack("languages", self.languages),
            "targets": self._targets, "images": self._images, "image_keys": self._image_keys,
            "size": torch.tensor(self.size), "offered": torch.tensor(self.offered),
            "generator": self._generator.get_state(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state_dict`` returned.

        Raises:
            SettingError: it is of a memory of another size, which would not hold each text with the same chance.
        """
        if int(state["size"]) != self.size:
            raise SettingError(
                f"a memory of {self.size} texts cannot go on from one of {int(state['size'])}",
                fix=f"Say memory={int(state['size'])}, as for the languages before.",
            )
        self.texts, self.languages = _unpack("texts", state), _unpack("languages", state)
        self._targets, self._images, self._image_keys = state["targets"], state["images"], state["image_keys"]
        self.offered = int(state["offered"])
        self._generator.set_state(state["generator"])


def _behind(before: Tensor, kept: Tensor, new: Tensor) -> Tensor:
    """Rows of ``before`` that are kept, and new ones behind them."""
    return torch.cat([before[kept], new]) if len(kept) else new.clone()


def _pack(name: str, texts: Sequence[str]) -> dict[str, Tensor]:
    """Texts as their UTF-8 bytes and the lengths."""
    parts = [text.encode() for text in texts]
    content = torch.tensor(list(b"".join(parts)), dtype=torch.uint8)
    return {name: content, f"{name}.lengths": torch.tensor([len(part) for part in parts], dtype=torch.int64)}


def _unpack(name: str, state: Mapping[str, Tensor]) -> list[str]:
    """Texts that were packed."""
    content, start, texts = bytes(state[name].tolist()), 0, []
    for length in state[f"{name}.lengths"].tolist():
        texts.append(content[start : start + length].decode())
        start += length
    return texts
