"""Texts through onnxruntime: the vectors of torch, whatever the activation, the language and the batch."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import babelclip
from babelclip.data import Cache
from babelclip.data.examples import base_lexicon
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.layout import Band, Layout, lay_out
from babelclip.encoders.tower import first_ends, pad
from babelclip.errors import MissingExtraError, ModelError, SettingError, UnknownNameError
from babelclip.export import onnx_tower, text_tower
from babelclip.export.onnx_tower import OnnxTower, with_onnx
from babelclip.export.text_tower import ACTIVATIONS, build_text_tower
from babelclip.packs import Polyglot, learn_pack
from babelclip.packs.verify import verify_polyglot

onnx = pytest.importorskip("onnx", reason="needs the extra [serve]")
pytest.importorskip("onnxruntime", reason="needs the extra [serve]")

LONG = "a small dog on a very long green field " * 12
TEXTS = ["a red square", "", LONG, "2024", "ein quadrat in rot", "an einer wand", "красный квадрат", "стена", "grün"]
TAGS = ["en", "en", "en", "en", "de", "de", "ru", "ru", "uk"]


def random_tower(activation, layers=3):
    """A tower whose biases and norms are not 0 and 1."""
    torch.manual_seed(1)
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=layers, projection_dim=24,
        vocab_size=9, max_position_embeddings=12, bos_token_id=7, eos_token_id=8, hidden_act=activation,
        layer_norm_eps=1e-3,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval().requires_grad_(False)
    for weights in model.parameters():
        weights.normal_(0, 0.3)
    return FrozenTextTower(model.text_model, model.text_projection)


def onnx_tower_of(tower, **options):
    return OnnxTower(SimpleNamespace(text_tower=tower, fingerprint="f"), cache=Cache(None), **options)


def alone(ids, ends):
    """A layout in which no two texts share a node, as a caller without ``lay_out`` makes one."""
    batch, length = ids.shape
    visible = torch.arange(length) <= ends[:, None]
    places = visible.flatten().nonzero().flatten()
    numbers = (visible.flatten().cumsum(0) - 1).view(batch, length)
    last = numbers[torch.arange(batch), ends]
    return Layout(
        ids=ids.flatten()[places], positions=places % length, texts=places // length, places=places,
        node_of=numbers.where(visible, last[:, None]).flatten(), again=places[:0], ends=last,
        bands=(Band(torch.arange(batch), visible, bool(visible.all())),), back=torch.arange(batch),
    )  # fmt: skip


def assert_same_directions(found, expected, tolerance=1e-5):
    torch.testing.assert_close(normalize(found), normalize(expected), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def packs(tiny, examples):
    """German and Russian with rows alone, Ukrainian with acquirers."""
    empty = Polyglot(tiny, base_lexicon(tiny))
    quick = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, idle_decay=False)
    source = {"de": "de", "ru": "ru", "uk": "ru"}
    return {
        tag: learn_pack(empty, tag, replace(examples[of], language=tag), settings=quick,
                        method="mla" if tag == "uk" else "cll")[0]
        for tag, of in source.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def slow(tiny, packs):
    return Polyglot(tiny, base_lexicon(tiny), packs.values())


@pytest.fixture(scope="module")
def fast(slow):
    return with_onnx(slow)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_graph_is_the_tower_for_every_activation(activation):
    tower = random_tower(activation)
    ids = torch.randint(0, 9, (6, 12), generator=torch.Generator().manual_seed(0))
    layout = lay_out(ids, torch.tensor([11, 0, 3, 5, 7, 1]))
    rows = torch.randn(9, 32)[layout.ids]
    torch.testing.assert_close(onnx_tower_of(tower)(rows, layout), tower(rows, layout), rtol=1e-5, atol=1e-4)
    onnx.checker.check_model(onnx.load_from_string(build_text_tower(tower)), full_check=True)
    onnx.checker.check_model(onnx.load_from_string(build_text_tower(tower, "int8")), full_check=True)


TOWERS = {layers: (tower := random_tower("quick_gelu", layers), onnx_tower_of(tower)) for layers in (1, 3)}


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(st.integers(0, 2), max_size=11), min_size=1, max_size=6),  # many begin alike
    layers=st.sampled_from(list(TOWERS)),
)
def test_any_batch_with_nodes_shared_or_not(texts, layers):
    tower, served = TOWERS[layers]
    ids = pad([[*text, 3] for text in texts], 3)
    ends = first_ends(ids, 3)
    table = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    expected = tower(table[lay_out(ids, ends).ids], lay_out(ids, ends))
    for layout in (lay_out(ids, ends), alone(ids, ends)):
        torch.testing.assert_close(served(table[layout.ids], layout), expected, rtol=1e-5, atol=1e-4)


def test_all_languages_alone_and_mixed(slow, fast):
    assert fast.languages == slow.languages == ["en", "de", "ru", "uk"]
    assert_same_directions(fast.encode_texts(TEXTS, language=TAGS), slow.encode_texts(TEXTS, language=TAGS))
    for text, tag in zip(TEXTS, TAGS, strict=True):
        assert_same_directions(fast.encode_texts([text], language=tag), slow.encode_texts([text], language=tag))
    assert fast.encode_texts([]).shape == (0, 24)
    assert fast.encode_texts([], language="de").shape == (0, 24)
    many = [f"{text} {number}" for number in range(40) for text in TEXTS]  # more than one batch
    assert_same_directions(fast.encode_texts(many, language=TAGS * 40), slow.encode_texts(many, language=TAGS * 40))


def test_routing_and_blending_are_those_of_the_polyglot(slow, fast):
    texts = [*TEXTS, "ein", "2024", "квадрат"]
    assert slow.route(texts).unsure.any(), "the packs of ru and uk learnt the same texts"
    for blend in (True, False):
        assert_same_directions(fast.encode_texts(texts, blend=blend), slow.encode_texts(texts, blend=blend))
    some = [None, "en", "auto", *["de"] * (len(texts) - 3)]
    assert_same_directions(fast.encode_texts(texts, language=some), slow.encode_texts(texts, language=some))
    with pytest.raises(UnknownNameError, match="sw"):
        fast.encode_texts(["x"], language="sw")


def test_the_built_in_model_and_one_with_gelu(pictoclip, tiny):
    texts = ["a red apple", "", LONG, "two people playing football", "🍎"]
    built_in = Polyglot(pictoclip.encoder, base_lexicon(pictoclip.encoder))
    assert_same_directions(with_onnx(built_in).encode_texts(texts), built_in.encode_texts(texts))
    weights = tiny.text_tower.weights()
    assert tiny.text_tower.activation == "quick_gelu"
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2, projection_dim=24,
        vocab_size=9, bos_token_id=7, eos_token_id=8, hidden_act="gelu",
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval()
    tower = FrozenTextTower(model.text_model, model.text_projection).with_weights(weights)
    ids = torch.randint(0, 99, (5, 77), generator=torch.Generator().manual_seed(0))
    layout = lay_out(ids, torch.tensor([76, 1, 20, 3, 76]))
    rows = tiny.token_table[layout.ids]
    assert_same_directions(onnx_tower_of(tower)(rows, layout), tower(rows, layout))
    assert not torch.allclose(tower(rows, layout), tiny.text_tower(rows, layout), atol=1e-4), "gelu is another one"


def test_packs_come_and_go_without_a_new_graph(tiny, packs, monkeypatch):
    empty = with_onnx(Polyglot(tiny, base_lexicon(tiny)))
    monkeypatch.setattr(onnx_tower, "build_text_tower", None)
    fast = empty.install(packs["ru"]).install(packs["de"])
    slow = fast.with_tower(None)
    assert fast.tower is empty.tower is fast.remove("ru").tower
    assert slow.tower is None
    calls, run = [], FrozenTextTower.__call__
    monkeypatch.setattr(FrozenTextTower, "__call__", lambda *given: calls.append(given) or run(*given))
    found = fast.encode_texts(TEXTS[:8], language=TAGS[:8])
    alone = fast.remove("ru").install(packs["ru"], replace=True).encode_texts(TEXTS[:8], language=TAGS[:8])
    assert not calls, "torch runs nothing"
    assert torch.equal(found, alone)
    assert_same_directions(found, slow.encode_texts(TEXTS[:8], language=TAGS[:8]))
    assert calls


def test_texts_with_acquirers_and_only_they_are_run_by_torch(slow, fast, monkeypatch):
    calls, run = [], FrozenTextTower.__call__

    def counted(tower, rows, layout, inserts):
        calls.append((layout.batch, len(inserts)))
        return run(tower, rows, layout, inserts)

    monkeypatch.setattr(FrozenTextTower, "__call__", counted)
    tags = ["uk", "de", "en", "uk", "ru", "uk", "de", "de", "de"]
    found = fast.encode_texts(TEXTS, language=tags)
    assert calls == [(3, 1)]
    assert_same_directions(found, slow.encode_texts(TEXTS, language=tags))


def test_packs_are_verified_with_the_base_models_own_tower(fast):
    assert len(verify_polyglot(fast)) == 4


def test_int8_keeps_the_ranks_of_a_small_gallery(pictoclip):
    polyglot = Polyglot(pictoclip.encoder, base_lexicon(pictoclip.encoder))
    things = ["apple", "house", "cat", "dog", "car", "tree", "sun", "moon", "fish", "bird", "clock", "key", "hand"]
    gallery = normalize(polyglot.encode_texts([f"{colour} {thing}" for thing in things for colour in ("red", "blue")]))
    texts = [f"a {thing} that is {colour}" for thing in things for colour in ("red", "blue")]
    exact, rough = polyglot.encode_texts(texts), with_onnx(polyglot, precision="int8").encode_texts(texts)
    assert torch.cosine_similarity(exact, rough).min() > 0.999
    ranks = [(normalize(one) @ gallery.T).argsort(descending=True).argsort() for one in (exact, rough)]
    ahead = ranks[0] < 10
    assert (ranks[0] - ranks[1])[ahead].abs().float().mean() < 0.5
    assert (ranks[0] - ranks[1])[ahead].abs().max() <= 4
    firsts = [one.diagonal() == 0 for one in ranks]
    assert abs(int(firsts[0].sum()) - int(firsts[1].sum())) <= 2


def test_the_graph_is_kept_and_a_damaged_one_is_made_again(slow, tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    expected = with_onnx(slow, cache=cache).encode_texts(TEXTS, language=TAGS)
    with_onnx(slow, cache=cache, precision="int8")
    place = tmp_path / "onnx" / slow.encoder.fingerprint
    (file,) = place.glob("text-1-float32-*.onnx")
    assert len(list(place.iterdir())) == 2, "nothing temporary is left"
    whole, made = file.read_bytes(), []
    monkeypatch.setattr(onnx_tower, "build_text_tower", lambda *given: made.append(1) or build_text_tower(*given))
    assert torch.equal(with_onnx(slow, cache=cache, threads=1).encode_texts(TEXTS, language=TAGS), expected)
    assert not made
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for number, damaged in enumerate((bytes(flipped), whole[: len(whole) // 2], b""), start=1):
        file.write_bytes(damaged)
        assert torch.equal(with_onnx(slow, cache=cache).encode_texts(TEXTS, language=TAGS), expected)
        assert len(made) == number
        assert file.read_bytes() == whole


def test_the_users_own_cache_is_the_default(slow, tmp_path, monkeypatch):
    monkeypatch.setenv("BABELCLIP_CACHE", str(tmp_path))
    with_onnx(slow)
    assert len(list(tmp_path.glob("onnx/*/*.onnx"))) == 1


def test_what_cannot_work_says_the_way_out(slow, monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'int8'"):
        with_onnx(slow, precision="int4")
    with pytest.raises(SettingError, match="0 threads"):
        with_onnx(slow, threads=0)
    with pytest.raises(ModelError, match="tanh"):
        build_text_tower(random_tower("tanh"))
    monkeypatch.setattr(text_tower, "LARGEST", 50_000)
    assert len(build_text_tower(random_tower("relu"), "int8")) < 50_000
    with pytest.raises(ModelError, match="Take int8"):
        build_text_tower(random_tower("relu"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(package, slow, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}'.*babelclip\[serve\]"):
        with_onnx(slow)
