"""Every family leaves to other tools, as the program of its README.md loads it; what a tool cannot run is refused."""

import pytest
import torch
import transformers

import babelclip
from babelclip.encoders import load_encoder
from babelclip.errors import ModelError
from babelclip.export import export_model
from exports import TEXTS, assert_close, learn_packs, run_example, write_photo
from model_families import MAKERS, write_model

NO_GRAPH = {name for name in MAKERS if name == "siglip2" or name.startswith("two")}  # of pictures


@pytest.fixture(scope="module")
def families(tmp_path_factory, corpora):
    """A polyglot with German, learnt with changes of the tower's weights, by name of a family; made once."""
    found = {}

    def get(name):
        if name not in found:
            folder = tmp_path_factory.mktemp("family")
            write_model(name, folder)
            encoder = load_encoder(folder, device="cpu")
            examples = {"de": babelclip.Student(encoder).examples("de", corpora["de"])}
            found[name] = learn_packs(encoder, examples, {"de": "lora"})
        return found[name]

    return get


@pytest.mark.parametrize("name", MAKERS)
def test_transformers_has_the_vectors(name, families, tmp_path, monkeypatch):
    polyglot, photo = families(name), write_photo(tmp_path)
    export_model(polyglot, tmp_path / "out", to="transformers")
    for tag in ("en", "de"):
        texts, images = run_example(tmp_path / "out" / tag / "README.md", TEXTS, photo, monkeypatch)
        assert_close(texts, polyglot.encode_texts(TEXTS, language=tag), 1e-6)
        assert_close(images, polyglot.encode_images([photo]), 1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_english_is_that_of_the_untouched_model(name, families, tmp_path, monkeypatch):
    """As transformers has it from the model's own files, within 1e-6."""
    encoder, texts = families(name).encoder, ["a red square", "the blue wall", "a"]
    export_model(families(name), tmp_path / "out", to="transformers", languages=["en"])
    found, _ = run_example(tmp_path / "out" / "en" / "README.md", texts, write_photo(tmp_path), monkeypatch)
    model = getattr(transformers, encoder.architecture).from_pretrained(encoder.source)
    whole = encoder.frame.padding is not None
    inputs = transformers.AutoTokenizer.from_pretrained(encoder.source)(
        texts, padding="max_length" if whole else True, max_length=encoder.frame.max_length, truncation=True,
        return_tensors="pt",
    )  # fmt: skip
    wanted = ("input_ids",) if whole else ("input_ids", "attention_mask")  # SigLIP reads padding: it has no mask
    with torch.inference_mode():
        expected = model.get_text_features(**{key: inputs[key] for key in wanted}).pooler_output
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - NO_GRAPH))
def test_onnxruntime_has_the_vectors(name, families, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    polyglot, photo = families(name), write_photo(tmp_path)
    for tag in ("en", "de"):
        export_model(polyglot, tmp_path / tag, to="onnx", languages=[tag])
        texts, images = run_example(tmp_path / tag / "README.md", TEXTS, photo, monkeypatch)
        assert_close(texts, polyglot.encode_texts(TEXTS, language=tag), 1e-5)
        assert_close(images, polyglot.encode_images([photo]), 1e-5)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"clip"}))
def test_tools_that_know_clip_alone_refuse_them_and_write_nothing(name, families, tmp_path):
    others = ("onnx",) if name in NO_GRAPH else ()
    for target in ("sentence-transformers", *(("open_clip",) if name != "metaclip_2" else ()), *others):
        with pytest.raises(ModelError, match="image towers of" if target == "onnx" else f"{target} has a place for"):
            export_model(families(name), tmp_path / "out", to=target)
        assert not (tmp_path / "out").exists()


def test_metaclip_2_leaves_to_open_clip_and_comes_back(families, tmp_path):
    polyglot, photo = families("metaclip_2"), write_photo(tmp_path)
    export_model(polyglot, tmp_path / "out", to="open_clip")
    for tag in ("en", "de"):
        again = load_encoder(tmp_path / "out" / tag, device="cpu")
        assert_close(babelclip.Student(again).encode_texts(TEXTS), polyglot.encode_texts(TEXTS, language=tag), 1e-6)
        assert_close(again.encode_images([photo]), polyglot.encode_images([photo]), 1e-6)
