"""What babelclip needs of a base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from PIL.Image import Image
from tokenizers import Tokenizer
from torch import Tensor, device

from babelclip.encoders.frame import Frame
from babelclip.encoders.insert import Insert, TowerBuild, TowerShape
from babelclip.encoders.layout import Layout

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long runs."""

PlainTower = Callable[[Tensor, Layout], Tensor]
"""A text tower that takes no inserts and knows no gradients: rows (N, width) and their layout, of one band, to vectors
(B, dim)."""


class TextTower(Protocol):
    """A text tower, from token rows to vectors.

    Attributes:
        shape: its sizes.
        build: how it is put together.
        activation: of its MLPs, as ``transformers`` names it.
        epsilon: of its layer norms.
    """

    shape: TowerShape
    build: TowerBuild
    activation: str
    epsilon: float

    def __call__(self, rows: Tensor, layout: Layout, inserts: Sequence[Insert] = ()) -> Tensor:
        """Run the tower.

        Args:
            rows: (N, width) one row a node, of another width where an insert projects them; gradients flow through.
            layout: how the nodes make up B texts of at most ``max_length`` tokens.
            inserts: what is put into it.

        Returns:
            (B, dim) projected vectors of the texts, not normalised.
        """

    def lay_out(self, ids: Tensor, ends: Tensor, groups: Tensor | None = None, *, bands: int | None = None) -> Layout:
        """Find the nodes of a batch: what must be computed, what is shared, what is seen, and where texts are pooled.

        Args:
            ids: (B, L) token ids on the CPU; what stands behind the end does not matter, unless padding is read.
            ends: (B,) position of each text's first end-of-text.
            groups: (B,) on the CPU; texts of different groups share no node. By default all are of one group.
            bands: into how many bands of texts attention may be cut; by default what suits the tower's device.
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
        tokenizer: the base tokenizer, of the languages that it knows.
        token_table: (V, width) the base model's token rows, one a token of the tokenizer; frozen.
        frame: what the text tower wants around the pieces of a text.
        dim: size of the shared space.
        scale: what the base model was trained to multiply cosines with.
        bias: what it was trained to add to them, by a sigmoid loss; None where it was trained with a softmax.
        device: where the towers run.
        frames: how many frames stand for a video, at most.
        incomplete: videos met so far of which not all could be read; what could is in their vectors.
    """

    name: str
    fingerprint: str
    tokenizer: Tokenizer
    token_table: Tensor
    frame: Frame
    dim: int
    scale: float
    bias: float | None
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
        """Return (N, ...) pixels of pictures in RGB, on the CPU; several threads may do so at once.

        Of most base models (N, 3, side, side); they can be put behind each other, whatever their pictures' sizes were.
        """

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return (N, dim) projected vectors of prepared pictures, not normalised, on the CPU."""
