import shutil
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers import AutoTokenizer, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection

from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder, open_picture
from babelclip.encoders.arranged import attend
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.layout import lay_out
from babelclip.encoders.tower import first_ends, pad
from babelclip.errors import DataError, ModelError, SettingError, UnknownNameError

TEXTS = ["a red square", "a", "a small dog on a very long green field under a blue sky " * 3, "🍎 apple"]


def test_text_and_image_vectors_equal_those_of_transformers(tiny, tiny_folder, captions):
    model, tokenizer = CLIPModel.from_pretrained(tiny_folder).eval(), AutoTokenizer.from_pretrained(tiny_folder)
    lexicon = base_lexicon(tiny)
    found = encode_tokens(tiny, lexicon.table, lexicon.encode(TEXTS))
    inputs = tokenizer(TEXTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_text_features(**inputs).pooler_output
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert tiny.encode_images([captions / "0-0.png"] * 3).shape == (3, 24)


@pytest.mark.parametrize(("activation", "bands"), [("quick_gelu", 1), ("quick_gelu", 4), ("gelu", 2)])
def test_the_arranged_tower_equals_the_layers_one_by_one_gradients_too(activation, bands, monkeypatch):
    monkeypatch.setattr("babelclip.encoders.layout.BAND_COST", 10)
    torch.manual_seed(1)
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=3, projection_dim=8,
        vocab_size=9, max_position_embeddings=12, bos_token_id=7, eos_token_id=8, hidden_act=activation,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval().double().requires_grad_(False)
    for weights in model.parameters():
        weights.normal_(0, 0.3)  # biases and norms as well, which start at 0 and 1
    table = torch.randn(9, 32, dtype=torch.float64)
    one, other = table.clone().requires_grad_(), table.clone().requires_grad_()
    inner = model.text_model
    ids = torch.randint(0, 3, (40, 12), generator=torch.Generator().manual_seed(0))  # 0 is the start, 8 the end
    ids[:, 0], ids[:, -1] = 0, 8
    ids[torch.arange(40), torch.arange(40) % 11 + 1] = 8
    ids[7] = ids[3]
    ends = first_ends(ids, 8)
    hidden = one[ids] + inner.embeddings.position_embedding.weight
    hidden = inner.encoder(inputs_embeds=hidden, attention_mask=None, is_causal=True).last_hidden_state
    expected = model.text_projection(inner.final_layer_norm(hidden[torch.arange(40), ends]))
    layout = lay_out(ids, ends, bands=bands)
    assert len(layout.ids) < 0.7 * int((ends + 1).sum()), "beginnings are shared"
    assert len(layout.bands) == bands
    found = FrozenTextTower(inner, model.text_projection)(other[layout.ids], layout)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(found)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(other.grad, one.grad, rtol=1e-10, atol=1e-12)


def test_a_layout_has_each_beginning_once_and_no_padding():
    ids = torch.tensor([[1, 5, 6, 9, 9], [1, 5, 9, 9, 9], [1, 7, 6, 6, 9], [1, 5, 6, 9, 4]])
    layout = lay_out(ids, first_ends(ids, 9))
    beginnings = {tuple(ids[b, : k + 1].tolist()) for b, end in enumerate((3, 2, 4, 3)) for k in range(end + 1)}
    assert len(layout.ids) == len(beginnings) == 9
    grid = layout.node_of.view(4, 5)
    for b, end in enumerate((3, 2, 4, 3)):
        assert layout.ids[grid[b]].tolist() == [*ids[b, : end + 1].tolist(), *[9] * (4 - end)]
        assert layout.positions[grid[b, : end + 1]].tolist() == list(range(end + 1))
        assert int(layout.ends[b]) == int(grid[b, end])
        assert layout.bands[0].visible[b].tolist() == [k <= end for k in range(5)]
    assert torch.equal(layout.node_of[layout.places], torch.arange(9))
    assert len(layout.again) == 4 + 3 + 5 + 4 - 9


def test_texts_of_similar_length_share_a_band_where_that_saves_places():
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 4, (64, 70), generator=chance)
    ends = torch.randint(5, 12, (64,), generator=chance)
    ends[[7, 30]] = torch.tensor([69, 40])
    ids[torch.arange(64), ends] = 9
    whole, cut = lay_out(ids, ends), lay_out(ids, ends, bands=4)
    assert [len(band.texts) for band in whole.bands] == [64]
    assert sorted(len(band.texts) for band in cut.bands) == [2, 62], "the long ones stand apart"
    assert len(cut.node_of) < 0.25 * len(whole.node_of) == 0.25 * 64 * 70
    for layout in (whole, cut):
        start = 0
        for band in layout.bands:
            assert band.length == int(ends[band.texts].max()) + 1
            grid = layout.node_of[start : start + band.visible.numel()].view(band.visible.shape)
            for text, nodes, shown in zip(band.texts.tolist(), grid, band.visible, strict=True):
                last = int(ends[text])
                assert shown.tolist() == [k <= last for k in range(band.length)]
                assert torch.equal(layout.ids[nodes[: last + 1]], ids[text, : last + 1])
                assert int(nodes[last]) == int(layout.ends[text])
            start += band.visible.numel()
        assert torch.equal(layout.node_of[layout.places], torch.arange(len(layout.ids)))
        assert torch.equal(layout.join(layout.split(ends)), ends)
        assert bool((layout.positions <= ends[layout.texts]).all())
    assert len(lay_out(ids[:8], ends[:8].clamp(max=11), bands=4).bands) == 1, "nothing to save"


def test_trimmed_equals_padded(tiny):
    """Contract 5: what stands behind the first end-of-text changes nothing."""
    lexicon = base_lexicon(tiny)
    sequences = lexicon.encode(TEXTS)
    trimmed = encode_tokens(tiny, lexicon.table, sequences)
    padded = [ids + [lexicon.eos] * (77 - len(ids)) for ids in sequences]
    torch.testing.assert_close(encode_tokens(tiny, lexicon.table, padded), trimmed, rtol=0, atol=2e-6)
    junk = [ids + [9] * (77 - len(ids)) for ids in sequences]
    torch.testing.assert_close(encode_tokens(tiny, lexicon.table, junk), trimmed, rtol=0, atol=2e-6)


def test_the_order_of_the_result_is_that_of_the_texts(tiny):
    lexicon = base_lexicon(tiny)
    sequences = lexicon.encode(TEXTS)
    one_by_one = torch.cat([encode_tokens(tiny, lexicon.table, [ids]) for ids in sequences])
    torch.testing.assert_close(encode_tokens(tiny, lexicon.table, sequences, batch_size=3), one_by_one)


def test_pooling_is_at_the_first_end_although_larger_ids_occur():
    ids = pad([[5, 99_999, 7], [5, 7]], eos=7)
    assert ids.tolist() == [[5, 99_999, 7], [5, 7, 7]]
    assert first_ends(ids, eos=7).tolist() == [2, 1]


def test_the_fingerprint_knows_weights_and_tokenizer(tiny, tiny_folder, tmp_path):
    assert load_encoder(tiny_folder, device="cpu").fingerprint == tiny.fingerprint
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    model = CLIPModel.from_pretrained(copy)
    with torch.no_grad():
        model.text_projection.weight[0, 0] += 1e-3
    model.save_pretrained(copy)
    assert load_encoder(copy, device="cpu").fingerprint != tiny.fingerprint
    copy = shutil.copytree(tiny_folder, tmp_path / "other")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace("quick_gelu", "gelu"))
    assert load_encoder(copy, device="cpu").fingerprint != tiny.fingerprint, "other vectors from the same weights"


def test_the_built_in_model_is_small_and_finds_held_out_pictures_in_english(pictoclip_scores):
    assert pictoclip_scores["bytes"] <= 12e6
    assert pictoclip_scores["gallery"] >= 700
    assert pictoclip_scores["img_r10"] >= 55


def test_unknown_models_and_families_are_named(tmp_path):
    with pytest.raises(ModelError, match="there is no folder './nowhere'"):
        load_encoder("./nowhere")
    with pytest.raises(ModelError, match="cannot load the base model 'no-such/model'"):
        load_encoder("no-such/model")
    (tmp_path / "config.json").write_text('{"model_type": "clap"}')
    with pytest.raises(UnknownNameError, match="unknown model family 'clap'"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot load"):
        load_encoder(tmp_path)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(SettingError, match=r"there is no device 'warp'\. Say cpu, cuda, cuda:1 or mps\."):
        load_encoder(device="warp")
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="the device 'cuda:0' cannot be used"):
            load_encoder(device="cuda")


def test_a_folder_with_damaged_or_missing_weights_is_refused(tiny_folder, tmp_path):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot load the base model"):
        load_encoder(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot load the base model"):
        load_encoder(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_file_of_a_folder_that_is_cut_off_is_named(tiny_folder, tmp_path, name):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes()[:-3])
    with pytest.raises(ModelError, match="cannot load the base model .* the file is damaged .*Get it again") as caught:
        load_encoder(copy)
    assert caught.value.file == copy / name


def test_odd_details_of_a_picture_do_not_keep_it_from_being_turned(tmp_path):
    """As cameras and tools write them: a resolution as text, a date of an unknown type."""

    def entry(tag, kind, count, content):
        return struct.pack("<HHI4s", tag, kind, count, content.ljust(4, b"\0"))

    lies = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    for odd in (entry(0x011A, 2, 3, b"72\0"), entry(0x0132, 11, 1, b"1\0\0\0"), entry(0xA005, 7, 1, b"x")):
        directory = struct.pack("<H", 2) + lies + odd + bytes(4)
        Image.new("RGB", (8, 4)).save(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0" + directory)
        assert open_picture(tmp_path / "odd.jpg").size == (4, 8)


@pytest.mark.parametrize("how", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(tmp_path, how):
    exif = Image.Exif()
    exif[0x0112] = how
    drawn = Image.new("RGB", (8, 4), "white")
    drawn.putpixel((1, 0), (255, 0, 0))
    drawn.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        assert open_picture(tmp_path / "turned.png").tobytes() == ImageOps.exif_transpose(opened).tobytes()


def test_pictures_are_upright_rgb_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (4, 8)
    for mode in ("L", "CMYK", "P", "1", "I;16"):
        name = tmp_path / f"{mode.replace(';', '')}.tiff"
        Image.new(mode, (4, 4)).save(name)
        assert open_picture(name).mode == "RGB"


@pytest.mark.parametrize(
    ("kind", "scale"),
    [(np.float32, 1 / 255), (np.float32, 1), (np.float32, 256), (np.int32, 1), (np.int32, 256), (np.uint16, 256)],
)
def test_grey_of_more_than_8_bits_keeps_its_brightness(tmp_path, kind, scale):
    grey = np.arange(256).reshape(16, 16)
    Image.fromarray((grey * np.float32(scale)).astype(kind)).save(tmp_path / "deep.tiff")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "deep.tiff")), np.stack([grey] * 3, axis=2))


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((4, 4), 255, np.uint16)).save(tmp_path / "dark.png")
    assert open_picture(tmp_path / "dark.png").getextrema() == ((0, 0),) * 3


def test_bad_pictures_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-500])
    text = tmp_path / "text.png"
    text.write_text("hello")
    cases = {cut: "the picture is damaged", text: "not a picture", tmp_path / "none.png": "there is no such picture"}
    for file, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            open_picture(file)
        assert str(file) in str(caught.value)


def test_a_picture_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("1", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="too large"):
        open_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("case", ["causal", "masked", "free"])
def test_attention_in_bfloat16_on_a_cpu_is_as_exact_as_its_inputs(case):
    """As the fused kernel makes it of the same numbers in float64, and its gradients."""
    chance = torch.Generator().manual_seed(0)
    whole = [torch.randn(2, 4, 9, 16, generator=chance).bfloat16() for _ in range(3)]
    upstream = torch.randn(2, 4, 9, 16, generator=chance).bfloat16()
    seen = torch.rand(2, 1, 9, 9, generator=chance) > 0.3
    seen |= torch.eye(9, dtype=torch.bool)
    how = {"causal": {"is_causal": True}, "masked": {"attn_mask": seen}, "free": {}}[case]
    inputs = [one.requires_grad_() for one in whole]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(*inputs, **how)
    doubles = [one.detach().double().requires_grad_() for one in whole]
    exact = torch.nn.functional.scaled_dot_product_attention(*doubles, **how)
    assert found.dtype == torch.bfloat16
    pairs = [(found, exact)]
    pairs += zip(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(exact, doubles, upstream.double()),
        strict=True,
    )
    for ours, reference in pairs:
        assert (ours.double() - reference).norm() <= 0.006 * reference.norm()


def test_frozen_matrices_are_converted_once_for_autocast_and_no_bit_changes(tiny, monkeypatch):
    tower, lexicon = tiny.text_tower.with_weights(tiny.text_tower.weights()), base_lexicon(tiny)
    ids = pad(lexicon.encode(TEXTS), lexicon.eos)
    layout = tower.lay_out(ids, first_ends(ids, lexicon.eos))

    def step(tower=tower):
        rows = lexicon.table[layout.ids].clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vectors = tower(rows, layout)
        (vectors.float() ** 2).sum().backward()
        return vectors.detach(), rows.grad

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        tower(lexicon.table[layout.ids], layout)  # an evaluation comes first, and training goes on
        once = tower._layers_for("cpu")
    assert tower._layers_for("cpu")[0].mlp_in[0].dtype == torch.float32
    found = step()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tower._layers_for("cpu") is once
    assert [weight.dtype == torch.bfloat16 for weight, _ in once[0]] == [weight.dim() == 2 for weight, _ in once[0]]
    weights = {name: one.clone().requires_grad_() for name, one in tower.weights().items()}
    other = tower.with_weights({name: 2 * one for name, one in tower.weights().items()})
    taught = tower.with_weights(weights)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        taught(lexicon.table[layout.ids], layout)
    trained = step(taught)
    alone = step(other)
    assert all(one.grad is not None and one.grad.isfinite().all() for one in weights.values())
    monkeypatch.setattr(type(tower), "_layers_for", lambda self, _: self._layers)
    for pair in (*zip(found, step(), strict=True), *zip(found, trained, strict=True),
                 *zip(alone, step(other), strict=True)):  # fmt: skip
        assert torch.equal(*pair)
