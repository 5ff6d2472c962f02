"""Methods that hold old parameters, against their definitions written out."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from babelclip.acquirers import Learnt
from babelclip.data import Teacher
from babelclip.data.examples import base_lexicon
from babelclip.encoders.tower import encode_batch, encode_tokens
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Tokens
from babelclip.methods import Task, compose
from babelclip.methods.importance import Importance
from babelclip.methods.oewc import mean_squared_gradients
from babelclip.methods.si import SI
from babelclip.objectives import contrastive, distillation
from babelclip.training import Validation, train_task
from test_contracts import SETTINGS, teach


def last(stack):
    return stack.methods[-1]


@pytest.mark.parametrize("name", ["cll", "mla", "lora", "ptuning", "dualprompt", "full"])
def test_english_is_held_to_what_the_same_modules_made_of_it(deep, corpora, name):
    """Before the first step of a task the term is 0; with prompts of ``coda`` the new language's take part in it."""
    stack, seen = compose(f"{name}+lwf"), []
    examples = {tag: Teacher(deep).prepare(corpora[tag]) for tag in ("de", "ru")}
    examples["en"] = replace(examples["de"], language="en", texts=examples["de"].english)
    (method,) = (one for one in stack.methods if one.name == "lwf")
    inner = type(method).loss_terms

    def look(task, step):
        terms = inner(method, task, step)
        seen.append((task.language, float(terms["old"].detach()) if terms else None))
        return terms

    method.loss_terms = look
    teach(deep, examples, stack, order=("en", "de", "ru"))
    assert {language for language, term in seen if term is None} == {"en"}
    first = {language: next(term for tag, term in seen if tag == language) for language in ("de", "ru")}
    last = [term for language, term in seen if language == "ru"][-1]
    assert max(first.values()) < 1e-4 * max(last, 1e-3) or max(first.values()) < 1e-9, (first, last)
    assert last > 0


def test_fisher_information_is_the_mean_of_squared_batch_gradients_on_the_kept_weights(tiny, examples):
    """Against autograd over the dense table; with the epoch that was kept and its temperature, not the last ones."""
    stack, kept = compose("oewc"), {}
    settings = replace(SETTINGS, epochs=2, cross_modal=1.0)  # the temperature counts
    temperatures = []
    inner = type(last(stack)).after_task

    def look(task, trained):
        kept.update(rows=trained.parameters["rows"].detach().clone(), ids=trained.row_ids, task=task)
        return inner(last(stack), task, trained)

    last(stack).after_task = look
    scores = iter([1.0, 0.0])
    learnt, report = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, settings,
                                validation=Validation(lambda _: next(scores)),
                                on_step=lambda step: temperatures.append(step.temperature))  # fmt: skip
    assert report.epoch == 1
    steps = len(temperatures) // 2
    then, last_one = temperatures[steps - 1], temperatures[-1]
    assert abs(then - last_one) > 0.005, "another temperature would go unnoticed"
    torch.testing.assert_close(learnt.lexicon.table[kept["ids"]], kept["rows"], rtol=0, atol=0)
    lexicon, de = learnt.lexicon, examples["de"]
    sequences = lexicon.encode(de.texts)
    expected = torch.zeros_like(lexicon.table)
    for start in (0, 8, 16):
        places = torch.arange(start, start + 8)
        longest = max(len(sequences[i]) for i in places)
        ids = torch.tensor([sequences[i] + [lexicon.eos] * (longest - len(sequences[i])) for i in places])
        table = lexicon.table.clone().requires_grad_()
        texts, _ = encode_batch(tiny, table, ids, lexicon.eos)
        images, temperature = de.images[de.owner[places]], torch.tensor(then)
        loss = distillation(texts, de.teachers[places]) + contrastive(texts, images, de.owner[places], temperature)
        loss.backward()
        expected += table.grad.square() / 3
    found = torch.zeros_like(lexicon.table)
    fisher = last(stack)._fisher
    found[fisher.row_ids] = fisher._of["rows"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
    assert float(expected.max()) > 0


def test_entries_that_overflow_in_one_batch_count_in_the_others():
    gradients = iter([torch.tensor([1.0, 2.0]), torch.tensor([torch.inf, torch.nan]), torch.tensor([3.0, 0.0])])
    trained = SimpleNamespace(batches=lambda: range(3), gradients=lambda _: {"rows": next(gradients)})
    assert mean_squared_gradients(trained)["rows"].tolist() == [5.0, 2.0]


def test_a_task_of_stages_is_held_to_where_the_task_began(tiny, examples):
    """Also in its second stage, whose first step stands where the first stage ended."""
    stack = compose("nlt(epochs=1)+le(epochs=1)+oewc")
    first = teach(tiny, examples, stack, order=("de",))
    seen, inner = [], type(last(stack)).loss_terms

    def look(task, step):
        seen.append((step.start["rows"], step.rows.detach().clone(), task.lexicon.table[step.row_ids]))
        return inner(last(stack), task, step)

    last(stack).loss_terms = look
    teach(tiny, examples, stack, order=("ru",), learnt=first)
    assert len(seen) == 6
    for start, _, _ in seen:
        assert torch.equal(start, seen[0][1])
    assert not torch.equal(seen[3][1], seen[0][1]), "the second stage goes on from the first"
    assert torch.equal(seen[3][1], seen[3][2])


def test_as_released_takes_the_last_weights_for_the_fisher_information(tiny, examples):
    found = []
    settings = replace(SETTINGS, epochs=2)
    for variant in ("defined", "as-released"):
        for best in (1, 2):
            stack = compose(f"oewc(variant={variant})")
            scores = iter([1.0, 0.0] if best == 1 else [0.0, 1.0])
            train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, settings,
                       validation=Validation(lambda _, scores=scores: next(scores)))  # fmt: skip
            found.append(last(stack)._fisher._of["rows"])
    defined_first, defined_last, released_first, released_last = found
    assert torch.equal(released_first, released_last)
    assert torch.equal(defined_last, released_last)
    assert not torch.equal(defined_first, defined_last)


def test_the_path_ends_with_the_last_epoch_whichever_is_kept(tiny, examples):
    found = []
    for scores in ([1.0, 0.0], [0.0, 1.0]):
        stack, left = compose("si"), iter(scores)
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], stack, replace(SETTINGS, epochs=2),
                   validation=Validation(lambda _, left=left: next(left)))  # fmt: skip
        found.append(last(stack)._importance._of["rows"])
    assert torch.equal(*found)


def test_fisher_information_of_earlier_tasks_counts_gamma_times_and_what_is_not_finite_not_at_all():
    method = compose("oewc(gamma=0.5)").methods[-1]

    class Trained:
        row_ids = torch.tensor([4])

        def batches(self):
            return iter([1.0, 3.0])

        def gradients(self, batch):
            return {"rows": torch.tensor([[batch, float("nan"), float("inf") if batch > 1 else 0.0]])}

    for expected in (5.0, 7.5):
        method.after_task(Task("de", 0, None, torch.empty(0)), Trained())
        assert method._fisher._of["rows"].tolist() == [[expected, 0.0, 0.0]]


def test_importance_adds_up_by_row_and_by_name():
    importance = Importance()
    importance.add({"rows": torch.tensor([[1.0], [0.0], [2.0]]), "full//w": torch.ones(2)}, torch.tensor([2, 5, 9]))
    importance.add({"rows": torch.tensor([[4.0], [8.0]]), "full//w": torch.ones(2)}, torch.tensor([2, 7]), keep=0.5)
    assert importance.row_ids.tolist() == [2, 7, 9], "row 5 matters to nobody"
    found = importance.aligned({"rows": torch.zeros(5, 1), "full//w": torch.zeros(2), "new": torch.zeros(1)},
                               torch.tensor([0, 2, 7, 8, 9]))  # fmt: skip
    assert found["rows"].flatten().tolist() == [0, 4.5, 8, 0, 1]
    assert found["full//w"].tolist() == [1.5, 1.5]
    assert set(found) == {"rows", "full//w"}
    here, parameters = torch.tensor([2, 7, 9]), {"rows": torch.zeros(3, 1), "full//w": torch.zeros(2)}
    assert importance.aligned(parameters, here)["rows"].flatten().tolist() == [4.5, 8, 1]
    importance.add({"rows": torch.tensor([[-5.0], [1.0]]), "full//w": torch.tensor([-2.0, 1.0])}, torch.tensor([2, 7]))
    assert importance.aligned(parameters, here)["rows"].flatten().tolist() == [0, 9, 1], "nothing counts less than 0"
    assert importance.aligned(parameters, here)["full//w"].tolist() == [0, 2.5]
    again = Importance()
    again.load_state_dict(importance.state_dict())
    assert again.row_ids.tolist() == [7, 9]
    assert torch.equal(again._of["rows"], importance._of["rows"])


@pytest.mark.parametrize("name", ["oewc", "si(strength=100)"])
def test_the_penalty_is_the_weighted_square_of_the_distance(tiny, examples, name):
    stack = compose(name)
    first = teach(tiny, examples, stack, order=("de",))
    seen = []
    inner = type(last(stack)).loss_terms

    def look(task, step):
        terms = inner(last(stack), task, step)
        weights = last(stack)._fisher if name == "oewc" else last(stack)._importance
        slow = 0.0
        for row, weight in zip(weights.row_ids.tolist(), weights._of["rows"], strict=True):
            place = step.row_ids.tolist().index(row)
            distance = step.rows[place].detach() - task.lexicon.table[row]
            slow += float((weight * distance**2).sum())
        seen.append((float(terms["penalty"].detach()), last(stack).strength * slow))
        return terms

    last(stack).loss_terms = look
    teach(tiny, examples, stack, order=("ru",), learnt=first)
    assert seen[0] == (0.0, 0.0), "at the start nothing has moved"
    assert seen[-1][0] > 0
    for found, expected in seen:
        assert found == pytest.approx(expected, rel=1e-4)


def test_synaptic_intelligence_follows_the_path_that_training_took():
    """On a quadratic loss, all steps written out; one overflows and is left out, two entries move the wrong way."""
    method = SI(strength=0.5, xi=0.01)
    task = Task("de", 1, None, torch.empty(0))
    known = torch.tensor([[0.3, 0.0, 0.1, 90.0]])
    method._importance.add({"rows": known}, torch.tensor([4]))
    start, target = torch.tensor([[1.0, -1.0, 1.0, 1.0]]), torch.tensor([[0.0, 2.0, 0.0, 0.0]])
    theta, omega = start.clone(), torch.zeros(1, 4)
    method.before_task(task)
    for rate in (0.1, 0.3, None, 0.2):
        own = 2 * (theta - target)
        penalty = 2 * 0.5 * known * (theta - start)
        parameter = theta.clone().requires_grad_()
        parameter.grad = own + penalty if rate else torch.tensor([[float("inf"), float("nan"), -float("inf"), 0.0]])
        step = SimpleNamespace(parameters={"rows": parameter}, start={"rows": start}, row_ids=torch.tensor([4]))
        assert method.gradient_terms(task, step) == {}
        if rate:
            change = -rate * (own + penalty) * torch.tensor([[1.0, 1.0, -1.0, 0.0]])
            change[0, 3] = rate
            omega -= own * change
            theta = theta + change

    class Trained:
        row_ids, parameters = torch.tensor([4]), {"rows": theta}

        def __init__(self):
            self.start = {"rows": start}

        def last_weights(self):
            return nullcontext()

    method.after_task(task, Trained())
    expected = (known + omega / ((theta - start) ** 2 + 0.01)).clamp(min=0)
    torch.testing.assert_close(method._importance._of["rows"], expected)
    assert expected[0, 2] == 0, "what has raised the loss counts nothing"
    assert 0 < expected[0, 3] < 90, "or less than before"


def test_english_sides_keep_the_vectors_of_before(tiny, examples):
    stack = compose("lwf(weight=3)")
    first = teach(tiny, examples, stack, order=("de",))
    english = examples["ru"].english
    before = first.encode(tiny, english)
    seen = []
    inner = type(last(stack)).loss_terms

    def look(task, step):
        terms = inner(last(stack), task, step)
        table = task.lexicon.table.clone()
        table[step.row_ids] = step.rows.detach()
        now = encode_tokens(tiny, table, task.lexicon.encode(english))
        slow = 3 * float((now - before)[step.places].square().mean())
        seen.append((float(terms["old"].detach()), slow))
        return terms

    last(stack).loss_terms = look
    teach(tiny, examples, stack, order=("ru",), learnt=first)
    assert len(seen) == 3
    for found, expected in seen:
        assert found == pytest.approx(expected, rel=1e-4)
    assert seen[-1][0] > 1e-6


def test_projection_knows_rows_by_its_state(tiny, examples):
    stack = compose("gpm")
    first = teach(tiny, examples, stack, order=("de",))
    forgetful = compose("gpm")
    forgetful.load_state_dict({"gpm.de": torch.empty(0, dtype=torch.int64)})
    found, plain = (teach(tiny, examples, one, order=("ru",), learnt=first) for one in (forgetful, compose("cll")))
    assert torch.equal(found.lexicon.table, plain.lexicon.table)
    assert not torch.equal(teach(tiny, examples, stack, order=("ru",), learnt=first).lexicon.table, plain.lexicon.table)


def test_projection_leaves_rows_of_earlier_languages_alone_bit_for_bit(tiny, examples):
    stack = compose("gpm")
    first = teach(tiny, examples, stack, order=("de",)).lexicon
    second = teach(tiny, examples, stack, order=("ru",), learnt=Learnt(first)).lexicon
    used = torch.tensor(sorted({i for ids in first.encode(examples["de"].texts) for i in ids}))
    assert torch.equal(second.table[used], first.table[used])
    assert not torch.equal(second.table[: len(first.table)], first.table), "rows that no language used decay as ever"


def test_projection_protects_the_rows_of_all_earlier_languages(tiny):
    method, lexicon = compose("gpm").methods[-1], base_lexicon(tiny)
    for tag, used in (("de", [3, 5]), ("nl", [5, 8])):
        tokens = Tokens(torch.tensor(used, dtype=torch.int32), torch.tensor([0, len(used)]))
        method.after_task(Task(tag, 0, lexicon, tokens.used(), tokens=tokens), None)
    specials = [lexicon.bos, lexicon.eos]
    for tag, still in (("ru", [3, 5, 8, *specials]), ("de", [5, 8, *specials])):  # German once more
        scale = method.row_scale(Task(tag, 2, lexicon, torch.tensor([8, 9])))
        assert (scale.gradient == 0).nonzero().flatten().tolist() == sorted(still)
        assert torch.equal(scale.gradient, scale.decay)
        assert scale.gradient.unique().tolist() == [0, 1]


def test_averaging_goes_half_of_the_way_for_what_was_there_before(tiny, examples):
    stack = compose("coma(share=0.25)")
    kept, ends = {}, {}
    inner = type(last(stack)).after_task

    def look(task, trained):
        ends.update(rows=trained.parameters["rows"].detach().clone(), ids=trained.row_ids)
        ends["uses"] = task.lexicon.uses.clone()
        kept.update(trained.start)
        return inner(last(stack), task, trained)

    last(stack).after_task = look
    after = teach(tiny, examples, stack).lexicon.table[ends["ids"]]
    old = ends["uses"][ends["ids"]] > 1
    torch.testing.assert_close(after[old], 0.75 * kept["rows"][old] + 0.25 * ends["rows"][old])
    assert torch.equal(after[~old], ends["rows"][~old])
    assert old.any()
    assert (~old).any()


def test_shared_modules_are_held_and_own_ones_are_not(tiny, examples):
    shared, own = compose("full+oewc"), compose("mla+oewc")
    for stack, there in ((shared, True), (own, False)):
        teach(tiny, examples, stack, order=("de",))
        method = next(one for one in stack.methods if one.name == "oewc")
        assert any(name != "rows" for name in method._fisher._of) == there


def test_values_that_cannot_work_are_refused():
    with pytest.raises(UnknownNameError, match=r"unknown variant of oewc 'released'"):
        compose("oewc(variant=released)")
    with pytest.raises(SettingError, match=r"coma\(share=0.0\). It must be above 0 and at most 1"):
        compose("coma(share=0)")
