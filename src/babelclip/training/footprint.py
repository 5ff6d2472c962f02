"""What a task costs: memory by a formula of sizes, speed by a second of measuring."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch.nn.functional import mse_loss

from babelclip.encoders import DualEncoder
from babelclip.encoders.tower import encode_batch, pad

BATCH = 32
LENGTH = 16
"""Tokens of a text that is measured with, both special tokens included, where no texts are given."""
HOLES = 2
"""Memory of a process that grows, as a multiple of what is kept for the backward pass."""
PICTURES = 64
"""Pictures that are looked at together."""


@dataclass(frozen=True)
class Sizes:
    """What the memory of a task depends on.

    Attributes:
        parameters: of the whole base model.
        rows: of its token table, V.
        width: of a row and of the text tower, W.
        inner: inside an MLP of the text tower, I.
        layers: of the text tower, L.
        places: of a picture in the image tower, those of patches and the class token.
        image_width, image_inner: the same of the image tower.
    """

    parameters: int
    rows: int
    width: int
    inner: int
    layers: int
    places: int
    image_width: int
    image_inner: int


@dataclass(frozen=True)
class Memory:
    """Bytes of a task in float32, estimated.

    Attributes:
        model: both towers.
        lexicon: the tables of token rows: before growing, after it, and after training.
        training: rows, gradient, both moments of the optimiser, and the rows as they were before the first step.
        texts: what the text tower keeps for its backward pass, and needs meanwhile.
        pictures: what the image tower needs while it looks at pictures, before training.
    """

    model: int
    lexicon: int
    training: int
    texts: int
    pictures: int

    @property
    def total(self) -> int:
        """Bytes of all together; pictures are looked at before training begins."""
        return self.model + self.lexicon + max(self.training + self.texts, self.pictures)


def estimate_memory(sizes: Sizes, *, batch: int, length: int, new_rows: int) -> Memory:
    """Estimate the memory of a task with ``cll``, in bytes; interpreter and libraries (0.5 GB) come on top.

    With P parameters, V rows of width W, an MLP of inner width I, L layers, B texts of T tokens in a step, N new rows,
    and pictures of S places in an image tower of width X and inner width J:

        model     4 P
        lexicon   4 W (V + 2 (V + N))
        training  4 W 5 (V + N)                   at most: only rows that the texts use are trained
        texts     2 4 B T ((L - 1) (6 W + I) + 3 W)
        pictures  4 64 S (4 X + J)

    Of a layer the backward pass needs the inputs of both layer norms, queries, keys, values and their mix, each W wide,
    and the input of the activation, I wide; of the last layer, which is computed at the end only, one input, keys and
    values. The factor 2 is for what is needed for a moment and for the holes that it leaves between what is kept: on a
    processor the memory of a process grew by 1.5 to 2 times of what is kept. The text tower sees no padding and no
    beginning twice, so real batches need less. For a model of 198 MB with 12 layers of width 512 and 32 texts of 77
    tokens it gives 1.85 GB with interpreter and libraries; processes had peaks of 1.77 to 1.89 GB.

    Args:
        sizes: of the model.
        batch: texts in a step.
        length: tokens of a text, special tokens included.
        new_rows: rows that the lexicon grows by.
    """
    grown = sizes.rows + new_rows
    kept = (sizes.layers - 1) * (6 * sizes.width + sizes.inner) + 3 * sizes.width
    return Memory(
        model=4 * sizes.parameters, lexicon=4 * sizes.width * (sizes.rows + 2 * grown),
        training=4 * sizes.width * 5 * grown, texts=HOLES * 4 * batch * length * kept,
        pictures=4 * PICTURES * sizes.places * (4 * sizes.image_width + sizes.image_inner),
    )  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """How fast a text tower was just now.

    Attributes:
        texts_per_second: forward and backward, loss and optimiser left out.
        batch: texts at a time.
        length: tokens of a text, special tokens included, on average.
        device: where.
        threads: of the processor.
    """

    texts_per_second: float
    batch: int
    length: float
    device: str
    threads: int


def measure_speed(encoder: DualEncoder, sequences: Sequence[Sequence[int]] = (), *, seconds: float = 1.0) -> Speed:
    """Run texts forwards, and gradients back to their rows, for a while; the first run does not count.

    Args:
        encoder: the base model.
        sequences: ids of texts with start and end; ``BATCH`` of them are taken. Else random ids, ``LENGTH`` a text.
        seconds: how long to measure, at least; at least three runs are made.
    """
    chance = torch.Generator().manual_seed(0)
    frame = encoder.frame
    plain = torch.tensor(sorted(set(range(len(encoder.token_table))) - set(frame.specials)))
    pieces = min(LENGTH - frame.max_length + frame.room, frame.room)
    some = [list(one) for one in sequences[:BATCH]] or [
        frame.wrap(plain[torch.randint(len(plain), (pieces,), generator=chance)].tolist()) for _ in range(BATCH)
    ]
    used, ids = pad(some, frame.eos).unique(return_inverse=True)
    eos = int((used == frame.eos).nonzero())
    rows = encoder.token_table.detach()[used.to(encoder.device)].requires_grad_()
    target = torch.randn(len(some), encoder.dim, generator=chance).to(encoder.device)
    runs: list[float] = []
    begin = time.perf_counter()
    while len(runs) < 4 or time.perf_counter() - begin < seconds:
        started = time.perf_counter()
        vectors, _ = encode_batch(encoder, rows, ids, eos)
        torch.autograd.grad(mse_loss(vectors, target), rows)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize(encoder.device)
        runs.append(time.perf_counter() - started)
    return Speed(
        len(some) / median(runs[1:]), len(some), sum(map(len, some)) / len(some), str(encoder.device),
        torch.get_num_threads(),
    )  # fmt: skip
