"""Frames of videos: a few pictures, spread evenly over the time that a video lasts.

A video is cut into ``count`` parts of equal length; of each part the frame that is shown at its middle is taken. A
frame that is shown for long stands for several parts, so frames weigh as much as the time that they are seen. A video
of fewer frames gives each of them once. Pixels are taken as square.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from babelclip.errors import DataError, MissingExtraError, SettingError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

READING_VIDEOS = "Reading videos"
SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
FORMATS = "asf,avi,flv,h264,hevc,m4v,matroska,mov,mp4,mpeg,mpegts,mpegvideo,ogg,webm"  # none that names other files
FRAMES = 12
MISSING = 0.05  # so much of what a file promises may be absent before it counts as cut off
_TURNS = {  # signs of a display matrix (a, b, c, d) -> how to turn and mirror the picture
    (0, 1, -1, 0): Image.Transpose.ROTATE_270, (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90, (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM, (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """What was taken from a video.

    Attributes:
        pictures: its frames in RGB, in their order, at most as many as asked for.
        incomplete: not all of the video could be read: it is cut off, or parts of it are damaged.
        moments: when each is shown, seconds from the beginning; at 25 frames a second where the file does not say.
        seconds: how long the video is.
    """

    pictures: list[Image.Image]
    incomplete: bool
    moments: list[float]
    seconds: float


def is_video(file: Path) -> bool:
    """Whether a file is a video, by its ending, in small or capital letters."""
    return file.suffix.lower() in SUFFIXES


def check_frames(count: int) -> int:
    """Return a number of frames.

    Raises:
        SettingError: it is below 1.
    """
    if count < 1:
        raise SettingError(f"frames is {count}, expected at least 1", fix="Use 12, as the papers do.")
    return count


def sample_frames(file: Path, count: int = FRAMES) -> Frames:
    """Return ``count`` frames of a video in RGB: upright as its display matrix says, transparency on white.

    The file is read twice, first for the times of its frames, then for the frames; nothing else than the chosen frames
    is held, however long it is. Where it has many key frames and times that can be relied on, only parts of it are
    decoded.

    Raises:
        DataError: the file is missing or empty, holds no video, or nothing of it can be decoded; names it.
        MissingExtraError: the package ``av`` is not installed.
        SettingError: ``count`` is below 1.
    """
    check_frames(count)
    with _open(file) as video:
        times = video.read_times()
        incomplete = video.damaged
    if times is None:
        with _open(file) as video:
            times = video.count_frames()
            incomplete |= video.damaged
    incomplete |= times.missing
    few = times.frames < count
    parts = times.frames if few else count
    targets = [times.start + (2 * part + 1) * (times.end - times.start) // (2 * parts) for part in range(parts)]
    pictures: list[Image.Image] | None = None
    if not few and times.keys >= 2 * count:
        with _open(file) as video:
            pictures = video.seek(targets)
    if pictures is None:
        with _open(file) as video:
            pictures = video.all(parts) if few else video.go_through(targets, timed=times.timed)
            incomplete |= video.damaged
    if not pictures:
        raise DataError(
            "nothing of the video can be decoded", file=file, fix="Restore it from its source, or leave it out."
        )
    moments = [(target - times.start) * times.tick for target in targets[: len(pictures)]]
    return Frames(pictures, incomplete, moments, (times.end - times.start) * times.tick)


@dataclass(frozen=True)
class _Times:
    """When the frames of a video are shown, in ticks of ``tick`` seconds; or, if not ``timed``, by their number."""

    start: int
    end: int
    frames: int
    tick: float
    keys: int = 0
    timed: bool = True
    missing: bool = False


class _Video:
    """An open video; ``damaged`` once something of it could not be read."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self.damaged = False

    def read_times(self) -> _Times | None:
        """Read all times without decoding; None where they cannot be relied on: missing, or repeated."""
        start = last = before = length = frames = keys = 0
        for packet in self._packets():
            self.damaged |= packet.is_corrupt
            if packet.is_discard:
                continue
            if packet.pts is None or (frames and packet.pts == before):
                return None
            before = packet.pts
            start = min(start, before) if frames else before
            if not frames or before > last:
                last, length = before, packet.duration or 0
            frames, keys = frames + 1, keys + packet.is_keyframe
        if not frames:
            return None
        end = last + (length or max(1, (last - start) // max(1, frames - 1)))
        reached = max(end, end - start)  # some count from 0, some from the first picture
        tick = float(self._stream.time_base or 0)
        return _Times(start, end, frames, tick, keys, missing=reached < (1 - MISSING) * self._declared())

    def _declared(self) -> float:
        """How long the pictures last by the file's own account, in ticks; 0 where it does not say."""
        if self._stream.duration is not None:
            return self._stream.duration
        written = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))  # Matroska's
        if written is None or not self._stream.time_base:
            return 0
        hours, minutes, seconds = map(float, written.groups())
        return (3600 * hours + 60 * minutes + seconds) / float(self._stream.time_base)

    def count_frames(self) -> _Times:
        """Decode everything and count."""
        frames = sum(1 for _ in self._frames())
        tick = 1 / float(self._stream.average_rate or 25)
        return _Times(0, frames, frames, tick, timed=False, missing=frames < (1 - MISSING) * self._stream.frames)

    def all(self, most: int) -> list[Image.Image]:
        """Return the first frames."""
        return [_to_picture(frame) for frame, _ in zip(self._frames(), range(most), strict=False)]

    def go_through(self, targets: list[int], *, timed: bool) -> list[Image.Image]:
        """Decode from the start; of each target time the frame that is shown then, or the first one after it."""
        pictures: list[Image.Image] = []
        shown: VideoFrame | None = None
        now = 0
        for number, frame in enumerate(self._frames()):
            now = number if not timed else frame.pts if frame.pts is not None else now
            if shown is not None and now > targets[len(pictures)]:
                picture = _to_picture(shown)
                while len(pictures) < len(targets) and now > targets[len(pictures)]:
                    pictures.append(picture)
                if len(pictures) == len(targets):
                    return pictures
            shown = frame
        if shown is not None:
            pictures += [_to_picture(shown)] * (len(targets) - len(pictures))
        return pictures

    def seek(self, targets: list[int]) -> list[Image.Image] | None:
        """The same by jumping to the key frame before each target; None where the file does not allow it."""
        import av

        pictures = []
        for target in targets:
            try:
                self._container.seek(target, stream=self._stream)
            except av.FFmpegError:
                return None
            shown, begun = None, False
            for frame in self._frames():
                if frame.pts is None or self.damaged:
                    return None
                if frame.pts > target:
                    break
                begun |= frame.key_frame
                shown = frame
            if shown is None or not begun or self.damaged:
                return None
            pictures.append(_to_picture(shown))
        return pictures

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Parts of the stream, without the empty one at its end."""
        import av

        try:
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)
        except av.FFmpegError:
            self.damaged = True

    def _frames(self) -> Iterator[VideoFrame]:
        """Frames in the order in which they are shown; what cannot be decoded is passed over."""
        for packet in self._packets():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        import av

        try:
            return self._stream.decode(packet)
        except av.FFmpegError as error:
            self.damaged |= not isinstance(error, av.error.EOFError)
            return []


@contextmanager
def _open(file: Path) -> Iterator[_Video]:
    """Open a video for reading; nothing but the file itself is read, whatever it refers to."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", READING_VIDEOS) from error
    if not file.is_file():
        raise DataError("there is no such video", file=file, fix="Correct the path.")
    if not file.stat().st_size:
        raise DataError("the video is empty", file=file, fix="Restore it from its source, or leave it out.")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        container = av.open(f"file:{file}", metadata_errors="replace", options=options)
    except av.FFmpegError as error:
        raise DataError(
            f"the video is damaged, or of a kind that cannot be read ({error.strerror})",
            file=file, fix="Restore it from its source, convert it to MP4, or leave it out.",
        ) from error  # fmt: skip
    with container:
        covers = av.stream.Disposition.attached_pic
        stream = next((one for one in container.streams.video if not one.disposition & covers), None)
        if stream is None:
            raise DataError(
                "the file holds no moving pictures (sound only?)", file=file, fix="Give a video, or leave it out."
            )
        yield _Video(container, stream)


def _to_picture(frame: VideoFrame) -> Image.Image:
    """One frame in RGB, upright."""
    if any(component.is_alpha for component in frame.format.components):
        picture = Image.fromarray(frame.to_ndarray(format="rgba"))
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    else:
        picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    beside: Any = frame.side_data
    if "DISPLAYMATRIX" not in beside:
        return picture
    a, b, _, c, d = struct.unpack("=5i", bytes(beside["DISPLAYMATRIX"])[:20])
    turn = _TURNS.get(((a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0)))
    return picture if turn is None else picture.transpose(turn)
