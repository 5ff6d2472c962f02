"""Every family that can be taught: vectors as transformers and open_clip have them, and languages that are learnt."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, processors
from transformers import AutoImageProcessor, AutoTokenizer, ElectraConfig, SiglipConfig, SiglipModel

import babelclip
from babelclip.acquirers import Acquirers
from babelclip.cli.serve import _fast
from babelclip.data.cache import Cache
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder
from babelclip.encoders.load import FAMILIES
from babelclip.encoders.tower import encode_batch, pad
from babelclip.errors import ModelError, SettingError
from babelclip.export.onnx_tower import OnnxTower
from babelclip.export.text_tower import build_text_tower
from babelclip.lexicon import tokenise
from babelclip.methods import compose
from babelclip.packs import Polyglot, install_pack, learn_pack, load_polyglot
from babelclip.packs.inspection import inspect_model
from model_families import MAKERS, TEXTS, byte_bpe, make_two, write_model


@pytest.fixture(autouse=True)
def texts_stand_in_bands(monkeypatch):
    """However few they are."""
    monkeypatch.setattr("babelclip.encoders.layout.BAND_COST", 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder, model and encoder by name; made once."""
    place, found = tmp_path_factory.mktemp("families"), {}

    def get(name):
        if name not in found:
            folder = place / f"{len(found)}"
            found[name] = folder, write_model(name, folder), load_encoder(folder, device="cpu")
        return found[name]

    return get


def inputs_of(folder, encoder, texts):
    """As transformers cuts and pads them, in one batch."""
    whole = encoder.frame.padding is not None
    inputs = AutoTokenizer.from_pretrained(folder)(
        list(texts), padding="max_length" if whole else True, max_length=encoder.frame.max_length, truncation=True,
        return_tensors="pt",
    )  # fmt: skip
    wanted = ("input_ids",) if whole else ("input_ids", "attention_mask")  # SigLIP reads padding: it has no mask
    return {name: inputs[name] for name in wanted}


def own_vectors(folder, model, encoder, texts):
    """As transformers has them."""
    with torch.no_grad():
        return model.get_text_features(**inputs_of(folder, encoder, texts)).pooler_output


def sequences(encoder, texts):
    return [encoder.frame.wrap(pieces) for pieces in tokenise(encoder.tokenizer, list(texts))]


@pytest.mark.parametrize("name", MAKERS)
def test_texts_have_the_vectors_of_transformers_whatever_stands_beside_them(name, models):
    folder, model, encoder = models(name)
    texts = [*TEXTS, " ".join(TEXTS)]  # the last is cut
    expected = own_vectors(folder, model, encoder, texts)
    ids = sequences(encoder, texts)
    found = encode_tokens(encoder, encoder.token_table, ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.05
    alone = torch.cat([encode_tokens(encoder, encoder.token_table, [one]) for one in ids])
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_have_the_vectors_of_transformers(name, models, tmp_path):
    folder, model, encoder = models(name)
    chance = torch.Generator().manual_seed(1)
    files = []
    for number, (high, wide) in enumerate([(20, 20), (16, 40), (50, 17)]):
        pixels = torch.randint(0, 256, (high, wide, 3), generator=chance, dtype=torch.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels.numpy()).save(files[-1])
    pictures = [Image.open(file).convert("RGB") for file in files]
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=pictures, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(encoder.encode_images(files), expected, rtol=0, atol=1e-5)
    one_by_one = torch.cat([encoder.prepare([picture]) for picture in pictures])
    torch.testing.assert_close(encoder.encode_pixels(one_by_one), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_the_rows_that_transformers_gives_them_to(name, models):
    folder, model, encoder = models(name)
    aim = torch.randn(len(TEXTS), encoder.dim, generator=torch.Generator().manual_seed(2))
    rows = model.text_model.get_input_embeddings().weight
    for weights in model.parameters():
        weights.grad = None
    (model.get_text_features(**inputs_of(folder, encoder, TEXTS)).pooler_output * aim).sum().backward()
    table = encoder.token_table.clone().requires_grad_()
    ids = pad(sequences(encoder, TEXTS), encoder.frame.eos)
    (encode_batch(encoder, table, ids, encoder.frame.eos)[0] * aim).sum().backward()
    scale = float(rows.grad.abs().max())
    torch.testing.assert_close(table.grad / scale, rows.grad[: len(table)] / scale, rtol=0, atol=2e-5)
    unused = torch.ones(len(table), dtype=torch.bool)
    unused[ids.unique()] = False
    assert unused.any()
    assert not table.grad[unused].any()
    assert not any(one.requires_grad for one in encoder.text_tower.weights().values())


def test_padding_on_the_left_is_read_from_the_tokenizer(tmp_path):
    write_model("siglip2", tmp_path / "left")
    config = json.loads((tmp_path / "left" / "tokenizer_config.json").read_text())
    (tmp_path / "left" / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    model = write_model("siglip2", tmp_path / "right")
    right, left = (load_encoder(tmp_path / side, device="cpu") for side in ("right", "left"))
    assert (right.frame.left, left.frame.left) == (False, True)
    found = encode_tokens(left, left.token_table, sequences(left, TEXTS))
    expected = own_vectors(tmp_path / "left", model, left, TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found, own_vectors(tmp_path / "right", model, right, TEXTS), atol=1e-2)


@pytest.mark.parametrize("name", MAKERS)
def test_inputs_are_cut_alike_from_lists_and_from_arrays(name, models):
    _, _, encoder = models(name)
    tokens = tokenise(encoder.tokenizer, [*TEXTS, " ".join(TEXTS), ""])
    for frame in (encoder.frame, replace(encoder.frame, left=True)):
        for chosen in ([0, 1, 2], [len(TEXTS)], [len(TEXTS) + 1], list(range(len(TEXTS) + 2))):
            expected = pad([frame.wrap(tokens[one]) for one in chosen], frame.eos)
            assert torch.equal(tokens.inputs(torch.tensor(chosen), frame), expected)
        assert tokens.inputs(torch.arange(len(tokens)), frame).shape[1] == frame.max_length


@pytest.fixture(scope="module")
def taught(models, corpora):
    """Packs of two languages and their polyglot, by family."""
    found = {}

    def get(name):
        if name not in found:
            folder, _, encoder = models(name)
            base = Polyglot(encoder, base_lexicon(encoder))
            settings = babelclip.TaskSettings(
                vocab_size=330, batch_size=8, epochs=2, learning_rate=1e-2, idle_decay=False
            )
            packs = [
                learn_pack(base, tag, replace(corpora[tag]), method=method, settings=settings, rows="float32")[0]
                for tag, method in (("de", "cll"), ("ru", "mla(inner=4)+lora"))
            ]
            found[name] = folder, base, packs, Polyglot(encoder, base.base, packs)
        return found[name]

    return get


@pytest.mark.parametrize("name", MAKERS)
def test_languages_are_learnt_and_none_touches_another(name, taught, models, tmp_path):
    folder, base, packs, polyglot = taught(name)
    english = polyglot.encode_texts(TEXTS, language="en")
    assert torch.equal(english, base.encode_texts(TEXTS, language="en"))
    _, model, encoder = models(name)
    torch.testing.assert_close(english, own_vectors(folder, model, encoder, TEXTS), rtol=0, atol=1e-5)
    texts = {"de": ["ein quadrat in rot", "eine wand", "grün"], "ru": ["красный квадрат", "стена"], "en": TEXTS[:3]}
    apart = torch.cat([polyglot.encode_texts(some, language=tag) for tag, some in texts.items()])
    mixed = polyglot.encode_texts(
        [text for some in texts.values() for text in some], language=[tag for tag, some in texts.items() for _ in some]
    )
    torch.testing.assert_close(mixed, apart, rtol=0, atol=1e-5)
    plain = base.encode_texts([*texts["de"], *texts["ru"]], language="en")
    assert (apart[:5] - plain).abs().amax(dim=1).min() > 1e-3, "each language's texts have moved"
    for pack in packs:
        install_pack(tmp_path / "packs", pack, encoder)
    loaded = load_polyglot(tmp_path / "packs", device="cpu")
    for tag, some in texts.items():
        assert torch.equal(loaded.encode_texts(some, language=tag), polyglot.encode_texts(some, language=tag))


@pytest.mark.parametrize("name", MAKERS)
def test_a_shared_lexicon_learns_with_teir_and_comes_back_from_its_folder(name, models, examples_of, tmp_path):
    folder, _, encoder = models(name)
    student = babelclip.Student(encoder)
    table, losses = student.lexicon.table.clone(), []
    loss = "nce" if encoder.bias is None else "sigmoid"
    settings = babelclip.TaskSettings(
        vocab_size=330, batch_size=8, epochs=4, learning_rate=1e-2, cross_modal_loss=loss, idle_decay=False
    )
    student.learn(
        "de", examples_of(encoder, "de"), method="cll+teir", settings=settings,
        on_step=lambda step: losses.append(sum(step.terms.values())),
    )  # fmt: skip
    assert losses[-1] < losses[0]
    lexicon = student.lexicon
    used = tokenise(lexicon.tokenizer(), examples_of(encoder, "de").texts).used()
    still = torch.ones(len(table), dtype=torch.bool)
    still[used[used < len(table)]] = False
    still[lexicon.frame.specials] = True
    moved = (lexicon.table[: len(table)] != table).any(dim=1)
    assert not moved[still].any(), "rows that German does not use, and what stands around texts"
    assert len(lexicon.table) > len(table)
    student.save(tmp_path / "learnt")
    again = babelclip.load(tmp_path / "learnt", base=folder, device="cpu")
    texts = ["ein quadrat in rot", "eine wand"]
    assert torch.equal(again.encode_texts(texts, language="de"), student.encode_texts(texts, language="de"))


@pytest.fixture(scope="module")
def examples_of(corpora):
    found = {}

    def get(encoder, tag):
        if (encoder.fingerprint, tag) not in found:
            found[encoder.fingerprint, tag] = babelclip.Student(encoder).examples(tag, corpora[tag])
        return found[encoder.fingerprint, tag]

    return get


@pytest.mark.parametrize("method", ["full", "ptuning", "dualprompt", "coda", "der", "gpm", "joint", "si"])
@pytest.mark.parametrize("name", ["siglip", "altclip"])
def test_every_method_works_on_towers_that_attend_both_ways(name, method, models, examples_of):
    _, _, encoder = models(name)
    student = babelclip.Student(encoder)
    quick = babelclip.TaskSettings(vocab_size=330, batch_size=8, epochs=1, learning_rate=1e-3)
    before = base_lexicon(encoder)
    stack = compose(method)
    for tag in ("de", "ru"):
        student.learn(tag, examples_of(encoder, tag), method=stack, settings=quick)
        assert student.evaluate(examples_of(encoder, tag))["r_mean"] > 0
    assert torch.equal(before.table, base_lexicon(encoder).table), "the base model is as it was"


def test_sigmoid_is_refused_for_models_without_a_bias(models, examples_of):
    _, _, encoder = models("clip")
    settings = babelclip.TaskSettings(vocab_size=330, batch_size=8, cross_modal_loss="sigmoid")
    with pytest.raises(SettingError, match="was trained with a softmax"):
        babelclip.Student(encoder).learn("de", examples_of(encoder, "de"), settings=settings)


@pytest.mark.parametrize("name", MAKERS)
def test_they_are_told_and_measured(name, models):
    folder, _, encoder = models(name)
    found = inspect_model(str(folder), device="cpu")
    assert found.reasons == []
    assert found.fingerprint == encoder.fingerprint
    assert found.facts.family in FAMILIES
    assert found.speed.texts_per_second > 0
    assert all(one.available for one in found.methods if one.method in ("cll", "mla", "lora", "full"))


@pytest.mark.parametrize("name", MAKERS)
def test_the_graph_of_a_text_tower_is_the_tower(name, models):
    onnx = pytest.importorskip("onnx", reason="needs the extra [serve]")
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    _, _, encoder = models(name)
    served, ids = OnnxTower(encoder, cache=Cache(None)), sequences(encoder, [*TEXTS, " ".join(TEXTS)])
    expected = encode_tokens(encoder, encoder.token_table, ids)
    nothing = Acquirers()
    for some, vectors in ((ids, expected), (ids[:1], expected[:1]), ([ids[1], ids[-1]], expected[[1, -1]])):
        found = encode_tokens(encoder, encoder.token_table, some, nothing, plain=served)
        torch.testing.assert_close(found, vectors, rtol=0, atol=1e-5)
    for precision in ("float32", "int8"):
        model = onnx.load_from_string(build_text_tower(encoder.text_tower, precision))
        onnx.checker.check_model(model, full_check=True)


def test_serve_goes_on_with_torch_where_there_is_no_graph(models, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    _, _, encoder = models("siglip")
    polyglot = Polyglot(encoder, base_lexicon(encoder))
    monkeypatch.setattr(encoder.text_tower, "activation", "snake")
    with pytest.raises(ModelError, match="no ONNX graph has been written for the activation 'snake'"):
        _fast(polyglot, "float32", None)
    assert _fast(polyglot, None, None) is polyglot
    assert "texts go through torch" in capsys.readouterr().err


def test_a_text_tower_that_is_not_known_is_refused(tmp_path):
    two = make_two(lambda **sizes: ElectraConfig(**sizes, embedding_size=32))
    tokenizer = byte_bpe("bert")
    model, processor = two(tokenizer)
    for part in (model, tokenizer, processor):
        part.save_pretrained(tmp_path)
    for look in (lambda: load_encoder(tmp_path, device="cpu"), lambda: raise_reasons(tmp_path)):
        with pytest.raises(ModelError, match="its text tower is a electra; babelclip runs bert, camembert, roberta"):
            look()


def raise_reasons(folder):
    raise ModelError("; ".join(inspect_model(str(folder)).reasons), fix="None.")


def test_tokenizers_that_leave_texts_bare_are_refused(models, tmp_path):
    for name, template, said in (
        ("chinese_clip", "$A [SEP]", "starts texts with no token"),
        ("siglip", "$A", r"puts nothing before a text and nothing behind it"),
        ("metaclip_2", "<s> $A <pad>", r"ends texts with the id 1, but its text tower pools at 2"),
    ):
        place = tmp_path / name
        write_model(name, place)
        tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        ids = [(token, tokenizer.token_to_id(token)) for token in template.split() if token != "$A"]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
        tokenizer.save(str(place / "tokenizer.json"))
        with pytest.raises(ModelError, match=said):
            load_encoder(place, device="cpu")


def test_a_slow_tokenizer_without_its_file_is_refused(tmp_path):
    write_model("siglip", tmp_path / "siglip")
    (tmp_path / "siglip" / "tokenizer.json").unlink()
    config = {"tokenizer_class": "SiglipTokenizer"}
    (tmp_path / "siglip" / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no fast tokenizer"):
        load_encoder(tmp_path / "siglip", device="cpu")
    assert any("tokenizer.json" in reason for reason in inspect_model(str(tmp_path / "siglip")).reasons)


def test_a_slow_class_with_a_tokenizer_file_is_read_from_the_file(tmp_path):
    model = write_model("siglip", tmp_path / "siglip")
    file = tmp_path / "siglip" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "SiglipTokenizer"}))
    encoder = load_encoder(tmp_path / "siglip", device="cpu")
    found = encode_tokens(encoder, encoder.token_table, sequences(encoder, TEXTS))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    expected = own_vectors(tmp_path / "siglip", model, encoder, TEXTS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_pickled_weights_are_never_read(tmp_path):
    model = write_model("siglip", tmp_path / "siglip")
    (tmp_path / "siglip" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "siglip" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_encoder(tmp_path / "siglip", device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vision_use_head": False}, "without a head that pools them"),
        ({"hidden_size": 16}, "pictures of 16 numbers, but texts of 32"),
    ],
)
def test_towers_without_one_shared_space_are_refused(change, said, tmp_path):
    write_model("siglip", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    config = SiglipConfig.from_pretrained(tmp_path)
    for name, value in change.items():
        setattr(config.vision_config, name, value)
    SiglipModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=said):
        load_encoder(tmp_path, device="cpu")
