"""Make a small data set of real video files: the demo's pictograms in motion, with captions in four languages.

    python recipes/moving_pictograms.py --out build/moving                 # 11,100 videos, 19 minutes on one busy core
    python recipes/moving_pictograms.py --out build/moving --concepts 50   # the first 50 of each split
    babelclip learn --language de --data build/moving/de.train.tsv --test build/moving/de.test.tsv --out build/moving-de

Each drawing moves in ``--videos`` of eleven ways: to a side, up, down, growing, shrinking, spinning, swinging,
appearing, fading, or not at all. A video has 25 frames of 96 x 96 pixels, 12 a second, MPEG-4. The folder is a data set
of the kind ``folder``: ``LANGUAGE.SPLIT.tsv`` with the columns image, en, LANGUAGE, where image is the video's path.

Concepts and their split are those of ``babelclip.benchmarks.openmoji``: no test drawing and no test name is in
training, but every motion is. Names come from the package ``emoji``; the words for motions are ours, chosen so that
they do not depend on gender or number. The seed fixes which motions a drawing gets.

What a mean over frames can tell: not the direction of time. A drawing that moves to the left shows the same places as
one that moves to the right, in the other order (the twelve frames that are usually taken of 25 lie evenly about the
middle one), so their means are equal but for traces of the compression; growing and shrinking, appearing and fading
likewise. So eight of the eleven motions come in pairs that only chance can choose between. It can tell the axis of a
motion, that a drawing spins or swings, that its size or its paleness varies, or that nothing changes, as far as the
image tower tells such frames apart. A single frame (``--frames 1``) is the one in the middle: there all that moves up,
down or to a side looks alike.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from babelclip.benchmarks import openmoji
from babelclip.files import write_whole

PIXELS, FRAMES, RATE, SEED, LANGUAGES = 96, 25, 12, 0, ("en", "de", "fr", "es")


@dataclass(frozen=True)
class Pose:
    """Where a drawing is: side and centre as shares of the picture, angle in degrees, opacity from 0 to 1."""

    size: float = 0.6
    x: float = 0.5
    y: float = 0.5
    angle: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Motion:
    """A way to move: the pose at a time from 0 to 1, and the words for it by language."""

    pose: Callable[[float], Pose]
    words: dict[str, str]


def motion(pose: Callable[[float], Pose], *words: str) -> Motion:
    return Motion(pose, dict(zip(LANGUAGES, words, strict=True)))


MOTIONS = {
    "left": motion(
        lambda t: Pose(x=0.75 - 0.5 * t),
        "moving to the left", "in Bewegung nach links", "en mouvement vers la gauche",
        "en movimiento hacia la izquierda",
    ),
    "right": motion(
        lambda t: Pose(x=0.25 + 0.5 * t),
        "moving to the right", "in Bewegung nach rechts", "en mouvement vers la droite",
        "en movimiento hacia la derecha",
    ),
    "up": motion(
        lambda t: Pose(y=0.75 - 0.5 * t),
        "moving up", "in Bewegung nach oben", "en mouvement vers le haut", "en movimiento hacia arriba",
    ),
    "down": motion(
        lambda t: Pose(y=0.25 + 0.5 * t),
        "moving down", "in Bewegung nach unten", "en mouvement vers le bas", "en movimiento hacia abajo",
    ),
    "growing": motion(
        lambda t: Pose(size=0.2 + 0.8 * t), "growing", "immer größer", "en train de grandir", "creciendo"
    ),
    "shrinking": motion(
        lambda t: Pose(size=1.0 - 0.8 * t), "shrinking", "immer kleiner", "en train de rétrécir", "encogiendo"
    ),
    "spinning": motion(
        lambda t: Pose(size=0.7, angle=-360 * t), "spinning around", "in Drehung", "en train de tourner", "girando"
    ),
    "swinging": motion(
        lambda t: Pose(size=0.7, angle=30 * math.sin(4 * math.pi * t)),
        "swinging to and fro", "hin und her schwingend", "en train de se balancer", "en balanceo",
    ),
    "appearing": motion(
        lambda t: Pose(size=0.9, opacity=t),
        "slowly appearing", "langsam erscheinend", "en train d'apparaître", "apareciendo poco a poco",
    ),
    "fading": motion(
        lambda t: Pose(size=0.9, opacity=1 - t),
        "slowly fading away", "langsam verschwindend", "en train de disparaître", "desapareciendo poco a poco",
    ),
    "still": motion(lambda _: Pose(size=0.9), "standing still", "ohne Bewegung", "sans bouger", "sin movimiento"),
}  # fmt: skip


def paint(drawing: Image.Image, pose: Pose) -> Image.Image:
    """Put a drawing (RGBA) on a white picture."""
    side = max(2, round(pose.size * PIXELS))
    moved = drawing.resize((side, side), Image.Resampling.LANCZOS)
    if pose.angle:
        moved = moved.rotate(pose.angle, Image.Resampling.BICUBIC, expand=True)
    picture = Image.new("RGB", (PIXELS, PIXELS), "white")
    corner = round(pose.x * PIXELS - moved.width / 2), round(pose.y * PIXELS - moved.height / 2)
    picture.paste(moved, corner, moved.getchannel("A").point(lambda value: round(value * pose.opacity)))
    return picture


def film(file: Path, drawing: Image.Image, pose: Callable[[float], Pose]) -> None:
    """Write one video; what stands there already is left as it is."""
    import av

    if file.exists():
        return
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width = stream.height = PIXELS
        stream.pix_fmt, stream.bit_rate = "yuv420p", 600_000
        for number in range(FRAMES):
            picture = paint(drawing, pose(number / (FRAMES - 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode())
    write_whole(file, content.getvalue())


def make(out: Path, *, videos: int = 3, concepts: int | None = None, seed: int = SEED) -> dict[str, int]:
    """Write the data set.

    Args:
        out: folder for it.
        videos: how many a drawing, each with another motion; at most ``len(MOTIONS)``.
        concepts: how many of each split, from its beginning; by default all.
        seed: fixes the motions.

    Returns:
        Number of videos of each split.
    """
    every, _ = openmoji.load_concepts()
    counts = {}
    for split in openmoji.SPLITS:
        rows: dict[str, list[str]] = {language: [] for language in LANGUAGES}
        for concept in [one for one in every if one.split == split][:concepts]:
            png = openmoji.render(concept.drawing, 2 * PIXELS, background=None)
            drawing = Image.open(io.BytesIO(png)).convert("RGBA")
            for name in random.Random(f"{seed} {concept.id}").sample(sorted(MOTIONS), videos):
                path = f"videos/{concept.id}-{name}.mp4"
                film(out / path, drawing, MOTIONS[name].pose)
                for language in LANGUAGES:
                    texts = [
                        f"{concept.names[tag]}, {MOTIONS[name].words[tag]}" for tag in dict.fromkeys(("en", language))
                    ]
                    rows[language].append("\t".join((path, *texts)))
        for language, lines in rows.items():
            header = "\t".join(("image", *dict.fromkeys(("en", language))))
            write_whole(out / f"{language}.{split}.tsv", "\n".join((header, *lines)) + "\n")
        counts[split] = len(rows["en"])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the data set")
    parser.add_argument("--videos", type=int, default=3, choices=range(1, len(MOTIONS) + 1), help="a drawing")
    parser.add_argument("--concepts", type=int, help="of each split; by default all")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    started = time.perf_counter()
    counts = make(options.out, videos=options.videos, concepts=options.concepts, seed=options.seed)
    listed = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    print(f"{listed} videos in {options.out}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
