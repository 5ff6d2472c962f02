"""Every family that can be taught: vectors as transformers and open_clip have them, and languages that are learnt."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder
from babelclip.encoders.tower import encode_batch, pad
from babelclip.errors import ModelError, SettingError
from babelclip.lexicon import tokenise
from babelclip.packs import Polyglot, install_pack, learn_pack, load_polyglot
from model_families import MAKERS, TEXTS, byte_bpe, write_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder, model and encoder by name, each with its own kind of tokenizer or with byte-level BPE; made once."""
    place, found = tmp_path_factory.mktemp("families"), {}

    def get(name, kind=None):
        key = (name, kind)
        if key not in found:
            folder = place / f"{len(found)}"
            found[key] = folder, write_model(name, folder, kind=kind), load_encoder(folder, device="cpu")
        return found[key]

    return get


def own_vectors(folder, model, encoder, texts):
    """As transformers has them, in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = encoder.frame.padding is not None
    limit = {"max_length": encoder.frame.max_length, "truncation": True}
    inputs = tokenizer(list(texts), padding="max_length" if whole else True, return_tensors="pt", **limit)
    if whole:
        inputs = {"input_ids": inputs["input_ids"]}  # SigLIP reads padding: it has no mask
    inputs = {name: one for name, one in inputs.items() if name != "token_type_ids"}
    with torch.no_grad():
        return model.get_text_features(**inputs).pooler_output


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
    tokenizer, whole = AutoTokenizer.from_pretrained(folder), encoder.frame.padding is not None
    inputs = tokenizer(
        TEXTS, padding="max_length" if whole else True, max_length=encoder.frame.max_length, return_tensors="pt"
    )
    inputs = {name: one for name, one in inputs.items() if name == "input_ids" or (not whole and "mask" in name)}
    (model.get_text_features(**inputs).pooler_output * aim).sum().backward()
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
    """Packs of two languages and their polyglot, by family; every tower has byte-level BPE here."""
    found = {}

    def get(name):
        if name not in found:
            folder, _, encoder = models(name, byte_bpe)
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
    _, model, encoder = models(name, byte_bpe)
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
        install_pack(pack, tmp_path / "packs", base=folder)
    loaded = load_polyglot(tmp_path / "packs", device="cpu")
    for tag, some in texts.items():
        assert torch.equal(loaded.encode_texts(some, language=tag), polyglot.encode_texts(some, language=tag))


@pytest.mark.parametrize("name", MAKERS)
def test_a_shared_lexicon_learns_with_teir_and_comes_back_from_its_folder(name, models, examples_of, tmp_path):
    folder, _, encoder = models(name, byte_bpe)
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
    assert moved[~still].any()
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
    _, _, encoder = models(name, byte_bpe)
    student = babelclip.Student(encoder)
    quick = babelclip.TaskSettings(vocab_size=330, batch_size=8, epochs=1, learning_rate=1e-3)
    before = base_lexicon(encoder)
    stack = babelclip.compose(method) if hasattr(babelclip, "compose") else method
    for tag in ("de", "ru"):
        student.learn(tag, examples_of(encoder, tag), method=stack, settings=quick)
        assert student.evaluate(examples_of(encoder, tag))["r_mean"] > 0
    assert torch.equal(before.table, base_lexicon(encoder).table), "the base model is as it was"


def test_sigmoid_is_refused_for_models_without_a_bias(models, examples_of):
    _, _, encoder = models("clip", byte_bpe)
    settings = babelclip.TaskSettings(vocab_size=330, batch_size=8, cross_modal_loss="sigmoid")
    with pytest.raises(SettingError, match="was trained with a softmax"):
        babelclip.Student(encoder).learn("de", examples_of(encoder, "de"), settings=settings)
