"""Folders in open_clip's own format, against its forward pass written out from the layout of its weights."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, layer_norm, linear
from typer.testing import CliRunner

import babelclip
from babelclip.cli.main import app
from babelclip.encoders import encode_tokens, load, load_encoder
from babelclip.encoders.find import find_model
from babelclip.errors import ModelError
from babelclip.lexicon import tokenise
from fake_hub import fake_hub
from model_families import TEXTS, write_open_clip

WEIGHTS = "open_clip_model.safetensors"


def transform(weights, start, states, heads, quick, *, causal):
    """Blocks on the states (L, width) of one text or picture: every head and place by itself."""
    layer = 0
    while f"{start}transformer.resblocks.{layer}.ln_1.weight" in weights:
        place = f"{start}transformer.resblocks.{layer}"

        def of(name, place=place):
            return weights[f"{place}.{name}"]

        normed = norm(weights, f"{place}.ln_1", states)
        query, key, value = (normed @ of("attn.in_proj_weight").T + of("attn.in_proj_bias")).chunk(3, dim=1)
        size, mixed = states.shape[1] // heads, torch.zeros_like(states)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for at in range(len(states)):
                seen = at + 1 if causal else len(states)
                shares = (key[:seen, part] @ query[at, part] / size**0.5).softmax(0)
                mixed[at, part] = shares @ value[:seen, part]
        states = states + linear(mixed, of("attn.out_proj.weight"), of("attn.out_proj.bias"))
        inner = linear(norm(weights, f"{place}.ln_2", states), of("mlp.c_fc.weight"), of("mlp.c_fc.bias"))
        inner = inner * torch.sigmoid(1.702 * inner) if quick else torch.nn.functional.gelu(inner)
        states = states + linear(inner, of("mlp.c_proj.weight"), of("mlp.c_proj.bias"))
        layer += 1
    return states


def norm(weights, name, states):
    return layer_norm(states, states.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def text_vector(weights, model, ids):
    """One text, padded with zeros to the whole context, pooled at its highest id."""
    ids = torch.tensor(ids + [0] * (model["text_cfg"]["context_length"] - len(ids)))
    states = weights["token_embedding.weight"][ids] + weights["positional_embedding"]
    states = transform(weights, "", states, model["text_cfg"]["heads"], model.get("quick_gelu"), causal=True)
    return norm(weights, "ln_final", states)[ids.argmax()] @ weights["text_projection"]


def picture_vector(weights, model, pixels):
    """One picture (3, side, side)."""
    vision = model["vision_cfg"]
    patches = conv2d(pixels[None], weights["visual.conv1.weight"], stride=vision["patch_size"])[0].flatten(1).T
    states = torch.cat([weights["visual.class_embedding"][None], patches]) + weights["visual.positional_embedding"]
    heads = vision["width"] // vision.get("head_width", 64)
    states = transform(
        weights, "visual.", norm(weights, "visual.ln_pre", states), heads, model.get("quick_gelu"), causal=False
    )
    return norm(weights, "visual.ln_post", states)[0] @ weights["visual.proj"]


def prepared(picture, content):
    """As open_clip prepares pictures, with PIL and numpy; margins are even, so that both round them alike."""
    side, settings = content["model_cfg"]["vision_cfg"]["image_size"], content["preprocess_cfg"]
    how = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[settings["interpolation"]]
    if settings["resize_mode"] == "squash":
        picture = picture.resize((side, side), how)
    else:
        wide, high = (max(side, int(side * one / min(picture.size))) for one in picture.size)
        picture = picture.resize((wide, high), how)
        left, top = round((wide - side) / 2), round((high - side) / 2)
        picture = picture.crop((left, top, left + side, top + side))
    values = np.asarray(picture, dtype=np.float64) / 255
    values = (values - settings["mean"]) / settings["std"]
    return torch.from_numpy(values).permute(2, 0, 1).float()


VARIANTS = {
    "as it is": {},
    "quick_gelu": {"model_cfg": {"quick_gelu": True}},
    "squash": {"preprocess_cfg": {"resize_mode": "squash", "interpolation": "bilinear"}},
    "other sizes": {"text_cfg": {"mlp_ratio": 2.0, "context_length": 12}, "vision_cfg": {"mlp_ratio": 3.0}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_vectors_are_those_of_the_forward_pass_written_out(variant, tmp_path):
    content, weights = write_open_clip(tmp_path / "model", **VARIANTS[variant])
    model = content["model_cfg"]
    encoder = load_encoder(tmp_path / "model", device="cpu")
    ids = [encoder.frame.wrap(pieces) for pieces in tokenise(encoder.tokenizer, [*TEXTS, " ".join(TEXTS)])]
    expected = torch.stack([text_vector(weights, model, one) for one in ids])
    torch.testing.assert_close(encode_tokens(encoder, encoder.token_table, ids), expected, rtol=0, atol=2e-5)
    chance, pictures = np.random.default_rng(0), []
    for high, wide in ((20, 20), (16, 40), (49, 17)):
        pictures.append(Image.fromarray(chance.integers(0, 256, (high, wide, 3), dtype=np.uint8)))
    pixels = torch.stack([prepared(picture, content) for picture in pictures])
    torch.testing.assert_close(encoder.prepare(pictures), pixels, rtol=0, atol=1e-5)
    expected = torch.stack([picture_vector(weights, model, one) for one in pixels])
    torch.testing.assert_close(encoder.encode_pixels(pixels), expected, rtol=0, atol=2e-5)
    assert encoder.scale == pytest.approx(np.exp(3.0), rel=1e-6)
    assert encoder.bias is None


def test_it_is_taught_and_told_like_any_other(tmp_path, corpora):
    write_open_clip(tmp_path / "model")
    student = babelclip.load(tmp_path / "model", device="cpu")
    quick = babelclip.TaskSettings(vocab_size=330, batch_size=8, epochs=1)
    student.learn("de", corpora["de"], settings=quick)
    student.save(tmp_path / "learnt")
    again = babelclip.load(tmp_path / "learnt", device="cpu")
    assert torch.equal(again.encode_texts(["ein feld"]), student.encode_texts(["ein feld"]))
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    assert "open_clip" in done.stdout
    assert student.encoder.fingerprint[:12] in done.stdout


def test_a_text_tower_of_its_own_class_is_taken_too(tmp_path):
    """``custom_text``: the same weights, the text tower's under ``text.``."""
    from safetensors.torch import load_file, save_file

    write_open_clip(tmp_path / "model")
    plain = load_encoder(tmp_path / "model", device="cpu")
    weights = load_file(tmp_path / "model" / WEIGHTS)
    moved = {
        name if name.startswith("visual.") or name == "logit_scale" else f"text.{name}": one
        for name, one in weights.items()
    }
    save_file(moved, tmp_path / "model" / WEIGHTS)
    assert load_encoder(tmp_path / "model", device="cpu").fingerprint == plain.fingerprint


REFUSED = {
    "timm's vit_base": {"vision_cfg": {"timm_model_name": "vit_base", "timm_pool": "avg"}},
    "Hugging Face model xlm-roberta-base": {"text_cfg": {"hf_model_name": "xlm-roberta-base"}},
    "decoder of captions": {"model_cfg": {"multimodal_cfg": {"width": 8}}},
    "is a ResNet": {"vision_cfg": {"layers": [3, 4, 6, 3]}},
    "attentional_pool = True": {"vision_cfg": {"attentional_pool": True}},
    "no_causal_mask = True": {"text_cfg": {"no_causal_mask": True}},
    "pool_type = 'last'": {"text_cfg": {"pool_type": "last"}},
    "ls_init_value = 0.1": {"vision_cfg": {"ls_init_value": 0.1}},
    "neither shortest nor squash": {"preprocess_cfg": {"resize_mode": "longest"}},
    "interpolation 'random'": {"preprocess_cfg": {"interpolation": "random"}},
    "squares only": {"vision_cfg": {"image_size": [16, 32]}},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_mapped_is_refused_and_told(reason, tmp_path):
    write_open_clip(tmp_path / "model")
    file = tmp_path / "model" / "open_clip_config.json"
    content = json.loads(file.read_text())
    for part, values in REFUSED[reason].items():
        (content["model_cfg"] if part == "model_cfg" else content["model_cfg"].get(part, content.get(part))).update(
            values
        )
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=reason) as caught:
        load_encoder(tmp_path / "model", device="cpu")
    assert "transformers format" in str(caught.value)
    assert reason in " ".join(CliRunner().invoke(app, ["inspect", str(tmp_path / "model")]).stdout.split())


def test_weights_and_tokenizers_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    write_open_clip(tmp_path / "model")
    file = tmp_path / "model" / WEIGHTS
    weights = load_file(file)
    for changed, said in (
        ({name: one for name, one in weights.items() if name != "ln_final.bias"}, "lacks 1 weights"),
        (weights | {"visual.extra": torch.zeros(2)}, "no place for 1 weights"),
        (weights | {"visual.proj": torch.zeros(5, 24)}, "another shape for 1 weights"),
    ):
        save_file(changed, file)
        with pytest.raises(ModelError, match=said):
            load_encoder(tmp_path / "model", device="cpu")
    save_file(weights, file)
    config = tmp_path / "model" / "open_clip_config.json"
    content = json.loads(config.read_text())
    content["model_cfg"]["text_cfg"] |= {"pool_type": "eos", "eos_id": 5}
    config.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"ends texts with the id 301, but its config names .*, which is 5"):
        load_encoder(tmp_path / "model", device="cpu")


def test_a_tokenizer_that_is_cut_off_is_named(tmp_path):
    write_open_clip(tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ModelError, match="the file is damaged") as caught:
        load_encoder(tmp_path / "model", device="cpu")
    assert caught.value.file == file


def test_a_hub_id_in_this_format_is_fetched(tmp_path):
    write_open_clip(tmp_path / "model")
    with fake_hub(tmp_path / "cache") as hub:
        hub.add("owner/model", tmp_path / "model")
        encoder = load.load_encoder("owner/model", device="cpu")
        assert find_model("owner/model").facts.family == "open_clip"
        assert hub.fetched() == {"open_clip_config.json", WEIGHTS, "tokenizer.json"}
    assert encoder.name == "owner/model"
    assert encoder.fingerprint == load.load_encoder(tmp_path / "model", device="cpu").fingerprint


def test_it_leaves_in_the_format_of_transformers(tmp_path):
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    from babelclip.data.examples import base_lexicon
    from babelclip.export import export_model
    from babelclip.packs import Polyglot

    write_open_clip(tmp_path / "model")
    encoder = load_encoder(tmp_path / "model", device="cpu")
    polyglot = Polyglot(encoder, base_lexicon(encoder))
    export_model(polyglot, tmp_path / "out", to="transformers")
    (folder,) = [file.parent for file in (tmp_path / "out").rglob("config.json")]
    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        texts = model.get_text_features(**inputs).pooler_output
        picture = Image.new("RGB", (30, 20), "red")
        pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, return_tensors="pt")
        picture_found = model.get_image_features(**pixels).pooler_output
    torch.testing.assert_close(texts, polyglot.encode_texts(TEXTS, language="en"), rtol=0, atol=1e-5)
    expected = encoder.encode_pixels(encoder.prepare([picture]))
    torch.testing.assert_close(picture_found, expected, rtol=0, atol=1e-5)
