import pytest
import torch

from babelclip.config import PAPER
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Wish
from babelclip.methods import METHODS, Method, RowScale, Stack, Task, compose, options_of


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


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_has_an_equation(name):
    assert len(METHODS[name].equation) > 3


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


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("oewc(strength=-1.0)", "at least 0"), ("oewc(gamma=-1.0)", "at least 0 and at most 1"),
     ("oewc(gamma=1.01)", "at least 0 and at most 1"), ("si(strength=-1.0)", "at least 0"), ("si(xi=-1.0)", "above 0"),
     ("si(xi=0.0)", "above 0"), ("er(weight=-1.0)", "at least 0"), ("der(weight=-1.0)", "at least 0"),
     ("lwf(weight=-1.0)", "at least 0"), ("dualprompt(pull=-1.0)", "at least 0"), ("lora(alpha=0.0)", "above 0"),
     ("lora(rank=0)", "at least 1"), ("ptuning(inner=0)", "at least 1"), ("coda(components=0)", "at least 1"),
     ("coda(orthogonal=-1.0)", "at least 0"),
     ("agem(memory=1)", "at least 2"), ("coma(share=0.0)", "above 0 and at most 1"),
     ("oracle(share=11.0)", "above 0 and at most 10"), ("er(weight=inf)", "a finite number, at least 0"),
     ("si(xi=nan)", "a finite number, above 0")],
)  # fmt: skip
def test_a_number_that_cannot_work_is_refused_with_its_range(name, allowed):
    with pytest.raises(SettingError) as refused:
        compose(f"{name}+teir")
    assert str(refused.value) == f"{name}. It must be {allowed}."


@pytest.mark.parametrize("name", ["oewc(strength=0,gamma=0)", "si(strength=0)", "er(weight=0)", "der(weight=0)",
                                  "lwf(weight=0)", "dualprompt(pull=0)"])  # fmt: skip
def test_a_term_of_weight_0_is_an_ablation(name):
    assert compose(name).name == f"cll+{name}".replace("=0", "=0.0")


NUMBERS = [
    (name, option.name)
    for name in METHODS
    for option in options_of(METHODS[name])
    if type(option.default) in (int, float)
]


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_no_number_of_any_method_is_negative_or_not_finite(name, option, value):
    with pytest.raises(SettingError):
        compose(f"{name}({option}={value})")
