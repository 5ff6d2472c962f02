"""Modules of the text tower: who gets them, what learning a language may change, and what is kept of it."""

import itertools

import pytest
import torch

import babelclip
from babelclip.acquirers import Acquirers, Learnt
from babelclip.acquirers.base import SHARED
from babelclip.acquirers.kinds import KINDS
from babelclip.config import TaskSettings
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.data import Teacher
from babelclip.data.examples import base_lexicon
from babelclip.encoders import arranged, frozen
from babelclip.errors import FormatError, SettingError, UnknownNameError
from babelclip.methods import METHODS, Stack, compose
from babelclip.training import train_task
from towers import LANGUAGES, TEXTS, assert_close, begun, encode

OF_METHODS = [name for name in KINDS if name in METHODS]  # the projection comes with a multilingual lexicon
BY_LANGUAGE = [name for name in KINDS if KINDS[name].needs_language]


@pytest.fixture(autouse=True)
def texts_stand_in_bands(monkeypatch):
    """However few they are."""
    monkeypatch.setattr("babelclip.encoders.layout.BAND_COST", 0)


SETTINGS = TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, warm_up=0)


@pytest.fixture(scope="module")
def stages(deep, corpora):
    examples = [Teacher(deep).prepare(corpora[tag]) for tag in ("de", "ru")]
    return [Stage(one, [Gallery("test", one)]) for one in examples]


@pytest.mark.parametrize("name", list(KINDS))
def test_where_no_module_is_active_vectors_are_those_of_the_bare_tower_bit_for_bit(deep, name):
    bare, _ = encode(deep, None, TEXTS, LANGUAGES)
    assert torch.equal(encode(deep, begun(deep, name, languages=()), TEXTS, LANGUAGES)[0], bare)
    if name in BY_LANGUAGE:
        found, inserts = encode(deep, begun(deep, name), TEXTS, ["fr", None] * 3 + ["fr"])
        assert torch.equal(found, bare)
        assert inserts == []
    else:
        assert begun(deep, name).active([None])
    assert float((encode(deep, begun(deep, name), TEXTS, ["de"] * 7)[0] - bare).abs().max()) > 1e-2


def test_a_new_language_starts_with_the_tower_as_it_is(deep):
    bare, _ = encode(deep, None, TEXTS, ["de"] * 7)
    assert torch.equal(encode(deep, begun(deep, "lora", noise=0), TEXTS, ["de"] * 7)[0], bare)
    assert_close(encode(deep, begun(deep, "full", noise=0), TEXTS, ["de"] * 7)[0], bare)


@pytest.mark.parametrize("name", list(KINDS))
def test_a_new_language_leaves_what_is_there_and_goes_on_with_what_is_shared(deep, name):
    modules = begun(deep, name, languages=("de",))
    before, shared_alone = modules.tensors(), set(modules.kinds[name].modules) == {SHARED}
    modules.kinds[name].begin("ru", deep, torch.Generator().manual_seed(1))
    after = modules.tensors()
    assert (after.keys() == before.keys()) == shared_alone
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [*KINDS, "+".join(KINDS)])
def test_a_mixed_batch_gives_the_vectors_of_separate_batches(deep, name, training):
    modules = begun(deep, *name.split("+"), noise=0.1 if name != "+".join(KINDS) else 0.02)
    mixed, _ = encode(deep, modules, TEXTS, LANGUAGES, training=training)
    for language in set(LANGUAGES):
        own = [place for place, one in enumerate(LANGUAGES) if one == language]
        alone, _ = encode(deep, modules, [TEXTS[place] for place in own], [language] * len(own), training=training)
        assert_close(mixed[own], alone)
    if name in BY_LANGUAGE:
        nobody = [place for place, one in enumerate(LANGUAGES) if one in {None, "xx"}]
        assert_close(mixed[nobody], encode(deep, None, [TEXTS[place] for place in nobody], [])[0])
        others, _ = encode(deep, modules, TEXTS, ["ru" if one == "de" else one for one in LANGUAGES])
        assert float((others - mixed)[0].abs().max()) > 1e-3, "each language has its own"


@pytest.mark.parametrize("name", list(KINDS))
def test_what_a_task_trains_gets_gradients_and_nothing_else_does(deep, name):
    modules = begun(deep, name)
    trained = {key: tensor.requires_grad_() for key, tensor in modules.trained("ru", modules.kinds).items()}
    vectors, (insert, *_) = encode(deep, modules, TEXTS, ["ru"] * 7, training=True)
    pull = getattr(insert, "pull", None)
    (vectors.square().sum() + (0 if pull is None else pull.sum())).backward()
    assert {key.split("/")[1] for key in trained} == set(modules.kinds[name].modules) - {"de"}
    assert [key for key, tensor in trained.items() if tensor.grad is None or not tensor.grad.any()] == []
    assert not any(tensor.requires_grad for tensor in modules.kinds[name].modules.get("de", {}).values())


@pytest.mark.parametrize("name", list(KINDS))
def test_old_vectors_are_kept_only_where_nothing_that_they_depend_on_has_changed(deep, name):
    modules = begun(deep, name)
    before, _ = encode(deep, modules, TEXTS, ["de"] * 7)
    moving = 0
    for owner, tensors in modules.kinds[name].modules.items():
        for key in tensors:
            other = modules.copy()
            other.kinds[name].modules[owner][key] += 0.3 * torch.randn(tensors[key].shape)
            if not torch.equal(encode(deep, other, TEXTS, ["de"] * 7)[0], before):
                moving += 1
                assert not modules.same_for("de", other), (owner, key)
            elif name in BY_LANGUAGE:
                assert modules.same_for("de", other) == (owner == "ru"), (owner, key)
    assert moving >= min(5, len(modules.tensors()))


@pytest.fixture(scope="module", params=OF_METHODS)
def taught(request, deep, stages):
    """A stream of two languages with each method: its name, what it was after the first, and the stream."""
    stream = run_stream(babelclip.Student(deep), stages, method=request.param, settings=SETTINGS)
    first, _ = train_task(deep, Learnt(base_lexicon(deep)), stages[0].train, compose(request.param), SETTINGS)
    return request.param, first, stream


def test_a_language_never_changes_the_modules_of_another(taught):
    name, first, stream = taught
    before, after = (learnt.acquirers.kinds[name].modules for learnt in (first, stream.student.learnt))
    assert set(after) - set(before) == (set() if set(before) == {SHARED} else {"ru"})
    for owner, tensors in before.items():
        for key, tensor in tensors.items():
            assert torch.equal(after[owner][key], tensor) == (owner != SHARED), (owner, key)
    assert stream.student.learnt.acquirers.same_for("de", first.acquirers) == (name in BY_LANGUAGE)


def test_a_stream_of_each_method_ends_with_the_scores_of_its_student(taught, stages):
    """No old vector was taken for a new one; who must be told the language says so."""
    name, _, stream = taught
    (run,) = stream.runs
    assert run.method == f"cll+{name}"
    assert run.needs_language == (name in BY_LANGUAGE)
    assert run.module_bytes > 0
    for number, stage in enumerate(stages):
        assert run.scores["r_mean"][1][number] == pytest.approx(stream.student.evaluate(stage.train)["r_mean"])


def test_training_moves_every_module_away_from_where_it_began(taught, deep, stages):
    name, first, _ = taught
    settings = TaskSettings(**(SETTINGS.as_dict() | {"learning_rate": 1e-12}))
    start, _ = train_task(deep, Learnt(base_lexicon(deep)), stages[0].train, compose(name), settings)
    ends = first.acquirers.tensors()
    for key, tensor in start.acquirers.tensors().items():
        assert float((ends[key] - tensor).abs().max()) > 1e-3, key


def test_saved_modules_give_equal_vectors_and_damaged_ones_are_refused(taught, tmp_path):
    name, _, stream = taught
    stream.student.save(tmp_path / "learnt")
    back = babelclip.load(tmp_path / "learnt", device="cpu")
    assert back.learnt.acquirers.kinds[name].options == stream.student.learnt.acquirers.kinds[name].options
    for language in ("de", "ru", None):
        assert torch.equal(
            back.encode_texts(TEXTS, language=language), stream.student.encode_texts(TEXTS, language=language)
        )
    file = tmp_path / "learnt" / "modules.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        file.write_bytes(damaged)
        with pytest.raises(FormatError, match="modules.safetensors"):
            babelclip.load(tmp_path / "learnt", device="cpu")
    file.unlink()
    with pytest.raises(FormatError, match="modules.safetensors"):
        babelclip.load(tmp_path / "learnt", device="cpu")


@pytest.mark.parametrize("name", OF_METHODS)
def test_each_method_trains_in_half_precision(deep, stages, name, monkeypatch):
    attended, attend = set(), arranged.attend

    def look(query, key, value, **how):
        attended.update(one.dtype for one in (query, key, value))
        return attend(query, key, value, **how)

    for module in (arranged, frozen):
        monkeypatch.setattr(module, "attend", look)
    settings = TaskSettings(**(SETTINGS.as_dict() | {"precision": "bfloat16"}))
    learnt, report = train_task(deep, Learnt(base_lexicon(deep)), stages[0].train, compose(name), settings)
    assert report.precision == "bfloat16"
    assert attended == {torch.bfloat16}
    for key, tensor in learnt.acquirers.tensors().items():
        assert tensor.dtype == torch.float32
        assert bool(tensor.isfinite().all()), key


def test_kinds_together_give_the_same_vectors_in_any_order(deep):
    names = ("mla", "lora", "ptuning")
    modules = begun(deep, *names)
    expected, _ = encode(deep, modules, TEXTS, LANGUAGES)
    for order in itertools.permutations(names):
        swapped = Stack([METHODS[name]() for name in order])
        other = Acquirers(swapped.acquirers(deep.text_tower.shape))
        assert tuple(other.kinds) == order
        other.load(modules.tensors(), deep.device)
        assert_close(encode(deep, other, TEXTS, LANGUAGES)[0], expected)
        assert swapped.needs_language


@pytest.mark.parametrize(
    "name", ["lora(rank=0)", "ptuning(length=0)", "ptuning(inner=0)", "dualprompt(length=3)", "dualprompt(general=0)",
             "coda(components=0)", "coda(length=1)"],
)  # fmt: skip
def test_sizes_that_cannot_work_are_refused(name):
    with pytest.raises(SettingError, match=name.split("(")[0]):
        compose(name)


def test_an_unknown_variant_is_named():
    with pytest.raises(UnknownNameError, match="variant of dualprompt 'released'"):
        compose("dualprompt(variant=released)")


def test_a_stream_that_goes_on_with_other_options_is_refused(deep, stages):
    learnt, _ = train_task(deep, Learnt(base_lexicon(deep)), stages[0].train, compose("lora"), SETTINGS)
    with pytest.raises(SettingError, match="lora was learnt with"):
        train_task(deep, learnt, stages[1].train, compose("lora(rank=4)"), SETTINGS)
