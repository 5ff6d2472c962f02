"""What babelclip needs of a base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from PIL.Image import Image
from tokenizers import Tokenizer
from torch import Tensor, device

from babelclip.encoders.insert import Insert, TowerShape
from babelclip.encoders.layout import Layout

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long runs."""

PlainTower = Callable[[Tensor, Layout], Tensor]
"""A text tower that takes no inserts and knows no gradients: rows (N, width) and their layout to vectors (B, dim)."""


class TextTower(Protocol):
    """A text tower, from token rows to vectors.

    Attributes:
        shape: its sizes.
        activation: of its MLPs, as ``transformers`` names it.
        epsilon: of its layer norms.
    """

    shape: TowerShape
    activation: str
    epsilon: float

    def __call__(self, rows: Tensor, layout: Layout, inserts: Sequence[Insert] = ()) -> Tensor:
        """Run the tower.

        Args:
            rows: (N, width) one row a node, of another width where an insert projects them; gradients flow through.
            layout: how the nodes make up B texts of at most ``max_length`` tokens.
            inserts: what is put into it.

        Returns:
            (B, dim) projected vectors at the first end-of-text of each text, not normalised.
        """

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name."""

    def with_weights(self, weights: Mapping[str, Tensor]) -> TextTower:
        """Return the same tower with other weights; gradients flow to them."""


class DualEncoder(Protocol):
    """A frozen pair of towers with one shared space.

    Attributes:
        name: the folder or hub id it was loaded from.
        fingerprint: sha256 over weights, tokenizer and picture preparation; equal means equal vectors.
        tokenizer: the base tokenizer, English only.
        token_table: (V, width) the base model's token rows; frozen.
        bos: id of the start token.
        eos: id of the end-of-text token, where the text tower pools.
        max_length: longest text input in tokens, both special tokens included.
        dim: size of the shared space.
        device: where the towers run.
        frames: how many frames stand for a video, at most.
        incomplete: videos met so far of which not all could be read; what could is in their vectors.
    """

    name: str
    fingerprint: str
    tokenizer: Tokenizer
    token_table: Tensor
    bos: int
    eos: int
    max_length: int
    dim: int
    device: device
    frames: int
    incomplete: list[Path]

    @property
    def text_tower(self) -> TextTower:
        """The frozen text tower; ``tower.encode_batch`` runs it from token ids."""

    def encode_images(self, files: Sequence[Path], *, batch_size: int = 64, progress: Progress | None = None) -> Tensor:
        """Return (N, dim) projected vectors of pictures, not normalised, and of videos, the mean over their frames.

        Raises:
            DataError: a picture or video is missing or damaged; the message names the file.
            MissingExtraError: there are videos, and the package ``av`` is not installed.
        """

    def prepare(self, pictures: Sequence[Image]) -> Tensor:
        """Return (N, 3, side, side) pixels of pictures in RGB, on the CPU; several threads may do so at once."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return (N, dim) projected vectors of prepared pictures, not normalised, on the CPU."""
