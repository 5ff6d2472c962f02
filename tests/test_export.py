"""Exports: each target loads by itself and has the vectors of babelclip; what cannot leave is refused."""

import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, CLIPModel

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.encoders import load_encoder
from babelclip.encoders.find import find_model
from babelclip.errors import BabelclipError, MissingExtraError, ModelError, SettingError, UnknownNameError
from babelclip.export import TARGETS, export_model, text_tower
from babelclip.packs import Polyglot, load_polyglot
from exports import QUICK, TEXTS, assert_close, learn_packs, learn_shared, run_example, write_photo
from test_cli import invoke


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll", "ru": "lora", "uk": "mla"})


@pytest.fixture(scope="module")
def student(tiny, examples):
    return learn_shared(tiny, examples)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return write_photo(tmp_path_factory.mktemp("photo"))


@pytest.fixture(scope="module")
def exported(polyglot, tmp_path_factory):
    """Every target, of English and two packs."""
    place = tmp_path_factory.mktemp("exported")
    pytest.importorskip("onnx", reason="needs the extra [serve]")
    for target in TARGETS:
        export_model(polyglot, place / target, to=target, languages=["en", "de", "ru"])
    return place


def texts_of(folder, texts=TEXTS):
    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return model.get_text_features(**inputs).pooler_output


def images_of(folder, photo):
    model, processor = CLIPModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        return model.get_image_features(**processor(images=[Image.open(photo)], return_tensors="pt")).pooler_output


@pytest.mark.parametrize("tag", ["en", "de", "ru"])
def test_transformers_has_the_vectors_of_each_pack(tag, polyglot, exported, photo, tiny_folder):
    folder = exported / "transformers" / tag
    assert_close(texts_of(folder), polyglot.encode_texts(TEXTS, language=tag), 1e-5)
    assert_close(images_of(folder, photo), polyglot.encode_images([photo]), 1e-6)
    if tag == "en":
        assert torch.equal(texts_of(folder, ["a red square", "2024"]), texts_of(tiny_folder, ["a red square", "2024"]))
    else:
        assert len(AutoTokenizer.from_pretrained(folder)) > len(polyglot.base.table)
        assert not torch.allclose(texts_of(folder), polyglot.encode_texts(TEXTS, language="en"), atol=1e-3)


def test_a_shared_lexicon_is_one_folder(student, photo, tmp_path):
    whole, first = tmp_path / "whole", tmp_path / "first"
    assert export_model(student, whole, to="transformers") == {"de": whole, "ru": whole}
    assert export_model(student, first, to="transformers", languages=["de"]) == {"de": first}
    assert_close(texts_of(whole), student.encode_texts(TEXTS), 1e-5)
    assert_close(texts_of(first), student.encode_texts(TEXTS, language="de"), 1e-5)
    sizes = [CLIPModel.from_pretrained(one).config.text_config.vocab_size for one in (first, whole)]
    assert sizes == [student.lexicon.snapshots[tag].num_tokens for tag in ("de", "ru")]
    assert_close(images_of(whole, photo), student.encode_images([photo]), 1e-6)
    assert "changed rows that earlier ones use" in (whole / "README.md").read_text()


def test_a_legacy_config_pools_at_its_true_end(tiny_folder, examples, photo, tmp_path):
    """Old configs say 2, and transformers then pools at the largest id: with new tokens that is one of them."""
    folder = tmp_path / "legacy"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    polyglot = learn_packs(load_encoder(folder, device="cpu"), examples, {"de": "cll"})
    export_model(polyglot, tmp_path / "out", to="transformers")
    assert_close(texts_of(tmp_path / "out" / "de"), polyglot.encode_texts(TEXTS, language="de"), 1e-5)
    assert_close(texts_of(tmp_path / "out" / "en"), polyglot.encode_texts(TEXTS, language="en"), 1e-5)
    config = tmp_path / "out" / "de" / "config.json"
    config.write_text(re.sub(r'"eos_token_id": \d+', '"eos_token_id": 2', config.read_text()))
    wrong = texts_of(tmp_path / "out" / "de")
    assert not torch.allclose(wrong, polyglot.encode_texts(TEXTS, language="de"), atol=1e-2)


def test_the_readmes_of_transformers_and_onnx_run(polyglot, exported, photo, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    for place, tag, target in (
        ("transformers", "de", "transformers"), ("transformers/ru", "ru", "transformers"), ("onnx", "de", "onnx"),
    ):  # fmt: skip
        texts, pictures = run_example(exported / place / "README.md", TEXTS, photo, monkeypatch)
        assert_close(texts, polyglot.encode_texts(TEXTS, language=tag), 1e-5)
        assert_close(pictures, polyglot.encode_images([photo]), 1e-5 if target == "onnx" else 1e-6)


def test_onnx_graphs_are_checked_and_say_what_they_are(polyglot, exported):
    onnx = pytest.importorskip("onnx", reason="needs the extra [serve]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    for file in ("image.onnx", "de/text.onnx"):
        model = onnx.load(exported / "onnx" / file)
        onnx.checker.check_model(model, full_check=True)
        facts = {one.key: one.value for one in model.metadata_props}
        assert facts["opset"] == str(model.opset_import[0].version) == "23"
        assert facts["base_fingerprint"] == polyglot.encoder.fingerprint
    session = onnxruntime.InferenceSession(exported / "onnx" / "image.onnx")
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (found,) = session.run(None, {"pixel_values": pixels.numpy()})
    assert_close(found, polyglot.encoder.encode_pixels(pixels), 1e-5)
    assert (facts["languages"], facts["precision"], facts["max_length"]) == ("de", "float32", "77")


def test_int8_texts_are_near_and_small(student, exported, photo, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    export_model(student, tmp_path / "float32", to="onnx")
    export_model(student, tmp_path / "int8", to="onnx", precision="int8")
    sizes = [(tmp_path / one / "text.onnx").stat().st_size for one in ("float32", "int8")]
    assert sizes[1] < sizes[0] / 2
    exact, _ = run_example(tmp_path / "float32" / "README.md", TEXTS, photo, monkeypatch)
    rough, pictures = run_example(tmp_path / "int8" / "README.md", TEXTS, photo, monkeypatch)
    assert_close(exact, student.encode_texts(TEXTS), 1e-5)
    assert torch.cosine_similarity(torch.tensor(exact), torch.tensor(rough)).min() > 0.98
    assert_close(pictures, student.encode_images([photo]), 1e-5)


def test_the_folder_of_sentence_transformers_is_that_of_transformers_and_its_module(exported):
    folder = exported / "sentence-transformers" / "de"
    (module,) = json.loads((folder / "modules.json").read_text())
    assert module["type"] == "sentence_transformers.models.CLIPModel"
    for file in (exported / "transformers" / "de").iterdir():
        if file.name not in ("README.md", "export.json"):
            assert (folder / module["path"] / file.name).read_bytes() == file.read_bytes()


def test_sentence_transformers_encodes_texts_and_pictures(polyglot, exported, photo, monkeypatch):
    pytest.importorskip("sentence_transformers", reason="is no part of babelclip; tests/test_foreign.py has its own")
    folder = exported / "sentence-transformers" / "de"
    texts, pictures = run_example(folder / "README.md", TEXTS, photo, monkeypatch)
    assert_close(texts, polyglot.encode_texts(TEXTS, language="de"), 1e-5)
    assert_close(pictures, polyglot.encode_images([photo]), 1e-6)


def test_open_clip_has_its_own_names_and_pools_at_the_end(polyglot, exported):
    folder = exported / "open_clip" / "de"
    config = json.loads((folder / "open_clip_config.json").read_text())
    text = config["model_cfg"]["text_cfg"]
    assert (text["pool_type"], text["eos_id"]) == ("eos", polyglot.base.eos)
    found = find_model(str(folder))
    assert found.facts.family == "open_clip"
    assert found.facts.rows == text["vocab_size"] == len(AutoTokenizer.from_pretrained(folder))
    weights, model = load_file(folder / "open_clip_model.safetensors"), polyglot.encoder.load_whole()
    layer = model.vision_model.encoder.layers[1]
    fused = weights["visual.transformer.resblocks.1.attn.in_proj_weight"]
    assert torch.equal(fused[:32], layer.self_attn.q_proj.weight)
    assert torch.equal(fused[64:], layer.self_attn.v_proj.weight)
    assert torch.equal(weights["text_projection"].T, model.text_projection.weight)
    assert torch.equal(weights["token_embedding.weight"], polyglot.packs["de"].learnt(polyglot.base).lexicon.table)
    assert sum(one.numel() for one in weights.values()) == sum(
        one.numel() for one in CLIPModel.from_pretrained(exported / "transformers" / "de").parameters()
    )
    prepared = config["preprocess_cfg"]
    assert (prepared["size"], prepared["interpolation"], prepared["resize_mode"]) == (16, "bicubic", "shortest")


def test_open_clip_encodes_texts_and_pictures(polyglot, exported, photo, monkeypatch):
    pytest.importorskip("open_clip", reason="is no part of babelclip; tests/test_foreign.py has its own")
    texts, pictures = run_example(exported / "open_clip" / "de" / "README.md", TEXTS, photo, monkeypatch)
    assert_close(texts, polyglot.encode_texts(TEXTS, language="de"), 1e-5)
    assert_close(pictures, polyglot.encode_images([photo]), 1e-6)


def changed(tiny_folder, place, file, change):
    """A copy of the tiny model with another config."""
    folder = shutil.copytree(tiny_folder, place / "base", dirs_exist_ok=True)
    config = json.loads((folder / file).read_text())
    for key, value in change.items():
        config[key] = (config[key] | value) if isinstance(value, dict) and file == "config.json" else value
    (folder / file).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("config.json", {"text_config": {"hidden_act": "gelu"}}, "activations are 'gelu' and 'quick_gelu'"),
        ("config.json", {"text_config": {"hidden_act": "relu"}, "vision_config": {"hidden_act": "relu"}}, "'relu'"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 20}}, "resized to .*20}.*tower of 16"),
        ("preprocessor_config.json", {"resample": 0}, "by method 0"),
        ("preprocessor_config.json", {"do_center_crop": False}, "tower of 16 pixels. Export to transformers"),
    ],
)
def test_what_open_clip_has_no_place_for_is_refused(file, change, match, tiny_folder, tmp_path):
    folder = changed(tiny_folder, tmp_path, file, change)
    with pytest.raises(ModelError, match=f"open_clip has no place for the base model .*{match}"):
        export_model(load_polyglot(folder, device="cpu"), tmp_path / "out", to="open_clip")
    assert not (tmp_path / "out").exists()


def test_open_clip_gets_other_activations_norms_and_preparations(tiny_folder, tmp_path):
    half = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
    folder = changed(tiny_folder, tmp_path, "config.json", {"text_config": half, "vision_config": half})
    changed(
        folder, tmp_path / "second", "preprocessor_config.json", {"size": {"height": 16, "width": 16}, "resample": 2}
    )
    export_model(load_polyglot(tmp_path / "second" / "base", device="cpu"), tmp_path / "out", to="open_clip")
    made = json.loads((tmp_path / "out" / "en" / "open_clip_config.json").read_text())
    assert made["model_cfg"]["text_cfg"]["act_kwargs"] == {"approximate": "tanh"}
    assert made["model_cfg"]["vision_cfg"]["norm_kwargs"] == {"eps": 1e-6}
    assert not made["model_cfg"]["quick_gelu"]
    assert (made["preprocess_cfg"]["resize_mode"], made["preprocess_cfg"]["interpolation"]) == ("squash", "bilinear")


@pytest.mark.parametrize("target", TARGETS)
def test_the_card_says_what_the_packs_say(target, polyglot, exported):
    text = (exported / target / "README.md").read_text(encoding="utf-8")
    for piece in (
        "English, German, Russian", "Languages: en, de, ru", polyglot.encoder.fingerprint,
        "| de | cll | signs/of town | 24 | 24 | CC0-1.0 |", "| ru | cll+lora |", "- de: made for tests", "61.2 |",
        "40.0 |", "base model's own", "the language's LoRA added", "not for English", "The licence of the base model",
    ):  # fmt: skip
        assert piece in text
    assert str(exported) not in text
    assert str(polyglot.encoder.source) not in text
    if target != "onnx":
        assert "| ru |" not in (exported / target / "de" / "README.md").read_text(encoding="utf-8")


def test_the_command_line_exports_packs_a_base_model_and_a_shared_lexicon(student, tiny_folder, tmp_path):
    student.save(tmp_path / "shared")
    printed = invoke("export", "--model", tmp_path / "shared", "--languages", "de", "--to", "transformers",
                     "--out", tmp_path / "one")  # fmt: skip
    assert f"de: {tmp_path / 'one'}\n" in printed
    assert_close(texts_of(tmp_path / "one"), student.encode_texts(TEXTS, language="de"), 1e-5)
    printed = invoke("export", "--model", tiny_folder, "--to", "sentence-transformers", "--out", tmp_path / "base")
    assert f"{tmp_path / 'base' / 'README.md'} says how to load it" in printed
    with pytest.raises(SettingError, match="not empty. Choose a new folder"):
        invoke("export", "--model", tiny_folder, "--to", "transformers", "--out", tmp_path / "base")
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_what_cannot_leave_says_the_way_out(polyglot, student, foreign, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingError, match=r"'uk' has modules of mla .*--languages.*serve"):
        export_model(polyglot, out, to="transformers")
    with pytest.raises(UnknownNameError, match="installed language 'sw'. Known: de, en, ru, uk. Learn it"):
        export_model(polyglot, out, to="transformers", languages=["sw"])
    with pytest.raises(UnknownNameError, match="learnt language 'en'"):
        export_model(student, out, to="transformers", languages=["en"])
    with pytest.raises(SettingError, match="no language.*de, ru"):
        export_model(student, out, to="transformers", languages=[])
    with pytest.raises(UnknownNameError, match="Did you mean 'onnx'"):
        export_model(student, out, to="onx")
    with pytest.raises(UnknownNameError, match="Did you mean 'int8'"):
        export_model(student, out, to="onnx", precision="int4")
    with pytest.raises(SettingError, match="transformers has no precision 'int8'"):
        export_model(student, out, to="transformers", precision="int8")
    with pytest.raises(SettingError, match="multilingual language model.*--lexicon"):
        export_model(foreign, out, to="transformers")
    assert list(tmp_path.iterdir()) == []


def test_lora_of_a_shared_lexicon_leaves_alone(tiny, examples, tmp_path):
    student = babelclip.Student(tiny)
    for tag in ("de", "ru"):
        student.learn(tag, examples[tag], method="lora", settings=QUICK)
    with pytest.raises(SettingError, match="share one. Export it alone: --languages"):
        export_model(student, tmp_path / "both", to="transformers")
    export_model(student, tmp_path / "ru", to="transformers", languages=["ru"])
    assert_close(texts_of(tmp_path / "ru"), student.encode_texts(TEXTS, language="ru"), 1e-5)
    assert not torch.allclose(texts_of(tmp_path / "ru"), student.encode_texts(TEXTS), atol=1e-4)


def test_a_student_that_learnt_nothing_is_its_base_model(tiny, tiny_folder, tmp_path):
    assert list(export_model(babelclip.Student(tiny), tmp_path / "out", to="transformers")) == ["en"]
    texts = ["a red square", "two"]
    assert torch.equal(texts_of(tmp_path / "out", texts), texts_of(tiny_folder, texts))


def test_limits_of_graphs_and_of_base_models(tiny, polyglot, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="needs the extra [serve]")
    monkeypatch.setattr(text_tower, "LARGEST", 350_000)
    with pytest.raises(ModelError, match=r"text tower has .* GB in float32.*Take --precision int8, or export to trans"):
        export_model(polyglot, tmp_path / "out", to="onnx", languages=["de"])
    monkeypatch.setattr(text_tower, "LARGEST", 1_000)
    with pytest.raises(ModelError, match=r"in int8.*\. Export to transformers"):
        export_model(polyglot, tmp_path / "out", to="onnx", languages=["de"], precision="int8")
    other = SimpleNamespace(name="other", fingerprint="f", device=torch.device("cpu"))
    with pytest.raises(ModelError, match="'other' is no model of transformers"):
        export_model(Polyglot(other, base_lexicon(tiny)), tmp_path / "out", to="transformers")
    lexicon = base_lexicon(tiny)
    lexicon = replace(lexicon, frame=replace(lexicon.frame, eos=2))
    with pytest.raises(ModelError, match="end-of-text id .* is 2"):
        export_model(Polyglot(tiny, lexicon), tmp_path / "out", to="transformers")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_and_a_full_disk_leave_nothing(polyglot, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"'onnx'.*babelclip\[serve\]"):
        export_model(polyglot, tmp_path / "out", to="onnx", languages=["de"])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CLIPModel, "save_pretrained", full)
    with pytest.raises(BabelclipError, match="No space left on device"):
        export_model(polyglot, tmp_path / "out", to="transformers", languages=["de"])
    assert list(tmp_path.iterdir()) == []
