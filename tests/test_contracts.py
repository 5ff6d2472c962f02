"""What every method promises, alone and in every pair; the registry is walked, so its entry tests a new method."""

import itertools
from contextlib import nullcontext

import pytest
import torch

from babelclip.acquirers import Learnt
from babelclip.benchmarks.plan import make_plan
from babelclip.config import TaskSettings
from babelclip.continual.record import JOINT
from babelclip.data.examples import base_lexicon
from babelclip.data.joined import join_examples
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import INITIALISERS
from babelclip.methods import METHODS, Stack, compose, options_of
from babelclip.training import Checkpoints, train_task

SETTINGS = TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, warm_up=0)
ADDS_NOTHING_BESIDE = {
    "nlt": {"cross-lingual", "packs", "packs-routed"},  # its stage has that one term, and idle rows stand still in it
    "le": {"cross-modal", "packs", "packs-routed"},  # the same
    "teir": {"packs", "packs-routed"},  # idle rows stand still
    "gpm": {"oewc", "si", "coma", "der"},  # rows of earlier languages stand still: nothing to hold or to bring back
}
"""Methods that change what is learnt alone, but not beside another, and why."""


def at_odds(one, other):
    """Whether one of two methods wants a setting that the other, or a stage of the other, sets otherwise."""
    both = METHODS[one](), METHODS[other]()
    return any(
        wanted.get(setting, value) != value
        for method, beside in (both, both[::-1])
        for wanted in (beside.wishes(), beside.stage() or {})
        for setting, value in method.wishes().items()
    )


def one_says_nothing(one, other):
    """Whether languages are learnt alone, beside what needs several or learns them alone itself."""
    both = METHODS[one](), METHODS[other]()
    alone = [method.isolated for method in both]
    return any(alone) and all(method.isolated or method.joint or method.whole_stream for method in both)


EVERY_PAIR = list(itertools.combinations([name for name in METHODS if name != "cll"], 2))  # beside it each is alone
REFUSED = [pair for pair in EVERY_PAIR if at_odds(*pair)]
ALONE = [pair for pair in EVERY_PAIR if one_says_nothing(*pair)]
PAIRS = [pair for pair in EVERY_PAIR if pair not in [*REFUSED, *ALONE]]


class PowerCutError(Exception):
    pass


def quick(name):
    """A method as it is written where tests have little time: stages of one epoch, in which something moves."""
    options = {option.name for option in options_of(METHODS[name])}
    return f"{name}(rate=0.01,epochs=1)" if {"rate", "epochs"} <= options else name


def tasks_of(stack, examples):
    """The tasks of a stream in their order: one a language, or one of all of them."""
    return {JOINT: join_examples(list(examples.values()), JOINT)} if stack.joint else examples


def teach(tiny, examples, stack, *, order=None, stop=None, folder=None, learnt=None):
    """One task after another, by default all; ``stop`` = (language, step) interrupts one; with checkpoints it goes on
    from there."""
    learnt = learnt or Learnt(base_lexicon(tiny))
    for language in examples if order is None else order:

        def on_step(report, language=language):
            if stop == (language, report.step):
                raise PowerCutError

        checkpoints = None if folder is None else Checkpoints(folder / language, every=0.0)
        learnt, _ = train_task(tiny, learnt, examples[language], stack, SETTINGS, on_step=on_step,
                               checkpoints=checkpoints)  # fmt: skip
    return learnt


def everything(learnt):
    """All that was learnt, as one dictionary of tensors."""
    return {"table": learnt.lexicon.table, "uses": learnt.lexicon.uses, **learnt.acquirers.tensors()}


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def differ(one, other):
    return one.keys() != other.keys() or any(not torch.equal(one[name], other[name]) for name in one)


MADE = {}


def alone(tower, tasks, name):
    """What one method makes of tasks, made once."""
    key = tower.fingerprint, name, *(task.fingerprint() for task in tasks.values())
    if key not in MADE:
        MADE[key] = everything(teach(tower, tasks, compose(quick(name))))
    return MADE[key]


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_says_what_it_is_and_its_options_can_be_written(name):
    kind = METHODS[name]
    assert kind.name == name
    assert kind.idea.endswith(".")
    assert kind.paper
    assert (kind.__doc__ or "").strip()
    assert kind().wishes().get("initialiser", "normal") in INITIALISERS
    assert compose(name).methods[-1 if name != "cll" else 0].name == name
    for option in options_of(kind):
        written = f"{name}({option.name}={option.default})"
        assert compose(written).name == compose(name).name, "a default is not written"
    with pytest.raises(UnknownNameError, match=rf"unknown option of {name} 'colour'"):
        compose(f"{name}(colour=1)")


@pytest.mark.parametrize("name", [*METHODS, "er(memory=30)", "der(memory=30)", "agem(memory=30)"])
def test_what_was_learnt_before_is_the_same_after_a_task_that_was_interrupted(tower_for, tmp_path, name):
    """Contract 7: memory, Fisher information, modules and chance go on from the checkpoint, bit for bit."""
    tower, examples = tower_for(compose(name))
    check_interrupted(tower, examples, tmp_path, name)


def check_interrupted(tiny, examples, tmp_path, name):
    """Interrupt the last task of a stream, and go on; return what was learnt."""
    stack = compose(name)
    tasks = tasks_of(stack, examples)
    *earlier, last = tasks
    first = teach(tiny, tasks, stack, order=earlier)
    kept = {key: value.clone() for key, value in stack.state_dict().items()}
    whole = everything(teach(tiny, tasks, stack, order=[last], learnt=first))
    for stop in ((last, 2), None):
        again = compose(name)
        again.load_state_dict({key: value.clone() for key, value in kept.items()})
        with pytest.raises(PowerCutError) if stop else nullcontext():
            found = teach(tiny, tasks, again, order=[last], stop=stop, folder=tmp_path, learnt=first)
    assert all(bool(value.isfinite().all()) for value in whole.values())
    same(everything(found), whole)
    same(again.state_dict(), stack.state_dict())
    return whole


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_two_methods_work_together_whatever_their_order(tower_for, tmp_path, pair):
    """Contract 8: growing the lexicon between tasks is safe, and the order of the list changes nothing.

    A pair goes on after a kill, and each half that changes something alone changes something beside the other.
    """
    name = "+".join(map(quick, pair))
    stack = compose(name)
    tower, examples = tower_for(stack)
    there = check_interrupted(tower, examples, tmp_path, name)
    tasks = tasks_of(stack, examples)
    if len(stack.stages(SETTINGS)) < 2:  # stages follow each other in the order of the registry
        back = everything(teach(tower, tasks, Stack(compose(name).methods[::-1])))
        for key, value in there.items():
            torch.testing.assert_close(back[key], value, rtol=0, atol=2e-4, msg=f"{pair}: {key}")
    for one, other in (pair, pair[::-1]):
        if differ(alone(tower, tasks, one), alone(tower, tasks, "cll")):
            counts = one not in ADDS_NOTHING_BESIDE.get(other, ())
            assert differ(there, alone(tower, tasks, other)) == counts, f"{one} beside {other}: ADDS_NOTHING_BESIDE?"


@pytest.mark.parametrize("pair", ALONE, ids="+".join)
def test_what_says_nothing_to_a_language_alone_is_refused(pair):
    with pytest.raises(SettingError, match=r"means nothing beside 'packs(-routed)?', which learns each language alone"):
        compose("+".join(pair))


@pytest.mark.parametrize("pair", REFUSED, ids="+".join)
def test_pairs_that_contradict_each_other_are_refused(pair):
    plan = {"base": "x", "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}], "methods": ["+".join(pair)]}
    for refuse in (lambda: compose("+".join(pair)).stages(SETTINGS), lambda: make_plan(plan)):
        with pytest.raises(SettingError, match="the methods disagree on "):
            refuse()


def test_the_pairs_that_are_refused_are_found_in_the_registry():
    assert {("cross-lingual", "cross-modal"), ("cross-lingual", "le"), ("cross-modal", "nlt")} <= set(REFUSED)
    assert {("joint", "packs"), ("oracle", "packs-routed"), ("packs", "packs-routed")} <= set(ALONE)
