import pytest
import torch

from babelclip.config import PAPER
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Wish
from babelclip.methods import METHODS, Method, RowScale, Stack, Task, compose


@pytest.fixture
def task(tiny) -> Task:
    lexicon = base_lexicon(tiny)
    lexicon.uses[10] = 4
    lexicon.grow("de", ["ein haus"], Wish(400), initialiser="normal", generator=torch.Generator())
    new = len(lexicon.table) - 1
    return Task("de", 0, lexicon, torch.tensor([10, 20, new]))


def test_names_compose_in_any_order():
    assert compose("teir").name == compose("teir+cll").name == compose("cll + teir").name == "cll+teir"
    assert compose("cll").name == "cll"
    assert compose("cll").settle(PAPER).initialiser is None
    assert compose("teir").settle(PAPER).initialiser == "matched"
    with pytest.raises(UnknownNameError, match=r"unknown method 'tier'.*Did you mean 'teir'"):
        compose("cll+tier")
    with pytest.raises(SettingError, match="stands twice"):
        compose("teir+teir")


def test_cll_scales_nothing(task):
    scale = compose("cll").row_scale(task)
    assert scale.gradient.unique().tolist() == scale.decay.unique().tolist() == [1]
    assert len(scale.gradient) == len(task.lexicon.table)


def test_teir_divides_by_earlier_uses_and_freezes_the_rest(task):
    """Papers 2.6: s_i = 1[i in T_t] / n_i, 0 for special tokens."""
    scale = compose("teir").row_scale(task)
    new = len(task.lexicon.table) - 1
    assert scale.gradient[[10, 20, new]].tolist() == [1 / 4, 1 / 2, 1]
    assert int((scale.gradient > 0).sum()) == 3
    assert scale.gradient[task.lexicon.bos] == scale.gradient[task.lexicon.eos] == 0
    assert torch.equal(scale.decay, scale.gradient)


class Half(Method):
    name, idea, paper = "half", "Halves.", "-"

    def wishes(self):
        return {"initialiser": "normal"}

    def row_scale(self, task):
        half = torch.full((len(task.lexicon.table),), 0.5)
        return RowScale(half, half * 0)


def test_scales_multiply_and_wishes_must_agree(task):
    stack = Stack([METHODS["teir"](), Half()])
    scale = stack.row_scale(task)
    assert float(scale.gradient[20]) == 0.25
    assert float(scale.decay[20]) == 0
    with pytest.raises(SettingError, match=r"teir wants 'matched', half wants 'normal'"):
        stack.settle(PAPER)
