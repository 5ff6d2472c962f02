"""Exports in fresh environments with the foreign tool alone: the program of their README.md has babelclip's vectors.

Run with BABELCLIP_FOREIGN=on (tests/foreign.py); `make test` skips them otherwise.
"""

import sys

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

import babelclip
from babelclip.encoders import load_encoder
from babelclip.export import export_model
from exports import TEXTS, assert_close, example, learn_packs, write_photo
from foreign import python_of, run
from models_page import make

SAVE = """
import importlib.util, sys
assert importlib.util.find_spec("babelclip") is None
import numpy
numpy.savez("vectors.npz", texts=numpy.asarray(text_vectors), images=numpy.asarray(image_vectors))
"""
TARGETS = {
    "transformers": 1e-6,
    "sentence-transformers": 1e-6,
    "open_clip": 1e-6,
    "onnx": 1e-5,
}  # how near pictures come

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an environment has no folder bin there")


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll", "ru": "lora"})


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_is_used_as_its_readme_says_without_babelclip(target, polyglot, pictoclip, tmp_path):
    python_of(target)  # skips before anything is done
    photo = write_photo(tmp_path)
    for model, tags in ((polyglot, ["en", "de", "ru"]), (learn_nothing(pictoclip), ["en"])):
        name = model.encoder.fingerprint[:8]
        for tag in tags:
            out = tmp_path / f"{name}-{tag}"
            export_model(model, out, to=target, languages=[tag])
            run(target, example(out / "README.md", TEXTS, photo) + SAVE, out)
            found = np.load(out / "vectors.npz")
            assert_close(found["texts"], model.encode_texts(TEXTS, language=tag), 1e-5)
            assert_close(found["images"], model.encode_images([photo]), TARGETS[target])


@pytest.mark.parametrize(("name", "targets"), [
    ("siglip", ("transformers", "onnx")), ("siglip2", ("transformers",)), ("chinese_clip", ("transformers", "onnx")),
    ("altclip", ("transformers", "onnx")), ("metaclip_2", ("transformers", "onnx", "open_clip")),
    ("two towers, BERT", ("transformers",)), ("clip, WordPiece", ("open_clip", "sentence-transformers")),
    ("clip, Unigram", ("open_clip", "sentence-transformers")), ("open_clip", ("open_clip", "sentence-transformers")),
    ("clip, Gemma's words", ("open_clip", "sentence-transformers")),
])  # fmt: skip
def test_other_families_are_used_as_their_readme_says_without_babelclip(name, targets, corpora, tmp_path):
    photo = write_photo(tmp_path)
    make(name, tmp_path / "model")
    encoder = load_encoder(tmp_path / "model", device="cpu")
    examples = {"de": babelclip.Student(encoder).examples("de", corpora["de"])}
    polyglot = learn_packs(encoder, examples, {"de": "lora"})
    for target in targets:
        python_of(target)  # skips before anything is done
        for tag in ("en", "de"):
            out = tmp_path / f"{target}-{tag}"
            places = export_model(polyglot, out, to=target, languages=[tag])
            folder = places[tag] if (places[tag] / "README.md").is_file() else out
            run(target, example(folder / "README.md", TEXTS, photo) + SAVE, folder)
            found = np.load(folder / "vectors.npz")
            assert_close(found["texts"], polyglot.encode_texts(TEXTS, language=tag), 1e-5)
            assert_close(found["images"], polyglot.encode_images([photo]), TARGETS[target])


def test_open_clip_has_english_of_the_base_model(polyglot, pictoclip, tmp_path):
    """Within 1e-6 of the texts of the untouched model, as transformers has them."""
    python_of("open_clip")
    photo, texts = write_photo(tmp_path), ["a red square", "two dogs run through the snow", "2024", ""]
    for number, model in enumerate((polyglot, learn_nothing(pictoclip))):
        out = tmp_path / f"{number}"
        export_model(model, out, to="open_clip", languages=["en"])
        run("open_clip", example(out / "en" / "README.md", texts, photo) + SAVE, out / "en")
        assert_close(np.load(out / "en" / "vectors.npz")["texts"], texts_of(model.encoder.source, texts), 1e-6)


def texts_of(folder, texts):
    """Vectors of texts as transformers has them."""
    model, tokenizer = CLIPModel.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output


def learn_nothing(student):
    """The built-in model as a polyglot."""
    return learn_packs(student.encoder, {}, {})
