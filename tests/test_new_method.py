"""CONTRIBUTING.md: a method is its file and its line in the registry; all else, tests included, knows it then."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from babelclip.benchmarks.plan import make_plan
from babelclip.errors import UnknownNameError
from babelclip.methods import METHODS, Method, compose
from test_contracts import (
    check_interrupted,
    everything,
    teach,
    test_a_method_says_what_it_is_and_its_options_can_be_written,
    test_two_methods_work_together_whatever_their_order,
)
from test_dense import test_in_float64_compact_and_dense_are_one
from test_earlier import (
    test_numbers_that_a_method_keeps_change_how_the_next_language_is_learnt,
    test_the_first_language_is_learnt_as_without_the_method,
)

OTHERS = (
    test_a_method_says_what_it_is_and_its_options_can_be_written,
    test_two_methods_work_together_whatever_their_order,
    test_numbers_that_a_method_keeps_change_how_the_next_language_is_learnt,
    test_the_first_language_is_learnt_as_without_the_method,
    test_in_float64_compact_and_dense_are_one,
)
for one in OTHERS:  # they run here with the new method alone
    globals().pop(one.__name__)
SAYS, PAIR, KEEPS, FIRST, DENSE = OTHERS


@dataclass
class Shrink(Method):
    """From the second task on vectors are drawn to the mean of the first language's.

    Attributes:
        strength: how strongly.
    """

    strength: float = 1.0

    _mean: torch.Tensor | None = field(init=False, repr=False, default=None)

    name = "shrink"
    idea = "Draws vectors to one place."
    paper = "none"
    equation = "strength mean (f(y) - m)^2"

    def loss_terms(self, task, step):
        if self._mean is None:
            return {}
        return {"place": self.strength * (step.texts - self._mean).square().mean()}

    def after_task(self, task, trained):
        self._mean = trained.vectors().mean(0) if self._mean is None else self._mean
        return {}

    def state_dict(self):
        return {} if self._mean is None else {"mean": self._mean}

    def load_state_dict(self, state):
        self._mean = state.get("mean")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METHODS._entries, "shrink", Shrink)


def test_names_options_plans_and_the_page_of_methods_know_it(monkeypatch):
    SAYS("shrink")
    plan = {"base": "x", "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}], "methods": ["shrink+teir"]}
    assert make_plan(plan).methods == ["shrink+teir"]
    with pytest.raises(UnknownNameError, match="Did you mean 'shrink'"):
        compose("shrnk")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "dev"))
    from methods_page import methods_page

    page = methods_page()
    assert "| [`shrink`](#shrink) | Draws vectors to one place. |" in page
    assert "- `strength=1`: how strongly." in page


def test_it_keeps_the_contracts(tiny, tiny_folder, examples, tower_for, tmp_path):
    check_interrupted(tiny, examples, tmp_path, "shrink(strength=50)")
    PAIR(tower_for, tmp_path / "pair", ("shrink", "er"))
    FIRST(tower_for, ("cll", "shrink"))
    FIRST(tower_for, ("mla", "shrink"))
    KEEPS(tower_for, "shrink")
    DENSE(tiny, tiny_folder, examples, "shrink", "update")
    found, plain = (everything(teach(tiny, examples, compose(one))) for one in ("shrink", "cll"))
    assert not bool((found["table"] == plain["table"]).all())
