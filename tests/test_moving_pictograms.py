"""The recipe that sets pictograms in motion."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from babelclip.benchmarks import DATASETS, check_dataset, openmoji
from babelclip.encoders import sample_frames

pytest.importorskip("av", reason="videos need the extra [video]")
pytest.importorskip("resvg_py", reason="the drawings need the extra [demo]")


@pytest.fixture(scope="module")
def recipe():
    file = Path(__file__).parents[1] / "recipes" / "moving_pictograms.py"
    found = importlib.util.spec_from_file_location("moving_pictograms", file)
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_folder_of_videos_with_the_split_of_the_demo(recipe, tmp_path):
    assert recipe.make(tmp_path, videos=2, concepts=3) == {"train": 6, "val": 6, "test": 6}
    data = DATASETS["folder"]
    found = check_dataset(data, data.place(tmp_path))
    assert [(one.language, one.split, one.captions, one.problem) for one in found] == [
        (tag, split, 6, "") for tag in ("de", "en", "es", "fr") for split in ("train", "val", "test")
    ]
    split_of = {concept.id: concept.split for concept in openmoji.load_concepts()[0]}
    for split in ("train", "val", "test"):
        for caption in data.load(data.place(tmp_path), "fr", split).captions:
            concept, _, motion = caption.image.stem.rpartition("-")
            assert split_of[concept] == split
            assert caption.text.endswith(recipe.MOTIONS[motion].words["fr"])
            assert caption.english.endswith(recipe.MOTIONS[motion].words["en"])
    taken = sample_frames(caption.image)
    assert (len(taken.pictures), taken.pictures[0].size) == (12, (96, 96))


def test_the_mean_of_the_chosen_poses_does_not_know_the_direction(recipe):
    chosen = [number / (recipe.FRAMES - 1) for number in range(1, recipe.FRAMES, 2)]
    assert len(chosen) == 12
    for one, other in (("left", "right"), ("up", "down"), ("growing", "shrinking"), ("appearing", "fading")):
        a, b = (
            sorted((p.size, p.x, p.y, p.opacity) for p in map(recipe.MOTIONS[name].pose, chosen))
            for name in (one, other)
        )
        np.testing.assert_allclose(a, b, atol=1e-12)
        assert recipe.MOTIONS[one].pose(0) != recipe.MOTIONS[other].pose(0)


def test_every_motion_has_its_own_words_in_every_language(recipe):
    for language in recipe.LANGUAGES:
        assert len({motion.words[language] for motion in recipe.MOTIONS.values()}) == len(recipe.MOTIONS) == 11
