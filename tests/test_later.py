"""A language learnt after others: in another call, with another method, or once more."""

import re
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import babelclip
from babelclip.acquirers import Learnt
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.data.joined import join_examples
from babelclip.errors import SettingError
from babelclip.lexicon import Wish
from babelclip.methods import METHODS, compose
from babelclip.packs import Polyglot, learn_pack
from babelclip.training import Validation, train_task
from test_contracts import SETTINGS, everything, same, teach
from test_regularisers import last


def small(name):
    """A method that remembers, so that a tiny stream shows what it does."""
    return f"{name}(memory=30)" if METHODS[name].needs_memory else {"si": "si(strength=100)"}.get(name, name)


REMEMBERING = [small(name) for name in METHODS if METHODS[name]().remembers]


@pytest.mark.parametrize("method", REMEMBERING)
def test_a_language_learnt_later_is_learnt_as_in_one_stream(tiny, tiny_folder, examples, tmp_path, method):
    """What methods keep of a language is saved with it."""
    halves = babelclip.Student(tiny)
    halves.learn("de", examples["de"], method=method, settings=SETTINGS)
    halves.save(tmp_path / "de")
    halves = babelclip.load(tmp_path / "de", base=tiny_folder, device="cpu")
    halves.learn("ru", examples["ru"], method=method, settings=SETTINGS)
    whole, plain = (teach(tiny, examples, compose(name)) for name in (method, "cll"))
    same(everything(halves.learnt), everything(whole))
    assert not torch.equal(whole.lexicon.table, plain.lexicon.table)
    same(dict(halves.learnt.remembered), dict(whole.remembered))


def test_what_one_method_remembers_outlives_a_language_learnt_without_it(tiny, examples):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], method="gpm", settings=SETTINGS)
    kept = dict(student.learnt.remembered)
    assert "gpm.de" in kept
    student.learn("ru", examples["ru"], method="cll", settings=SETTINGS)
    same(dict(student.learnt.remembered), kept)


def test_languages_learnt_without_a_method_that_remembers_are_named(tiny, examples):
    student, said = babelclip.Student(tiny), []
    for tag, method in (("de", "counts"), ("ru", "gpm"), ("uk", "counts+gpm"), ("uz", "teir"), ("kk", "counts+gpm")):
        some = replace(examples["ru" if tag != "de" else tag], language=tag)
        student.learn(tag, some, method=method, settings=SETTINGS, note=said.append)
        said.append(tag)
    end = "learnt without it, they are not protected"
    assert said == [
        "de", f"gpm remembers nothing of de: {end}", "ru", f"gpm remembers nothing of de: {end}",
        f"counts remembers nothing of ru: {end}", "uk", "uz", f"gpm remembers nothing of de, uz: {end}",
        f"counts remembers nothing of ru, uz: {end}", "kk",
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="counts remembers nothing of ru, uz"):
        student.learn("ky", replace(examples["ru"], language="ky"), settings=SETTINGS)


def test_a_memory_of_another_size_is_refused(tiny, examples):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], method="er(memory=30)", settings=SETTINGS)
    with pytest.raises(SettingError, match=r"a memory of 20 texts cannot go on from one of 30. Say memory=30"):
        student.learn("ru", examples["ru"], method="er(memory=20)", settings=SETTINGS)
    assert student.languages == ["de"]


def test_a_vocabulary_of_all_languages_cannot_be_learnt_with_one(tiny, examples):
    for method, said in (
        ("oracle", "'oracle' learns from all languages of a stream before the first"),
        ("joint", "'joint' learns several languages at once, and 'de' is one"),
    ):
        with pytest.raises(SettingError, match=said):
            babelclip.Student(tiny).learn("de", examples["de"], method=method, settings=SETTINGS)
        with pytest.raises(SettingError, match=said):
            learn_pack(Polyglot(tiny, base_lexicon(tiny)), "de", examples["de"], method=method, settings=SETTINGS)


def test_the_command_says_what_a_method_knows_nothing_of(captions, tiny_folder, tmp_path):
    def learn(tag, base, method):
        command = ["learn", "--language", tag, "--data", captions / f"{tag}.tsv", "--base", base, "--method", method,
                   "--out", tmp_path / f"{tag}-{method}", "--set", "epochs=1", "--set", "vocab_size=300"]  # fmt: skip
        done = CliRunner().invoke(app, [*map(str, command), "--shared"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    said = "note: gpm remembers nothing of de: learnt without it, they are not protected"
    assert said not in learn("de", tiny_folder, "gpm")
    assert said not in learn("ru", tmp_path / "de-gpm", "gpm")
    learn("de", tiny_folder, "cll")
    (tmp_path / "ru-gpm").rename(tmp_path / "first")
    assert said in learn("ru", tmp_path / "de-cll", "gpm")


def test_a_language_learnt_again_is_no_earlier_language_of_itself(tiny, examples):
    """Its rows move as they did at first, and count once for the languages that follow."""
    stack = compose("counts")
    first = teach(tiny, examples, stack, order=("de",))
    moved = {}
    for name, method in (("again", stack), ("fresh", compose("counts"))):
        found, _ = train_task(tiny, first, examples["de"], method, SETTINGS, again=True)
        moved[name] = found.lexicon.table
        same(dict(found.remembered), dict(first.remembered))
    assert torch.equal(moved["again"], moved["fresh"])
    assert not torch.equal(moved["again"], first.lexicon.table)


def test_a_language_learnt_again_is_cut_as_it_was_trained(tiny, tiny_folder, examples, tmp_path):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=replace(SETTINGS, vocab_size=300))
    student.learn("nl", replace(examples["de"], language="nl"), settings=replace(SETTINGS, merges_from="remains"))
    texts, lexicon = examples["de"].texts, student.lexicon
    assert lexicon.encode(texts, "de") != lexicon.encode(texts)
    student.learn("de", examples["de"], settings=SETTINGS, again=True)
    assert student.lexicon.encode(texts, "de") == student.lexicon.encode(texts)
    assert student.languages == ["de", "nl"]
    student.save(tmp_path / "out")
    back = babelclip.load(tmp_path / "out", base=tiny_folder, device="cpu")
    assert back.lexicon.snapshots == student.lexicon.snapshots
    assert torch.equal(back.encode_texts(texts, language="de"), student.encode_texts(texts, language="de"))


def test_what_cannot_be_learnt_again_says_so(tiny, examples):
    student = babelclip.Student(tiny)
    with pytest.raises(SettingError, match=r"to be learnt again, but the languages learnt so far are none. Start"):
        student.learn("de", examples["de"], settings=SETTINGS, again=True)
    student.learn("de", examples["de"], settings=SETTINGS)
    with pytest.raises(SettingError, match=r"'de' was learnt before \(languages: de\). Go on with it \(again=True"):
        student.learn("de", examples["de"], settings=SETTINGS, note=str)


@pytest.mark.parametrize("method", ["full", "mla(shared=true)", "dualprompt", "mla", "lora"])
def test_a_task_leaves_the_modules_of_other_methods_alone(deep, deep_examples, method):
    """Those that all languages share, and a language's own where it is learnt again."""
    first = teach(deep, deep_examples, compose(method), order=("de",))
    for tag, again in (("ru", False), ("de", True)):
        found, _ = train_task(deep, first, deep_examples[tag], compose("cll"), SETTINGS, again=again)
        same(found.acquirers.tensors(), first.acquirers.tensors())
        assert not torch.equal(found.lexicon.table[: len(first.lexicon.table)], first.lexicon.table)


@pytest.mark.parametrize("method", ["dualprompt", "coda", "mla"])
def test_a_language_that_comes_new_beside_one_learnt_again_gets_modules(deep, deep_examples, method):
    first = teach(deep, deep_examples, compose(method), order=("de",))
    both = join_examples([deep_examples["de"], deep_examples["ru"]], "mul")
    found, _ = train_task(deep, first, both, compose(method), SETTINGS, again=True)
    assert {"de", "ru"} <= set(found.acquirers.kinds[method].modules)


def test_averaging_leaves_rows_alone_that_nothing_used_before_whatever_vocabulary_there_is(tiny, examples):
    """Also rows that were made with one vocabulary for all languages."""
    lexicon = base_lexicon(tiny).copy()
    lexicon.complete_with([*examples["de"].texts, *examples["ru"].texts], Wish(400), initialiser="normal",
                          generator=torch.Generator())  # fmt: skip
    stack = compose("coma")
    first = teach(tiny, examples, stack, order=("de",), learnt=Learnt(lexicon))
    ends, inner = {}, type(last(stack)).after_task

    def look(task, trained):
        ends.update(rows=trained.parameters["rows"].detach().clone(), ids=trained.row_ids)
        return inner(last(stack), task, trained)

    last(stack).after_task = look
    second = teach(tiny, examples, stack, order=("ru",), learnt=first)
    new = first.lexicon.uses[ends["ids"]] == 1
    assert new.any()
    assert torch.equal(second.lexicon.table[ends["ids"]][new], ends["rows"][new])
    assert not torch.equal(second.lexicon.table[ends["ids"]][~new], ends["rows"][~new])


def test_what_is_kept_of_a_task_is_of_the_weights_that_averaging_leaves(tiny, examples):
    stack = compose("der+coma")
    learnt = teach(tiny, examples, stack)
    memory = next(one for one in stack.methods if one.name == "der")._memory
    for tag, near in (("ru", True), ("de", False)):  # rows of German were changed by Russian
        places = [place for place, language in enumerate(memory.languages) if language == tag]
        vectors = learnt.encode(tiny, [memory.texts[place] for place in places], tag)
        assert torch.allclose(memory._targets[places], vectors, atol=1e-5) == near


def test_the_last_weights_are_those_before_averaging(tiny, examples):
    """What stands in the parameters after looking at them is what was kept."""
    seen, stack = [], compose("oewc(variant=as-released)+coma")
    teach(tiny, examples, stack, order=("de",))
    method = next(one for one in stack.methods if one.name == "oewc")
    inner = type(method).after_task

    def look(task, trained):
        seen.append(trained.parameters["rows"].detach().clone())
        with trained.last_weights():
            seen.append(trained.parameters["rows"].detach().clone())
        inner(method, task, trained)
        seen.append(trained.parameters["rows"].detach().clone())
        return {}

    method.after_task = look
    first = teach(tiny, examples, stack, order=("de",))
    seen.clear()
    second = teach(tiny, examples, stack, order=("ru",), learnt=first)
    kept, before, after = seen
    assert torch.equal(kept, after)
    assert not torch.equal(kept, before)
    assert bool((second.lexicon.table[:, None] == kept[:1]).all(-1).any()), "and it is what the table gets"


def test_the_path_does_not_count_the_way_back_to_the_epoch_that_was_kept(tiny, examples):
    """Between two stages; nothing else moves as far as a step does."""
    moves, scores = [], iter([1.0, 0.9, 0.8, 0.9])
    stack = compose("nlt(epochs=3,rate=0.01)+le(epochs=1,rate=1e-6)+si")
    method = next(one for one in stack.methods if one.name == "si")
    inner = type(method)._walk

    def walk(name, now):
        former = method._path.get("former/" + name)
        moves.append(0.0 if former is None else float((now - former).abs().max()))
        inner(method, name, now)

    method._walk = walk
    train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, replace(SETTINGS, epochs=1),
               validation=Validation(lambda _: next(scores)))  # fmt: skip
    assert max(moves[:9]) > 1e-3
    assert max(moves[10:]) < 1e-4, "the second stage hardly moves"


@pytest.mark.parametrize(
    ("method", "setting", "value"), [("cross-lingual", "cross_modal", 0.0), ("packs", "idle_decay", False)]
)
def test_a_setting_that_a_method_makes_cannot_be_changed_in_vain(method, setting, value):
    said = re.escape(f"the setting {setting!r} has no effect: {method!r} sets it to {value!r}")
    with pytest.raises(SettingError, match=said):
        compose(method).refuse([setting])
    compose("teir").refuse(["initialiser"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shared", "--set", "scale_at=gradient"], "the setting 'scale_at' has no effect: 'counts' sets it to 'up"),
        (["--shared", "--method", "oracle"], "'oracle' learns from all languages of a stream before the first"),
        (["--method", "joint"], "'joint' learns several languages at once, and 'de' is one"),
        (["--shared", "--rows", "int8"], "--rows is for a pack, but what is learnt belongs to several languages"),
        (["--shared", "--licence", "CC0"], "--licence is for a pack, but what is learnt belongs to several languages"),
        (["--shared", "--replace"], "--replace is for a pack, but what is learnt belongs to several languages"),
    ],
)
def test_what_would_have_no_effect_is_refused(captions, tiny_folder, tmp_path, options, said):
    command = ["learn", "--language", "de", "--data", captions / "de.tsv", "--base", tiny_folder, *options,
               "--out", tmp_path / "out"]  # fmt: skip
    with pytest.raises(SettingError, match=said):
        CliRunner().invoke(app, [*map(str, command)], catch_exceptions=False)
    assert not list(tmp_path.glob("out/*.*"))


def test_no_words_are_learnt_where_a_language_model_brings_them(captions, tiny_folder, language_model, tmp_path):
    command = ["learn", "--language", "de", "--data", captions / "de.tsv", "--base", tiny_folder, "--lexicon",
               language_model, "--out", tmp_path / "out", "--set", "min_count=7"]  # fmt: skip
    with pytest.raises(SettingError, match="'min_count' has no effect: the vocabulary is complete, nothing is added"):
        CliRunner().invoke(app, [*map(str, command)], catch_exceptions=False)
