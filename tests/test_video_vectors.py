"""What becomes of videos: one vector each, in the cache, in training, on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from typer.testing import CliRunner

import babelclip
from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.plan import make_plan
from babelclip.benchmarks.prepare import Where, prepare
from babelclip.cli.main import app
from babelclip.data import Cache, Teacher
from babelclip.data.features import content_key
from babelclip.encoders import load_encoder, looking, sample_frames
from babelclip.errors import SettingError

pytest.importorskip("av", reason="videos need the extra [video]")

from films import Alive, cut, write_film


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Videos of 24, 5 and 1 frames."""
    folder = tmp_path_factory.mktemp("films")
    return [write_film(folder / f"{count}.mp4", count) for count in (24, 5, 1)]


def by_hand(encoder, film, folder):
    """The mean of the vectors of a video's frames, each written as a picture and normalised."""
    files = []
    for i, picture in enumerate(sample_frames(film, encoder.frames).pictures):
        files.append(folder / f"{film.stem}-{i}.png")
        picture.save(files[-1])
    return normalize(encoder.encode_images(files), dim=1).mean(0)


def test_a_video_is_the_mean_of_its_frames(films, tmp_path, pictoclip):
    expected = torch.stack([by_hand(pictoclip.encoder, film, tmp_path) for film in films])
    for size in (64, 7, 1):
        found = pictoclip.encoder.encode_images(films, batch_size=size)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(pictoclip.encode_images(films), pictoclip.encoder.encode_images(films))
    assert (found[0] - found[2]).abs().max() > 1e-2


def test_pictures_beside_videos_stay_what_they_are(films, captions, tiny):
    pictures = sorted(captions.glob("[0-9]-[0-9].png"))[:9]
    alone = tiny.encode_images(pictures)
    mixed = [pictures[0], films[0], *pictures[1:5], films[2], films[1], *pictures[5:]]
    seen = []
    found = tiny.encode_images(mixed, batch_size=5, progress=lambda *both: seen.append(both))
    torch.testing.assert_close(found[[0, 2, 3, 4, 5, 8, 9, 10, 11]], alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[[1, 7, 6]], tiny.encode_images(films), rtol=0, atol=1e-6)
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (12, 12)


def test_pictures_alone_are_encoded_as_before(captions, tiny):
    """Bit for bit what the tower says of each batch."""
    pictures = sorted(captions.glob("[0-9]-[0-9].png"))
    expected = []
    for start in range(0, len(pictures), 10):
        opened = [Image.open(file).convert("RGB") for file in pictures[start : start + 10]]
        with torch.inference_mode():
            pixels = tiny.processor(images=opened, return_tensors="pt")["pixel_values"]
            expected.append(tiny._model.get_image_features(pixel_values=pixels).pooler_output)
    assert torch.equal(tiny.encode_images(pictures, batch_size=10), torch.cat(expected))


def test_no_more_is_held_than_a_batch_and_a_video(films, tiny, monkeypatch):
    alive, plain = Alive(), looking.sample_frames

    def counted(*all):
        taken = plain(*all)
        for picture in taken.pictures:
            alive.add(picture)
        return taken

    monkeypatch.setattr(looking, "sample_frames", counted)
    tiny.encode_images(films[:1] * 10, batch_size=16)
    assert 16 < alive.most <= 16 + 12, "a batch and a video"
    assert alive.now == 0


def test_the_cache_knows_videos_by_content_and_number_of_frames(films, tmp_path, tiny_folder, monkeypatch):
    copied = shutil.copy(films[0], tmp_path / "elsewhere.mp4")
    vectors = {}
    for frames in (12, 3):
        encoder = load_encoder(tiny_folder, device="cpu", frames=frames)
        vectors[frames] = Teacher(encoder, Cache(tmp_path / "cache")).encode_images(films)[:]
    assert not torch.equal(vectors[12][0], vectors[3][0])
    encoder = load_encoder(tiny_folder, device="cpu")
    monkeypatch.setattr(type(encoder), "encode_images", lambda *_, **__: pytest.fail("encoded again"))
    teacher = Teacher(encoder, Cache(tmp_path / "cache"))
    assert torch.equal(teacher.encode_images([copied, films[1]])[:], vectors[12][:2])


def test_large_files_are_hashed_in_parts_and_pictures_keep_their_keys(films, captions, tiny, monkeypatch):
    picture = captions / "0-0.png"
    expected = content_key(picture.read_bytes())
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("read whole"))
    teacher = Teacher(tiny)
    assert teacher._image_key(picture) == expected
    assert teacher._image_key(films[0]) != teacher._image_key(films[1])


def test_learning_from_a_folder_of_videos(tmp_path, tiny_folder, quick):
    rows = ["image\ten\tde"]
    for i in range(8):
        colour = np.array([i & 1, i >> 1 & 1, i >> 2 & 1], np.uint8) * 200
        write_film(
            tmp_path / f"films/{i}.mp4", 6, picture=lambda *_, colour=colour: np.full((48, 64, 3), colour, np.uint8)
        )
        rows.append(f"films/{i}.mp4\tfilm number {i} is here\tfilm nummer {i} ist hier")
    (tmp_path / "de.train.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    student = babelclip.load(tiny_folder, device="cpu", frames=4)
    assert student.encoder.frames == 4
    report = student.learn("de", tmp_path / "de.train.tsv", settings=quick)
    assert report.steps > 0
    scores = student.evaluate(student.examples("de", tmp_path / "de.train.tsv"))
    assert 0 <= scores["img_r1"] <= 100
    assert student.languages == ("de",) or list(student.languages) == ["de"]


def test_a_benchmark_plan_says_how_many_frames(films, tmp_path, tiny_folder):
    rows = ["image\ten\tde", *(f"{film}\tfilm {i}\tfilm {i}" for i, film in enumerate(films))]
    for split in ("train", "test"):
        (tmp_path / f"de.{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    content = {"base": str(tiny_folder), "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}]}
    vectors = {}
    for frames in (12, 2):
        plan = make_plan({**content, "frames": frames})
        ready = prepare(plan, Where(tmp_path, folders={"folder": tmp_path}, device="cpu"), DATASETS)
        vectors[frames] = ready.stages["de"].train.images[:]
        assert torch.equal(vectors[frames], load_encoder(tiny_folder, device="cpu", frames=frames).encode_images(films))
    assert not torch.equal(vectors[12], vectors[2])
    with pytest.raises(SettingError, match="frames: Input should be greater than or equal to 1"):
        make_plan({**content, "frames": 0})


def test_what_the_command_line_says_of_videos(tmp_path, tiny_folder):
    rows = ["image\ten\tde"]
    for i in range(3):
        film = write_film(tmp_path / f"{i}.mkv", 24, codec="libx264", gop=4)
        rows.append(f"{i}.mkv\tfilm {i}\tfilm {i}")
    cut(film, 0.5)
    data = tmp_path / "de.tsv"
    data.write_text("\n".join(rows) + "\n", encoding="utf-8")
    common = ["--language", "de", "--data", str(data), "--device", "cpu", "--frames", "3"]
    said = CliRunner().invoke(app, ["evaluate", "--model", str(tiny_folder), *common], catch_exceptions=False)
    assert said.exit_code == 0
    assert "gallery of 3 pictures" in said.stdout
    assert f"note: cut-off or damaged videos: 1, first {film}; the frames that" in said.stderr
    learn = [
        "learn",
        "--base",
        str(tiny_folder),
        "--out",
        str(tmp_path / "out"),
        "--epochs",
        "1",
        "--vocab-size",
        "400",
    ]
    said = CliRunner().invoke(app, [*learn, *common], catch_exceptions=False)
    assert said.exit_code == 0
    assert "--frames 3" in said.stdout.partition("Next:")[2]
    assert "note: cut-off or damaged videos: 1" in said.stderr
    assert CliRunner().invoke(app, ["evaluate", *common[:-1], "0"]).exit_code == 2
