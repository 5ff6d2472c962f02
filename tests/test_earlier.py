"""What comes before: nothing does before the first language, and what does counts; the registry is walked."""

import itertools

import pytest
import torch

from babelclip.methods import METHODS, Method, compose
from test_contracts import alone, differ, everything, quick, same, tasks_of, teach

# Methods that act on later tasks alone, as cll does: no modules, settings, stages or vocabulary of their own.
OF_THEIR_OWN = ("acquirer", "wishes", "stage", "vocabulary_size")
PLAIN_AT_FIRST = [
    name
    for name in METHODS
    if not METHODS[name].joint and all(getattr(METHODS[name], hook) is getattr(Method, hook) for hook in OF_THEIR_OWN)
]
PAIRS_AT_FIRST = [
    *itertools.combinations(PLAIN_AT_FIRST, 2),  # cll is the first of them
    *itertools.product([name for name in METHODS if name not in PLAIN_AT_FIRST], PLAIN_AT_FIRST[1:]),
]


def test_most_methods_act_on_later_tasks_alone():
    assert {"er", "der", "agem", "oewc", "si", "lwf", "gpm", "coma"} <= set(PLAIN_AT_FIRST)


@pytest.mark.parametrize("pair", PAIRS_AT_FIRST, ids="+".join)
def test_the_first_language_is_learnt_as_without_the_method(tower_for, pair):
    """What the first of a pair makes is not changed by the second, which acts on later tasks."""
    stack = compose("+".join(map(quick, pair)))
    tower, examples = tower_for(stack)
    language, first = next(iter(tasks_of(stack, examples).items()))
    tasks = {language: first}
    same(everything(teach(tower, tasks, stack)), alone(tower, tasks, pair[0]))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "cll" and not METHODS[name]().whole_stream])
def test_both_languages_together_are_not(tower_for, name):
    """But for a vocabulary of the whole stream, which is not learnt here, each method changes something."""
    stack = compose(name)
    tower, examples = tower_for(stack)
    assert differ(alone(tower, tasks_of(stack, examples), name), alone(tower, examples, "cll"))


@pytest.mark.parametrize("name", [*METHODS, "er(variant=as-released)", "der(variant=as-released)"])
def test_numbers_that_a_method_keeps_change_how_the_next_language_is_learnt(tiny, examples, name):
    """Every tensor of floats, one at a time, or all that is kept; images of memory texts are read as released alone."""
    stack = compose(name)
    first = teach(tiny, examples, stack, order=("de",))
    kept = {key: value.clone() for key, value in stack.state_dict().items()}
    plain = everything(teach(tiny, examples, stack, order=("ru",), learnt=first))
    numbers = [key for key, value in kept.items() if value.is_floating_point()]
    assert numbers or name not in {"er", "der", "agem", "oewc", "si"}
    if kept and not numbers:  # whole numbers: without them the next language is learnt otherwise
        found = everything(teach(tiny, examples, compose(name), order=("ru",), learnt=first))
        assert any(not torch.equal(found[one], plain[one]) for one in plain)
    for key in numbers:
        moved = kept[key] + 10 * kept[key].abs().mean()
        again = compose(name)
        again.load_state_dict({one: moved if one == key else value.clone() for one, value in kept.items()})
        found = everything(teach(tiny, examples, again, order=("ru",), learnt=first))
        changed = any(not torch.equal(found[one], plain[one]) for one in plain)
        assert changed == (not key.endswith(".images") or "as-released" in name), key
