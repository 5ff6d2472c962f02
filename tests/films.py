"""Little videos for tests, written with PyAV: frame i of n is told apart by its grey, ``grey(i, n)``."""

from __future__ import annotations

import weakref
from fractions import Fraction

import av
import numpy as np

SIZE = (64, 48)


def grey(number, count):
    return 20 + round(215 * number / max(1, count - 1))


def drawing(number, count, size=SIZE):
    """Grey, with a red bar at the left and a blue one at the top, so that turns can be seen."""
    width, height = size
    picture = np.full((height, width, 3), grey(number, count), np.uint8)
    picture[:, : width // 4] = (220, 30, 30)
    picture[: height // 4] = (30, 30, 220)
    return picture


def write_film(file, count=24, *, times=None, codec="mpeg4", gop=12, b_frames=0, turn=None, picture=drawing,
               options=None, pixels="yuv420p", sound=False, size=SIZE, kind=None, title=None):  # fmt: skip
    """Write a video of ``count`` frames, shown at ``times`` (in hundredths of a second; by default 10 a second)."""
    times = [10 * i for i in range(count)] if times is None else times
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format=kind, options=options or {}) as container:
        if title is not None:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=10 if file.suffix == ".avi" else 100)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        context = stream.codec_context
        context.gop_size, context.max_b_frames = gop, b_frames
        context.options = {"sc_threshold": "0"} if codec == "libx264" else {}  # key frames where they are asked for
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        if turn is not None:
            stream.set_display_rotation(turn)
        if sound:
            hear(container)
        for i, time in enumerate(times):
            array = picture(i, count)
            frame = av.VideoFrame.from_ndarray(array, format="rgba" if array.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = (i, Fraction(1, 10)) if file.suffix == ".avi" else (time, Fraction(1, 100))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def hear(container):
    """Add a second of silence to a container."""
    stream = container.add_stream("aac", rate=8000, layout="mono")
    for i in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, 1000 * i, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def read_all(file):
    """Every frame of a video as an array, and its time in seconds; nothing clever."""
    with av.open(str(file)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def greys(pictures, count):
    """Numbers of the frames that pictures are."""
    table = np.array([grey(i, count) for i in range(count)])
    corner = [np.asarray(picture)[-8:, -8:].mean() for picture in pictures]
    return [int(np.abs(table - value).argmin()) for value in corner]


def cut(file, share):
    """Keep the first part of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


class Alive:
    """Counts things that are alive at the same time."""

    def __init__(self):
        self.now = self.most = 0

    def add(self, thing):
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(thing, self.remove)
        return thing

    def remove(self):
        self.now -= 1
