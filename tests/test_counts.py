"""``counts``: the factor against its formula, and what it is for: one use does not carry a row away."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.lexicon import Tokens
from babelclip.methods import Task, compose
from babelclip.training import train_task
from test_contracts import everything, teach


def make_task(tiny, tag, *texts):
    ids = torch.tensor([one for text in texts for one in text], dtype=torch.int32)
    offsets = torch.tensor([0, *torch.tensor([len(text) for text in texts]).cumsum(0).tolist()])
    tokens = Tokens(ids, offsets)
    return Task(tag, 0, base_lexicon(tiny), tokens.used(), tokens=tokens)


def test_the_factor_is_the_share_of_uses(tiny):
    method, lexicon = compose("counts").methods[-1], base_lexicon(tiny)
    tasks = [make_task(tiny, "de", [3, 5, 5], [5]), make_task(tiny, "nl", [3, 3], [8], [5]),
             make_task(tiny, "uk", [5, 9]), make_task(tiny, "nl", [3, 9])]  # fmt: skip
    expected = [
        {3: 1, 5: 1},
        {3: 2 / 3, 5: 1 / 4, 8: 1, lexicon.bos: 3 / 5, lexicon.eos: 3 / 5},
        {3: 0, 5: 1 / 5, 8: 0, 9: 1, lexicon.bos: 1 / 6, lexicon.eos: 1 / 6},
        {3: 1 / 2, 5: 0, 9: 1 / 2, lexicon.bos: 1 / 4, lexicon.eos: 1 / 4},
    ]
    for task, other in zip(tasks, expected, strict=True):
        scale, whole = method.row_scale(task), torch.ones(len(lexicon.table))
        whole[list(other)] = torch.tensor([float(one) for one in other.values()])
        torch.testing.assert_close(scale.gradient, whole)
        assert torch.equal(scale.gradient, scale.decay)
        method.after_task(task, None)
    specials = {lexicon.bos: 3, lexicon.eos: 3}
    assert dict(zip(*method.state_dict()["nl"].tolist(), strict=True)) == {3: 2, 5: 1, 8: 1, 9: 1, **specials}
    again = compose("counts").methods[-1]
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.row_scale(tasks[0]).gradient, method.row_scale(tasks[0]).gradient)


def test_english_is_an_earlier_language_where_nothing_was_counted(tiny):
    lexicon = base_lexicon(tiny)
    english = ["a red square", "a red field"]
    ids = torch.tensor([i for text in english for i in lexicon.tokenizer().encode(text, add_special_tokens=False).ids])
    often = int(ids.bincount().argmax())
    for tag, counted in (("de", True), ("en", False), ("en-GB", False)):
        examples = SimpleNamespace(english=english, languages=(tag,), by_language=lambda tag=tag: [(tag, slice(0, 1))])
        task = replace(make_task(tiny, tag, [often, 3]), examples=examples)
        method = compose("counts").methods[-1]
        method.before_task(task)
        scale = method.row_scale(task).gradient
        assert float(scale[often]) == pytest.approx(1 / (1 + int((ids == often).sum())) if counted else 1)
        assert float(scale[lexicon.eos]) == pytest.approx(1 / 3 if counted else 1)
        method.after_task(task, None)
        assert set(method.state_dict()) == {tag, "en"} if counted else {tag}
        before = method.state_dict()
        method.before_task(task)
        assert method.state_dict() == before, "once"


def test_english_as_the_first_language_is_learnt_as_without_it(tiny, examples):
    english = {"en": replace(examples["de"], language="en")}
    found, plain = (everything(teach(tiny, english, compose(one), order=("en",))) for one in ("counts", "cll"))
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_one_use_does_not_carry_away_what_an_earlier_language_uses_often(tiny, examples):
    moved, uses = {}, {}
    ru = replace(examples["ru"], texts=["ein", *examples["ru"].texts[1:]])
    examples = {"de": examples["de"], "ru": ru}
    for name in ("cll", "counts"):
        stack = compose(name)
        first = teach(tiny, examples, stack, order=("de",)).lexicon
        second = teach(tiny, examples, stack, order=("ru",), learnt=Learnt(first)).lexicon
        for tag, lexicon in (("de", first), ("ru", second)):
            ids = [i for text in lexicon.encode(examples[tag].texts) for i in text]
            uses[tag] = torch.tensor(ids).bincount(minlength=len(second.table))[: len(first.table)]
        moved[name] = (second.table[: len(first.table)] - first.table).norm(dim=1)
    idle = (uses["de"] > 0) & (uses["ru"] == 0)
    assert float(moved["counts"][idle].max()) == 0
    assert float(moved["cll"][idle].min()) > 0
    seldom = (uses["de"] >= 9 * uses["ru"]) & (uses["ru"] > 0)
    assert bool(seldom.any())
    assert float((moved["counts"] / moved["cll"])[seldom].max()) < 0.2


def test_where_the_factor_acts_is_not_to_be_set_beside_it():
    with pytest.raises(SettingError, match="'scale_at' has no effect: 'counts' sets it to 'update'"):
        compose("counts").refuse(["scale_at"])
    assert compose("counts+teir").settle(TaskSettings()).scale_at == "update"


def test_where_no_row_is_scaled_the_place_of_the_factor_changes_no_bit(tiny, examples):
    found = [
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), settings)[0].lexicon.table
        for place in ("update", "gradient")
        for settings in [TaskSettings(vocab_size=400, batch_size=8, epochs=9, learning_rate=0.1, scale_at=place)]
    ]
    assert torch.equal(*found)
