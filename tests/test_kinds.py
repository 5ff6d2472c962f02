"""Each kind of modules against a slow obvious version of its formula, or against another library."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

import babelclip
from babelclip.acquirers import Acquirers, Learnt
from babelclip.acquirers.base import SHARED
from babelclip.acquirers.coda import orthonormal
from babelclip.cli.main import app
from babelclip.config import PAPER, TaskSettings
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.data.examples import base_lexicon
from babelclip.encoders.insert import TowerShape
from babelclip.encoders.tower import encode_batch, pad
from babelclip.errors import SettingError
from babelclip.methods import METHODS, compose
from babelclip.methods.available import list_methods
from babelclip.training import train_task
from towers import LANGUAGES, TEXTS, assert_close, begun, encode, slow_vector, text_model


@pytest.fixture(autouse=True)
def texts_stand_in_bands(monkeypatch):
    """However few they are."""
    monkeypatch.setattr("babelclip.encoders.layout.BAND_COST", 0)


def test_lora_equals_merged_weights(deep):
    modules = begun(deep, "lora")
    found, _ = encode(deep, modules, TEXTS, ["de"] * 7)
    weights, width = deep.text_tower.weights(), deep.text_tower.shape.width
    for layer, (place, part) in itertools.product(range(6), enumerate(("query", "key", "value"))):
        if part != "key":
            a, b = (modules.kinds["lora"].modules["de"][f"{layer}.{part}.{side}"] for side in "ab")
            weights[f"{layer}.attention_in.weight"][place * width : (place + 1) * width] += 8 / 8 * b @ a
    merged = SimpleNamespace(text_tower=deep.text_tower.with_weights(weights), device=deep.device)
    ids = pad(base_lexicon(deep).encode(TEXTS), deep.frame.eos)
    assert_close(found, encode_batch(merged, deep.token_table, ids, deep.frame.eos)[0])


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize(("rank", "alpha"), [(8, 8.0), (2, 6.0)])
def test_lora_equals_that_of_peft_at_its_start_and_in_its_vectors(deep, deep_folder, rank, alpha):
    peft = pytest.importorskip("peft")
    model = text_model(deep_folder)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(model, config)
    kind = compose(f"lora(rank={rank},alpha={alpha})").acquirers(deep.text_tower.shape)["lora"]
    kind.begin("de", deep, torch.Generator().manual_seed(0))
    starts = [tensor for key, tensor in kind.modules["de"].items() if key.endswith(".a")]
    theirs = [tensor for key, tensor in model.named_parameters() if "lora_A" in key]
    assert len(starts) == len(theirs) == 12
    for a, other in itertools.product(starts, theirs):
        assert a.shape == other.shape
        assert float(a.abs().max()) <= 32**-0.5 + 1e-6 >= float(other.abs().max())
    assert float(torch.cat(starts).std()) == pytest.approx(float(torch.cat(theirs).detach().std()), rel=0.15)
    chance = torch.Generator().manual_seed(0)
    for key, tensor in kind.modules["de"].items():
        layer, part, side = key.split(".")
        tensor.normal_(0, 0.3, generator=chance)
        inner = model.base_model.model.text_model.encoder.layers[int(layer)].self_attn
        theirs = getattr(inner, f"{part[0]}_proj")
        getattr(theirs, f"lora_{side.upper()}")["default"].weight.data.copy_(tensor)
    ids = pad(base_lexicon(deep).encode(TEXTS), deep.frame.eos)
    with torch.no_grad():
        expected = model(input_ids=ids).text_embeds
    found, _ = encode(deep, Acquirers({"lora": kind}), TEXTS, ["de"] * 7)
    assert_close(found, expected, 5e-6)


def test_prefix_tuning_equals_attention_place_by_place(deep):
    modules = begun(deep, "ptuning")
    found, _ = encode(deep, modules, TEXTS, LANGUAGES)
    for text, language, vector in zip(TEXTS, LANGUAGES, found, strict=True):
        prefixes = {}
        if language in {"de", "ru"}:
            own = {key: tensor.double() for key, tensor in modules.kinds["ptuning"].modules[language].items()}
            inner = (own["embedding"] @ own["in.weight"].T + own["in.bias"]).tanh()
            made = (inner @ own["out.weight"].T + own["out.bias"]).chunk(12, dim=1)
            prefixes = {layer: (made[2 * layer], made[2 * layer + 1]) for layer in range(6)}
            assert made[0].shape == (30, 32)
        assert_close(vector, slow_vector(deep, text, prefixes))


@pytest.mark.parametrize(("variant", "layers"), [("defined", (2, 3, 4)), ("as-released", (2, 3))])
@pytest.mark.parametrize("training", [False, True])
def test_dualprompt_equals_its_formulas(deep, training, variant, layers):
    """Papers 2.9 and 2.14 (8): the expert of the language in training, the nearest key otherwise, layer by layer."""
    method = METHODS["dualprompt"](variant=variant, pull=0.5)
    kind = method.acquirer(deep.text_tower.shape)
    queries = torch.stack([slow_vector(deep, text) for text in TEXTS])
    for number, language in enumerate(("ru", "de")):
        kind.begin(language, deep, torch.Generator().manual_seed(number))
        for layer in layers:  # keys between two texts, so that texts and layers differ in their choice
            one, other = queries[[layer, layer + 2]] / queries[[layer, layer + 2]].norm(dim=1, keepdim=True)
            kind.modules[language][f"{layer}.key"][0] = ((1 - 2 * number) * (one - other)).float()
    found, (insert,) = encode(deep, Acquirers({"dualprompt": kind}), TEXTS, LANGUAGES, training=training)
    chosen, pull = set(), torch.zeros(7, len(layers), dtype=torch.float64)
    for place, (text, language, query) in enumerate(zip(TEXTS, LANGUAGES, queries, strict=True)):
        prompts = {layer: kind.modules[SHARED][f"{layer}.prompt"] for layer in (0, 1)}
        for column, layer in enumerate(layers):
            keys = {tag: kind.modules[tag][f"{layer}.key"][0].double() for tag in ("de", "ru")}
            cosines = {tag: float(query @ key / query.norm() / key.norm()) for tag, key in keys.items()}
            expert = language if training and language in cosines else max(cosines, key=cosines.get)
            prompts[layer] = kind.modules[expert][f"{layer}.prompt"][0]
            pull[place, column] = 1 - cosines[expert]
            chosen.add((layer, expert))
        halves = {layer: (one[: len(one) // 2], one[len(one) // 2 :]) for layer, one in prompts.items()}
        assert {len(keys) for keys, _ in halves.values()} == {1, 8}
        assert_close(found[place], slow_vector(deep, text, halves), 5e-6)
    assert len(chosen) == 2 * len(layers), "both experts of every layer were chosen"
    assert insert.prefix(4 if variant == "as-released" else 5) is None
    assert_close(insert.pull, pull)
    terms = method.loss_terms(None, SimpleNamespace(inserts=[insert], gather=lambda one: one))
    assert float(terms["pull"]) == pytest.approx(0.5 * float(pull.mean()) * len(layers) / 3, rel=1e-5)


def test_dualprompt_is_refused_for_a_tower_that_has_no_layer_for_its_experts(tiny, examples):
    """Before anything is learnt, and where methods are listed; its modules alone are what fits."""
    student = babelclip.Student(tiny)
    for refuse in (
        lambda: student.learn("de", examples["de"], method="teir+dualprompt"),
        lambda: student.learn("de", examples["de"], method=compose("dualprompt")),
        lambda: run_stream(student, [Stage(examples["de"], [Gallery("test", examples["de"])])],
                           method="dualprompt", settings=PAPER),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=r"layers 2 to 4, and the last of the text tower's 2 layers is 1.*coda"):
            refuse()
    assert student.languages == []
    for layers, variant in itertools.product((1, 2, 3, 4), ("defined", "as-released")):
        shape, method = TowerShape(layers, 32, 2, 24), METHODS["dualprompt"](variant=variant)
        if layers > 2:
            method.check_tower(shape)
            assert len(method.acquirer(shape).expert_layers) == layers - 2
            continue
        with pytest.raises(SettingError, match=f"2 to {4 if variant == 'defined' else 3}, and the last"):
            method.check_tower(shape)
    told = {one.method: one.reason for one in list_methods(tiny.text_tower.shape)}
    assert [name for name, reason in told.items() if reason] == ["dualprompt"]
    assert "no language would get a prompt" in told["dualprompt"]
    modules = begun(tiny, "dualprompt")
    assert set(modules.tensors()) == {"dualprompt//0.prompt", "dualprompt//1.prompt"}
    _, (insert,) = encode(tiny, modules, TEXTS, LANGUAGES)
    assert METHODS["dualprompt"]().loss_terms(None, SimpleNamespace(inserts=[insert])) == {}


def test_the_command_refuses_such_a_tower_before_it_looks_at_any_picture(tiny_folder, captions, tmp_path, monkeypatch):
    monkeypatch.setattr("babelclip.data.Teacher.prepare", lambda *_: pytest.fail("a picture was looked at"))
    command = ["learn", "--language", "de", "--data", captions / "de.tsv", "--base", tiny_folder, "--shared",
               "--method", "dualprompt", "--device", "cpu", "--out", tmp_path / "out"]  # fmt: skip
    with pytest.raises(SettingError, match="the last of the text tower's 2 layers is 1"):
        CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)


def test_coda_equals_its_formula(deep):
    modules = begun(deep, "coda")
    found, (insert,) = encode(deep, modules, TEXTS, LANGUAGES, training=True)
    assert_close(encode(deep, modules, TEXTS, [None] * 7)[0], found)
    for text, vector in zip(TEXTS, found, strict=True):
        query, prompts = slow_vector(deep, text), {}
        for layer in range(5):
            prompt = torch.zeros(2, 32, dtype=torch.float64)
            for tag, m in itertools.product(("de", "ru"), range(5)):
                own = modules.kinds["coda"].modules[tag]
                attended, key = query * own[f"{layer}.attention"][m], own[f"{layer}.key"][m].double()
                prompt += attended @ key / attended.norm() / key.norm() * own[f"{layer}.prompt"][m]
            prompts[layer] = prompt.split(1)
        assert_close(vector, slow_vector(deep, text, prompts))
    assert insert.prefix(5) is None


def test_new_components_are_orthogonal_to_each_other_and_to_what_earlier_ones_have_become(deep):
    kind = begun(deep, "coda", languages=("ru",)).kinds["coda"]
    kind.begin("de", deep, torch.Generator().manual_seed(0))
    assert len(kind.modules["de"]) == 5 * 3
    for key, tensor in kind.modules["de"].items():
        new, old = tensor.flatten(1), kind.modules["ru"][key].flatten(1)
        assert_close(new @ new.T, torch.eye(5))
        assert_close(new @ old.T, torch.zeros(5, 5))
    full = orthonormal(3, torch.randn(5, 6), torch.Generator().manual_seed(0))
    assert_close(full.norm(dim=1), torch.ones(3))


def test_the_penalty_of_orthogonality_equals_its_formula_and_moves_new_components_alone(deep):
    modules = begun(deep, "coda")
    own = modules.kinds["coda"].modules
    for tensor in own["ru"].values():
        tensor.requires_grad_()
    _, inserts = encode(deep, modules, TEXTS, ["ru"] * 7, training=True)
    assert METHODS["coda"]().loss_terms(None, SimpleNamespace(inserts=inserts)) == {}
    (term,) = METHODS["coda"](orthogonal=0.5).loss_terms(None, SimpleNamespace(inserts=inserts)).values()
    expected = 0.0
    for layer, part in itertools.product(range(5), ("prompt", "key", "attention")):
        vectors = [one.detach().double().flatten() for tag in ("de", "ru") for one in own[tag][f"{layer}.{part}"]]
        for (i, one), (j, other) in itertools.product(enumerate(vectors), repeat=2):
            expected += (float(one @ other) - (i == j)) ** 2 / 10**2
    assert float(term.detach()) == pytest.approx(0.5 * expected, rel=1e-5)
    term.backward()
    assert all(tensor.grad.any() for tensor in own["ru"].values())
    assert not any(tensor.requires_grad for tensor in own["de"].values())


def test_components_stay_closer_to_orthogonal_where_that_has_a_weight(deep, deep_examples):
    settings, apart = TaskSettings(vocab_size=400, batch_size=8, epochs=2, learning_rate=1e-2, warm_up=0), {}
    for name in ("coda", "coda(orthogonal=10)"):
        learnt, _ = train_task(deep, Learnt(base_lexicon(deep)), deep_examples["de"], compose(name), settings)
        own = learnt.acquirers.kinds["coda"].modules["de"].values()
        apart[name] = sum(float((one.flatten(1) @ one.flatten(1).T - torch.eye(5)).square().mean()) for one in own)
    assert apart["coda(orthogonal=10)"] < apart["coda"] / 2


def test_sizes_of_clip_are_the_papers(deep):
    """Papers 1.12 and 2.9, for 12 layers of width 512; the reference's unused norm is left out."""
    shape, nowhere = TowerShape(12, 512, 8, 512), SimpleNamespace(device=torch.device("cpu"))
    expected = {
        "mla": 12 * (512 * 256 + 256 + 256 * 512 + 512),
        "lora": 12 * 2 * 2 * 8 * 512,
        "ptuning": 30 * 512 + 512 * 512 + 512 + (512 + 1) * 2 * 12 * 512,
        "dualprompt": 2 * 2 * 512 + 3 * (16 * 512 + 512),
        "coda": 5 * 5 * (2 * 512 + 512 + 512),
    }
    for name, count in expected.items():
        kind = METHODS[name]().acquirer(shape)
        kind.begin("de", nowhere, torch.Generator())
        assert sum(tensor.numel() for tensor in kind.trained("de").values()) == count, name
    assert expected["mla"] == 3_154_944


def test_the_whole_tower_is_every_weight_but_the_token_rows(deep, deep_folder):
    modules = begun(deep, "full", noise=0)
    theirs = text_model(deep_folder)
    ours = sum(tensor.numel() for tensor in modules.trained("de", modules.kinds).values())
    assert ours == sum(one.numel() for one in theirs.parameters()) - deep.token_table.numel()
    tower = deep.text_tower.with_weights(modules.kinds["full"].modules[SHARED])
    for key, weight in deep.text_tower.weights().items():
        assert_close(tower.weights()[key], weight, 1e-6)
