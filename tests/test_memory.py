"""Methods that keep texts of earlier languages: what is kept, and what is made of it."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from babelclip.acquirers import Learnt
from babelclip.continual import Gallery, Stage, Student, run_stream
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError, UnknownNameError
from babelclip.methods import METHODS, Task, compose
from babelclip.methods.base import VARIANTS
from babelclip.methods.memory import Memory, image_keys
from babelclip.objectives import contrastive
from babelclip.training import train_task
from test_contracts import SETTINGS, everything, teach

REPLAYS = [name for name in METHODS if METHODS[name].needs_memory]


def kept_of(stack, name):
    return next(method for method in stack.methods if method.name == name)._memory


@pytest.fixture
def tasks(tiny, examples):
    lexicon = base_lexicon(tiny)
    others = {tag: replace(one, owner=one.owner.flip(0)) for tag, one in examples.items()}  # text i is not of image i
    return [Task(tag, number, lexicon, torch.empty(0, dtype=torch.int64), examples=others[tag])
            for number, tag in enumerate(("de", "ru"))]  # fmt: skip


def test_every_text_of_the_stream_has_the_same_chance_to_be_kept(tasks):
    """Algorithm R: chi-square over 48 texts in 2,000 streams; also where the memory was stored in between."""
    size, rounds = 10, 2000
    counts = Counter()
    for seed in range(rounds):
        memory = Memory(size)
        memory.begin(tasks[0], seed)
        memory.offer(tasks[0], tasks[0].examples.teachers[:])
        if seed % 2:
            state, memory = memory.state_dict(), Memory(size)
            memory.load_state_dict(state)
        memory.offer(tasks[1], tasks[1].examples.teachers[:])
        assert len(memory) == size
        counts.update(zip(memory.languages, memory.texts, strict=True))
    expected = rounds * size / 48
    texts = [(task.language, text) for task in tasks for text in task.examples.texts]
    chi_square = sum((counts[text] - expected) ** 2 / expected for text in texts)
    # Counts of one draw without replacement vary by (1 - size / 48) less than a multinomial's; 47 degrees of freedom.
    assert 47 / 3 < chi_square / (1 - size / 48) < 2 * 47


def test_a_kept_text_keeps_its_own_target_image_and_language(tasks):
    memory = Memory(20)
    for task in tasks:
        memory.begin(task, 3)
        memory.offer(task, task.examples.teachers[:])
    assert set(memory.languages) == {"de", "ru"}
    memory.begin(tasks[1], 5)
    samples = memory.draw(7)
    assert len(samples.sequences) == 7
    lexicon = tasks[0].lexicon
    for place in range(7):
        tag, examples = samples.languages[place], tasks[samples.languages[place] == "ru"].examples
        text = next(i for i, one in enumerate(examples.texts) if lexicon.encode([one])[0] == samples.sequences[place])
        assert examples.texts[text] in memory.texts, tag
        assert torch.equal(samples.targets[place], examples.teachers[torch.tensor([text])][0])
        owner = examples.owner[text]
        assert torch.equal(samples.images[place], examples.images[owner[None]][0])
        assert samples.image_keys[place] == image_keys(examples.files)[owner]
    assert len(memory.draw(1000).sequences) == 20, "each at most once"


def test_every_text_of_the_memory_has_the_same_chance_to_be_drawn_and_draws_go_on_where_they_were_stored(tasks):
    memory = Memory(24)
    memory.begin(tasks[0], 1)
    memory.offer(tasks[0], tasks[0].examples.teachers[:])
    memory.begin(tasks[1], 2)
    counts, rounds = Counter(), 1000
    for _ in range(rounds):
        counts.update(tuple(ids) for ids in memory.draw(6).sequences)
    expected = rounds * 6 / 24
    assert len(counts) == 24
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values()) / (1 - 6 / 24)
    assert 23 / 3 < chi_square < 2 * 23
    again = Memory(24)
    again.load_state_dict(memory.state_dict())
    again.begin(tasks[1], 2)
    again.load_state_dict(memory.state_dict())
    assert again.draw(6).sequences == memory.draw(6).sequences


@pytest.mark.parametrize("name", REPLAYS)
def test_a_memory_holds_training_texts_and_nothing_else(tiny, examples, name, monkeypatch):
    """Each once, however many epochs; texts to validate and to test on, which a stream sees too, never."""
    stages, kept = [], []
    for tag in ("de", "ru"):
        whole = examples[tag]
        train, validation, test = (
            replace(whole, texts=whole.texts[part], english=whole.english[part], owner=whole.owner[part],
                    teachers=whole.teachers[part])
            for part in (slice(0, 12), slice(12, 18), slice(18, 24))
        )  # fmt: skip
        parts = [replace(one, images=whole.images[one.owner], files=[whole.files[i] for i in one.owner.tolist()],
                         owner=torch.arange(len(one.texts))) for one in (train, validation, test)]  # fmt: skip
        stages.append(Stage(parts[0], [Gallery("test", parts[2])], parts[1]))
    monkeypatch.setattr("babelclip.methods.replay.Memory", lambda size: kept.append(Memory(size)) or kept[-1])
    run_stream(Student(tiny), stages, method=f"{name}(memory=30)", settings=replace(SETTINGS, epochs=2))
    (memory,) = [one for one in kept if one.offered]
    assert sorted(memory.texts) == sorted(text for stage in stages for text in stage.train.texts)
    assert memory.offered == 24


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["er", "der"])
def test_the_terms_of_replay_are_those_of_the_formula(tiny, examples, name, variant):
    seen = {}
    chance = torch.Generator().manual_seed(0)  # the tiny model's vectors are alike: a wrong match would hardly be seen
    examples = {tag: replace(one, images=torch.randn(24, tiny.dim, generator=chance)) for tag, one in examples.items()}
    stack = compose(f"{name}(memory=12,weight=2,variant={variant})")
    first, _ = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, SETTINGS)
    method = stack.methods[-1]
    texts, targets = list(method._memory.texts), method._memory._targets.clone()
    there = first.encode(tiny, texts, "de")
    if name == "der":
        torch.testing.assert_close(targets, there, rtol=0, atol=1e-5)
    else:
        known = dict(zip(examples["de"].texts, examples["de"].teachers[:], strict=True))
        assert all(torch.equal(known[text], target) for text, target in zip(texts, targets, strict=True))

    inner = type(method).loss_terms

    def look(task, step):
        terms = inner(method, task, step)
        if not seen:
            seen.update(terms=terms, step=step, lexicon=task.lexicon.copy())
        return terms

    drawn = {}
    original = method._memory.draw
    method._memory.draw = lambda count: drawn.setdefault(len(drawn), original(count))
    method.loss_terms = look
    train_task(tiny, first, examples["ru"], stack, SETTINGS)
    samples, step = drawn[0], seen["step"]
    lexicon = seen["lexicon"]  # grown, and nothing has moved before the first step
    assert len(samples.sequences) == len(step.texts) == 8
    vectors = torch.cat([encode(tiny, lexicon, ids) for ids in samples.sequences])
    slow = 2 * sum(float(((v - t) ** 2).sum()) for v, t in zip(vectors, samples.targets, strict=True))
    expected = slow / samples.targets.numel()
    assert float(seen["terms"]["memory"].detach()) == pytest.approx(expected, rel=1e-4)
    if variant == "as-released":
        keys = image_keys(examples["ru"].files)[step.image_ids]
        texts = torch.cat([step.texts.detach(), torch.cat([encode(tiny, lexicon, ids) for ids in samples.sequences])])
        mixed = contrastive(texts, torch.cat([step.images, samples.images]), torch.cat([keys, samples.image_keys]),
                            torch.tensor(0.07))  # fmt: skip
        alone = contrastive(step.texts.detach(), step.images, step.image_ids, torch.tensor(0.07))
        assert float(seen["terms"]["mixed"].detach()) == pytest.approx(0.01 * float(mixed - alone), rel=1e-4)
        assert set(keys.tolist()) & set(samples.image_keys.tolist()), "an image of both languages is a match"
    else:
        assert set(seen["terms"]) == {"memory"}


def encode(tiny, lexicon, ids):
    from babelclip.encoders import encode_tokens

    return encode_tokens(tiny, lexicon.table, [ids])


def test_replayed_rows_move_under_teir_and_only_the_own_language_is_counted(tiny, examples):
    stack, plain = compose("er(memory=24)+teir"), compose("teir")
    first = teach(tiny, examples, stack, order=("de",))
    after = teach(tiny, examples, stack, order=("ru",), learnt=first).lexicon
    alone = teach(tiny, examples, plain).lexicon
    used = {tag: {i for ids in after.encode(examples[tag].texts) for i in ids} for tag in ("de", "ru")}
    german = torch.tensor(sorted(used["de"] - used["ru"]))
    assert (after.table[german] != first.lexicon.table[german]).any(dim=1).all()
    assert torch.equal(alone.table[german], teach(tiny, examples, compose("teir"), order=("de",)).lexicon.table[german])
    assert torch.equal(after.uses, alone.uses)


def test_agem_takes_out_what_would_raise_the_loss_on_the_memory(tiny, examples):
    stack = compose("agem(memory=24)")
    method = stack.methods[-1]
    cases = Counter()
    inner = type(method).gradient_terms

    def look(task, step):
        reference = {}

        def gradient(loss):
            reference.update(original(loss))
            return reference

        original = step.gradient
        object.__setattr__(step, "gradient", gradient)
        own = {name: one.grad.clone() for name, one in step.parameters.items()}
        terms = inner(method, task, step)
        if reference:
            before = sum(float((own[name] * one).sum()) for name, one in reference.items())
            after = sum(float(((own[name] + terms.get(name, 0)) * one).sum()) for name, one in reference.items())
            scale = sum(float(one.square().sum()) for one in reference.values())
            assert after == pytest.approx(max(before, 0.0), abs=1e-5 * scale)
            assert bool(terms) == (before < 0)
            cases[before < 0] += 1
        return terms

    method.gradient_terms = look
    settings = replace(SETTINGS, epochs=8)
    learnt, _ = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, settings)
    assert not cases, "there is no memory in the first task"
    train_task(tiny, learnt, examples["ru"], stack, settings)
    assert sum(cases.values()) == 24
    assert cases[True]


@pytest.mark.parametrize("name", REPLAYS)
def test_another_seed_keeps_other_texts(tiny, examples, name):
    kept = []
    for seed in (0, 0, 1):
        stack = compose(f"{name}(memory=5)")
        settings = replace(SETTINGS, seed=seed)
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, settings)
        kept.append(kept_of(stack, name).texts)
    assert kept[0] == kept[1] != kept[2]


def test_values_that_cannot_work_are_refused():
    with pytest.raises(SettingError, match=r"er\(memory=1\). It must be at least 2"):
        compose("er(memory=1)")
    with pytest.raises(UnknownNameError, match=r"unknown variant of der 'released'.*Did you mean 'as-released'"):
        compose("der(variant=released)")
    with pytest.raises(SettingError, match=r"er\(memory=many\). memory must be of type int"):
        compose("er(memory=many)")


@pytest.mark.parametrize("name", REPLAYS)
def test_what_is_remembered_changes_what_the_next_language_learns(tiny, examples, name):
    """Perturb an old parameter: something must change."""
    results = []
    for shift in (0.0, 0.5):
        stack = compose(f"{name}(memory=24)")
        first = teach(tiny, examples, stack, order=("de",))
        memory = kept_of(stack, name)
        memory._targets = memory._targets + shift
        results.append(everything(teach(tiny, examples, stack, order=("ru",), learnt=first))["table"])
    assert not torch.equal(*results)
