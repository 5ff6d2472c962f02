"""From files to vectors, whatever they are: a picture has its own, a video the mean over its frames.

The mean is CLIP4Clip's "meanP", which MLA uses too: v = 1/F sum_f x_f / |x_f|, over the F frames that the video has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.encoders.pictures import open_picture
from babelclip.encoders.videos import is_video, sample_frames

READER = 2
"""How pictures and frames of videos look to a base model: raise it with each change of a pixel, so that vectors that
were kept of the old ones are not found any more."""


@dataclass(frozen=True)
class Batch:
    """Pictures and frames that go through an image tower together.

    Attributes:
        pictures: B of them, in RGB.
        owner: (B,) index of the file that each is from.
        weight: (B,) share of a frame in its video's mean, 1/F; 0 for pictures.
        done: number of files that are complete with this batch.
    """

    pictures: list[Image.Image]
    owner: Tensor
    weight: Tensor
    done: int

    def put(self, output: Tensor, vectors: Tensor) -> None:
        """Write the tower's output (B, dim) to where it belongs in the vectors (N, dim) of all files, zero at first."""
        frame = self.weight > 0
        vectors[self.owner[~frame]] = output[~frame]
        vectors.index_add_(0, self.owner[frame], normalize(output[frame], dim=1) * self.weight[frame, None])


def look(files: Sequence[Path], *, batch_size: int, frames: int, incomplete: list[Path]) -> Iterator[Batch]:
    """Open pictures and videos, and yield what is on them in batches; several videos share one.

    No more is held than one batch and one video's frames: a batch is emptied when the next one is asked for.

    Args:
        files: N pictures and videos.
        batch_size: pictures and frames at a time.
        frames: of a video, at most.
        incomplete: videos of which not all could be read are added.

    Raises:
        DataError: a file is missing or damaged; names it.
        MissingExtraError: there are videos, and the package ``av`` is not installed.
    """
    waiting: list[tuple[Image.Image, int, float]] = []
    for number, file in enumerate(files):
        waiting += _open(file, number, frames, incomplete)
        while len(waiting) >= batch_size or (waiting and number == len(files) - 1):
            rows, waiting = waiting[:batch_size], waiting[batch_size:]
            batch = _batch(rows, waiting[0][1] if waiting else number + 1)
            rows.clear()
            yield batch
            batch.pictures.clear()


def _open(file: Path, number: int, frames: int, incomplete: list[Path]) -> list[tuple[Image.Image, int, float]]:
    if not is_video(file):
        return [(open_picture(file), number, 0.0)]
    taken = sample_frames(file, frames)
    if taken.incomplete and file not in incomplete:
        incomplete.append(file)
    return [(picture, number, 1 / len(taken.pictures)) for picture in taken.pictures]


def _batch(rows: list[tuple[Image.Image, int, float]], done: int) -> Batch:
    pictures, owner, weight = zip(*rows, strict=True)
    return Batch(list(pictures), torch.tensor(owner), torch.tensor(weight), done)
