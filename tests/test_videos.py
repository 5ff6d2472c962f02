"""Videos wherever a picture may stand: which frames are taken, what is damaged, and what becomes of them."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from babelclip.encoders import is_video, load_encoder, sample_frames, videos
from babelclip.errors import DataError, MissingExtraError, SettingError

av = pytest.importorskip("av", reason="videos need the extra [video]")

from films import Alive, cut, greys, hear, read_all, write_film  # noqa: E402

KINDS = {
    "plain.mp4": {}, "b.mp4": {"codec": "libx264", "b_frames": 3}, "one-key.mp4": {"codec": "libx264", "gop": 999},
    "keys.mp4": {"gop": 2}, "b-keys.mp4": {"codec": "libx264", "gop": 4, "b_frames": 2},
    "b.mkv": {"codec": "libx264", "b_frames": 3, "gop": 4}, "plain.avi": {}, "b.avi": {"b_frames": 2},
    "plain.webm": {"codec": "libvpx-vp9"}, "LOUD.MOV": {"sound": True}, "plain.flv": {"codec": "flv1"},
    "plain.wmv": {"codec": "wmv2"},
}  # fmt: skip
VARYING = [0, 5, 10, 15, 20, 25, 30, 35, 40, 200, 210, 220, 230, 240, 250, 260, 270, 280, 290, 500, 505, 510, 800, 805]


def slowly(file, count):
    """The numbers of the frames at the middle of each part, by decoding everything; times rounded to milliseconds."""
    times = [time for time, _ in read_all(file)]
    if len(times) < count:
        return list(range(len(times)))
    end = times[-1] + last_duration(file)
    middles = [times[0] + (part + 0.5) * (end - times[0]) / count for part in range(count)]
    return [max(i for i, time in enumerate(times) if i == 0 or time <= middle + 1e-9) for middle in middles]


def last_duration(file):
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        last = max(packets, key=lambda packet: packet.pts)
        mean = (last.pts - min(packet.pts for packet in packets)) // max(1, len(packets) - 1)
        return float((last.duration or mean) * stream.time_base)


@pytest.mark.parametrize("count", [1, 5, 12, 24, 99])
@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_a_slow_obvious_version(name, count, tmp_path):
    film = write_film(tmp_path / name, 24, **KINDS[name])
    taken = sample_frames(film, count)
    assert greys(taken.pictures, 24) == slowly(film, count)
    assert not taken.incomplete
    whole = [array for _, array in read_all(film)]
    for picture, number in zip(taken.pictures, slowly(film, count), strict=True):
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), whole[number]), "the very same pixels, sought or not"


@pytest.mark.parametrize("name", ["plain.mp4", "keys.mp4", "b.mkv"])
def test_time_counts_and_not_the_number_of_frames(name, tmp_path):
    film = write_film(tmp_path / name, len(VARYING), times=VARYING, **KINDS[name])
    assert not sample_frames(film, 8).incomplete
    taken = greys(sample_frames(film, 8).pictures, len(VARYING))
    assert taken == slowly(film, 8)
    assert taken != [1, 4, 7, 10, 13, 16, 19, 22], "by number"
    assert taken.count(18) + taken.count(21) > 2, "frames that stand still for seconds"


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_videos_may_begin_late(name, tmp_path):
    film = write_film(tmp_path / name, 24, times=[500 + 10 * i for i in range(24)])
    taken = sample_frames(film, 5)
    assert greys(taken.pictures, 24) == [2, 6, 11, 16, 20]
    assert not taken.incomplete


def test_without_times_the_number_of_a_frame_is_its_time(tmp_path):
    film = write_film(tmp_path / "stream.mpg", 24, codec="libx264", b_frames=2, kind="h264")
    with av.open(str(film)) as container:
        assert all(packet.pts is None for packet in container.demux(video=0)), "nothing but pictures"
    taken = sample_frames(film, 6)
    assert greys(taken.pictures, 24) == [2, 6, 10, 14, 18, 22]
    assert not taken.incomplete
    assert greys(sample_frames(film, 99).pictures, 24) == list(range(24))


def test_many_key_frames_are_sought_and_few_are_not(tmp_path, monkeypatch):
    decoded = []
    plain = videos._Video._decode
    monkeypatch.setattr(videos._Video, "_decode", lambda *all: decoded.append(1) or plain(*all))
    for gop, most in ((5, 60), (999, 302)):
        film = write_film(tmp_path / f"{gop}.mp4", 300, codec="libx264", gop=gop)
        decoded.clear()
        taken = sample_frames(film, 4)
        assert [abs(a - b) <= 1 for a, b in zip(greys(taken.pictures, 300), slowly(film, 4), strict=True)] == [True] * 4
        assert len(decoded) <= most
    assert len(decoded) > 200


@pytest.mark.parametrize("wrong", ["late", "between"])
def test_a_seek_that_lands_elsewhere_is_not_believed(wrong, tmp_path, monkeypatch):
    """Behind its target, or on a frame that builds upon others."""
    film = write_film(tmp_path / "keys.mp4", 100, gop=8)
    expected = [np.asarray(one) for one in sample_frames(film, 5).pictures]
    tried = []

    class Container:
        def __init__(self, container):
            self.demux, self._container = container.demux, container

        def seek(self, target, stream):
            tried.append(target)
            if wrong == "late":
                self._container.seek(target + 9000, stream=stream)
            else:
                self._container.seek(target, stream=stream, any_frame=True)

    plain = videos._Video.__init__
    monkeypatch.setattr(
        videos._Video, "__init__", lambda self, container, stream: plain(self, Container(container), stream)
    )
    for one, two in zip(expected, sample_frames(film, 5).pictures, strict=True):
        assert np.array_equal(one, np.asarray(two))
    assert tried


def test_one_frame_few_frames_and_bad_counts(tmp_path):
    one, three = write_film(tmp_path / "one.mp4", 1), write_film(tmp_path / "three.mp4", 3)
    assert greys(sample_frames(one).pictures, 1) == [0]
    assert greys(sample_frames(three).pictures, 3) == [0, 1, 2]
    for wrong in (0, -3):
        with pytest.raises(SettingError, match=f"frames is {wrong}, expected at least 1"):
            sample_frames(one, wrong)
        with pytest.raises(SettingError, match=f"frames is {wrong}"):
            load_encoder(frames=wrong, device="cpu")


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_videos_stand_upright(turn, tmp_path):
    plain, turned = (
        np.asarray(sample_frames(write_film(tmp_path / f"{name}.mp4", 2, turn=degrees), 1).pictures[0])
        for name, degrees in (("plain", None), ("turned", turn))
    )
    assert np.array_equal(turned, np.rot90(plain, turn // 90)), "counter-clockwise, as players do"


def test_mirrored_videos_are_mirrored_back():
    """All eight ways to turn and mirror, against the definition: (p, q) -> (a p + c q, b p + d q), q downwards."""
    picture = Image.fromarray(np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3))
    for (a, b, c, d), turn in videos._TURNS.items():
        found = np.asarray(picture.transpose(turn))
        places = [(a * p + c * q, b * p + d * q, p, q) for p in range(4) for q in range(3)]
        left, top = min(x for x, *_ in places), min(y for _, y, *_ in places)
        for x, y, p, q in places:
            assert np.array_equal(found[y - top, x - left], np.asarray(picture)[q, p])


def test_transparency_becomes_white_and_odd_formats_rgb(tmp_path):
    clear = write_film(
        tmp_path / "clear.mov", 2, codec="qtrle", pixels="argb",
        picture=lambda *_: np.dstack([np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 0, np.uint8)]),
    )  # fmt: skip
    assert np.asarray(sample_frames(clear, 1).pictures[0]).min() == 255
    for codec, pixels in (("ffv1", "gray"), ("ffv1", "yuv444p10le"), ("libx264", "yuv444p")):
        film = write_film(tmp_path / f"{pixels}.mkv", 4, codec=codec, pixels=pixels)
        assert greys(sample_frames(film).pictures, 4) == [0, 1, 2, 3]
        assert sample_frames(film).pictures[0].mode == "RGB"


def only_sound(file):
    with av.open(str(file), "w") as container:
        hear(container)


BAD = {
    "empty.mp4": (lambda file: file.write_bytes(b""), "the video is empty"),
    "text.mp4": (lambda file: file.write_text("no video at all" * 99), r"damaged, or of a kind .*Invalid data"),
    "list.mp4": (lambda file: file.write_text("#EXTM3U\nsecret.ts\n"), "damaged, or of a kind"),
    "others.mp4": (lambda file: refer(file, write_film(file.with_name("a.mp4"))), "damaged, or of a kind"),
    "sound.mp4": (only_sound, "holds no moving pictures"),
    "missing.mp4": (lambda file: None, "there is no such video"),
    "folder.mp4": (lambda file: file.mkdir(), "there is no such video"),
    "headless.mp4": (lambda file: cut(write_film(file), 0.5), "damaged, or of a kind"),
    "hollow.mkv": (lambda file: hollow(write_film(file, codec="libx264")), "nothing of the video can be decoded"),
}


def refer(file, other):
    """A list of files that are to be played one after another."""
    file.write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    with av.open(str(file)) as container:
        assert container.format.name == "concat", "it would be played"


def hollow(file):
    """Leave the container as it is and fill all pictures with zeros."""
    with av.open(str(file)) as container:
        parts = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = file.read_bytes()
    for part in parts:
        content = content.replace(part, bytes(len(part)))
    file.write_bytes(content)


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_a_way_out(name, tmp_path, tiny):
    file = tmp_path / name
    make, message = BAD[name]
    make(file)
    for read in (sample_frames, lambda file: tiny.encode_images([file])):
        with pytest.raises(DataError, match=message) as caught:
            read(file)
        assert str(file) in str(caught.value)
        assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {"options": {"movflags": "faststart"}}), ("a.mkv", {"codec": "libx264"}), ("a.avi", {})],
)
def test_what_is_left_of_a_video_is_used_and_said(name, options, tmp_path, tiny):
    film = write_film(tmp_path / name, 48, gop=4, **options)
    assert not sample_frames(film).incomplete
    cut(film, 0.6)
    taken = sample_frames(film)
    assert taken.incomplete
    assert len(taken.pictures) == 12
    found = greys(taken.pictures, 48)
    assert found == sorted(found)
    assert 12 < found[-1] < 40, "spread over what is there"
    encoder = load_encoder(tiny.name, device="cpu")
    encoder.encode_images([film, film])
    assert encoder.incomplete == [film]


@pytest.mark.parametrize("name", KINDS)
def test_whatever_is_done_to_a_video_there_are_frames_or_its_name(name, tmp_path):
    whole = write_film(tmp_path / name, 16, **KINDS[name]).read_bytes()
    chance = random.Random(name)
    file = tmp_path / f"damaged{Path(name).suffix}"
    for _ in range(25):
        content = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(chance.choice((0, 1, 100)) if content else 0):
            content[chance.randrange(len(content))] = chance.randrange(256)
        file.write_bytes(content)
        try:
            taken = sample_frames(file, 5)
        except DataError as error:
            assert str(file) in str(error)  # noqa: PT017
        else:
            assert 1 <= len(taken.pictures) <= 5
            assert all(picture.mode == "RGB" for picture in taken.pictures)


def test_damage_inside_is_passed_over_and_said(tmp_path):
    film = write_film(tmp_path / "a.mp4", 48, codec="libx264", gop=4)
    with av.open(str(film)) as container:
        parts = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = film.read_bytes()
    for part in parts[20:28]:
        content = content.replace(part, b"\xff" * len(part))
    film.write_bytes(content)
    taken = sample_frames(film)
    assert taken.incomplete
    assert len(taken.pictures) == 12


def test_names_are_names_whatever_they_look_like(tmp_path, monkeypatch):
    for name in ("concat:a.mp4", "data:,b.mp4", "-i %d [x] \udcff ü.mp4", "c" * 200 + ".mp4"):
        film = write_film(tmp_path / "plain.mp4", 3).rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert len(sample_frames(Path(film.name)).pictures) == 3


def test_covers_are_no_videos_and_odd_titles_no_reason(tmp_path):
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        hear(container)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode())
    with av.open(str(song)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(DataError, match="holds no moving pictures"):
        sample_frames(song)
    titled = write_film(tmp_path / "titled.mkv", 3, title="caf\u00e9")
    content = titled.read_bytes()
    assert b"caf\xc3\xa9" in content
    titled.write_bytes(content.replace(b"caf\xc3\xa9", b"caf\xe9\xe9"))
    assert len(sample_frames(titled).pictures) == 3


def test_endings_decide():
    assert all(is_video(Path(name)) for name in ("a.mp4", "A.MOV", "b.c.webm"))
    assert not any(is_video(Path(name)) for name in ("mp4", "a.gif", "a.mp4.png", "a"))


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'av'.*pip install 'babelclip\[video\]'"):
        sample_frames(tmp_path / "a.mp4")


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """Pictures that are alive at the same time, and decoded frames, each counted from when our code gets it."""
    pictures, frames = Alive(), Alive()
    plain, decode = videos._to_picture, videos._Video._decode

    class Frame:
        def __init__(self, frame):
            self.frame, self.pts, self.key_frame = frame, frame.pts, frame.key_frame

    monkeypatch.setattr(videos, "_to_picture", lambda frame: pictures.add(plain(frame.frame)))
    monkeypatch.setattr(
        videos._Video, "_decode", lambda self, packet: [frames.add(Frame(one)) for one in decode(self, packet)]
    )
    for name in ("a.mp4", "a.avi"):
        for count, gop in ((30, 2), (30, 999), (600, 2), (600, 999)):
            film = write_film(tmp_path / f"{count}-{gop}-{name}", count, gop=gop)
            pictures.most = frames.most = 0
            taken = sample_frames(film, 6)
            assert len(taken.pictures) == pictures.most == 6
            assert frames.most <= 4, "the one that is shown, the next one, and what else a packet held"
            del taken
            assert (pictures.now, frames.now) == (0, 0)
