"""What comes before: nothing does before the first language, and what does counts; the registry is walked."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
import torch

from babelclip.acquirers.base import SHARED
from babelclip.continual import Gallery, Stage, Student, run_stream
from babelclip.continual.record import JOINT
from babelclip.methods import METHODS, Method, compose
from babelclip.packs.stream import run_packs
from test_contracts import SETTINGS, alone, differ, everything, quick, same, tasks_of, teach

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
KEEPING = [name for name in METHODS if METHODS[name]().remembers]
AT_ONCE = [name for name in METHODS if METHODS[name].joint]
BY_ITSELF = [name for name in METHODS if METHODS[name].isolated]


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


@pytest.mark.parametrize("name", [*KEEPING, "er(variant=as-released)", "der(variant=as-released)"])
def test_numbers_that_a_method_keeps_change_how_the_next_language_is_learnt(tower_for, name):
    """All of them, and every tensor of floats by itself; images of memory texts are read as released alone."""
    stack = compose(name)
    tower, examples = tower_for(stack)
    first = teach(tower, examples, stack, order=["de"])
    kept = {key: value.clone() for key, value in stack.state_dict().items()}
    plain = everything(teach(tower, examples, stack, order=["ru"], learnt=first))
    assert kept
    numbers = [key for key, value in kept.items() if value.is_floating_point()]
    assert numbers or name not in {"er", "der", "agem", "oewc", "si"}
    assert differ(everything(teach(tower, examples, compose(name), order=["ru"], learnt=first)), plain), "all forgotten"
    for key in numbers:
        moved = kept[key] + 10 * kept[key].abs().mean()
        again = compose(name)
        again.load_state_dict({one: moved if one == key else value.clone() for one, value in kept.items()})
        found = everything(teach(tower, examples, again, order=["ru"], learnt=first))
        assert differ(found, plain) == (not key.endswith(".images") or "as-released" in name), key


def move(tensor):
    """The same change each time."""
    return tensor + 0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))


def move_modules(learnt, kind, owner):
    acquirers = learnt.acquirers.copy()
    modules = acquirers.kinds[kind].modules
    modules[owner] = {key: move(tensor) for key, tensor in modules[owner].items()}
    return replace(learnt, acquirers=acquirers)


def common_rows(lexicon, texts, known):
    """Rows that texts use and that were known before, the most common first."""
    rows = Counter(row for ids in lexicon.encode(texts) for row in ids if row < known)
    return [row for row, _ in rows.most_common() if row not in lexicon.frame.specials]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in (*KEEPING, *AT_ONCE, *BY_ITSELF)])
def test_where_nothing_else_is_kept_what_was_learnt_changes_how_the_next_language_is_learnt(tower_for, name):
    """An old row, modules, and the uses, each moved by itself: in the table more moves than what was moved."""
    kind, stack = METHODS[name], compose(quick(name))
    tower, examples = tower_for(stack)
    first = teach(tower, examples, stack, order=["de"])
    plain = teach(tower, examples, stack, order=["ru"], learnt=first)
    table, texts, lexicon = plain.lexicon.table, examples["ru"].texts, first.lexicon

    def learn(learnt):
        return teach(tower, examples, compose(quick(name)), order=["ru"], learnt=learnt).lexicon.table

    own = common_rows(plain.lexicon, texts, len(lexicon.table))
    others = [row for row in common_rows(plain.lexicon, examples["ru"].english, len(lexicon.table)) if row not in own]
    for row in [own[0], others[0]] if kind.replays else [own[0]]:  # English sides are learnt with, too
        rows = lexicon.table.clone()
        rows[row] = move(rows[row])
        found = learn(replace(first, lexicon=replace(lexicon, table=rows)))
        found[row] = table[row]
        assert not torch.equal(found, table), row

    found = learn(replace(first, lexicon=replace(lexicon, uses=torch.ones_like(lexicon.uses))))
    looks = kind.row_scale is not Method.row_scale or kind.moves  # at how often a row was used, or whether it is new
    assert torch.equal(found, table) != looks

    vectors = plain.encode(tower, texts, "ru", training=True)
    for module, acquirer in first.acquirers.kinds.items():
        for owner in acquirer.modules:
            moved = move_modules(plain, module, owner)
            read = not torch.equal(moved.encode(tower, texts, "ru", training=True), vectors)
            if owner == SHARED or acquirer.needs_language:
                assert read == (owner == SHARED), "with modules of its own a language reads no other's"
            assert torch.equal(learn(move_modules(first, module, owner)), table) != read, owner


@pytest.mark.parametrize("name", AT_ONCE)
def test_where_all_languages_are_learnt_at_once_none_comes_before(tiny, examples, name):
    steps = []
    run_stream(Student(tiny), stages_of(examples), method=name, settings=SETTINGS, on_step=steps.append)
    assert {(step.task, step.language) for step in steps} == {(0, JOINT)}


@pytest.mark.parametrize("name", BY_ITSELF)
def test_where_each_language_is_learnt_by_itself_none_counts_for_the_next(tiny, examples, name):
    stages = stages_of(examples)
    both, alone = (run_packs(Student(tiny), some, method=name, settings=SETTINGS) for some in (stages, stages[1:]))
    found, expected = (one.polyglot.packs["ru"] for one in (both, alone))
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.rows, expected.rows)


def stages_of(examples):
    return [Stage(examples[tag], [Gallery("test", examples[tag])]) for tag in ("de", "ru")]
