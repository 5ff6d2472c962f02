"""The whole measuring road on real photos and captions, against figures that somebody else computed."""

import json

import pytest

import babelclip
from conftest import SHARED

CAPTIONS, PHOTOS = SHARED / "data" / "flickr8k-multi" / "human", SHARED / "data" / "flickr8k-images" / "images"
MODEL = SHARED / "models" / "flickr-clip"
missing = [str(folder) for folder in (CAPTIONS, PHOTOS, MODEL) if not folder.is_dir()]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")


def test_english_scores_on_flickr8k_equal_the_published_ones(tmp_path):
    """1,000 test photos x 5 captions; ``scores.json`` of the model has one decimal."""
    entries = json.loads((CAPTIONS / "en.json").read_text(encoding="utf-8"))["images"]
    rows = [(e["filename"], s["raw"]) for e in entries if e["split"] == "test" for s in e["sentences"]]
    file = tmp_path / "test.jsonl"
    file.write_text("\n".join(json.dumps({"image": name, "en": text}) for name, text in rows), encoding="utf-8")
    model = babelclip.load(MODEL, device="cpu")
    found = model.evaluate(model.teacher.prepare(babelclip.read_captions(file, "en", images=PHOTOS)))
    published = json.loads((MODEL / "scores.json").read_text())["test: text tower x ViT in the CLIPModel"]
    for name, key in (("img", "t2i"), ("txt", "i2t")):
        for k, expected in zip((1, 5, 10), published[key], strict=True):
            assert found[f"{name}_r{k}"] == pytest.approx(expected, abs=0.051)
