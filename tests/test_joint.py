"""All languages at once, and one vocabulary for all: the references that continual methods are held against."""

import pytest
import torch

import babelclip
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.data import join_examples
from babelclip.errors import SettingError
from babelclip.methods import compose


@pytest.fixture
def stages(examples):
    return [Stage(examples[tag], [Gallery("test", examples[tag])]) for tag in ("de", "ru")]


def test_joined_examples_are_the_parts_one_behind_the_other(examples):
    parts = [examples["de"], examples["ru"]]
    joined = join_examples(parts, "mul")
    assert joined.texts == parts[0].texts + parts[1].texts
    assert joined.tags() == ["de"] * 24 + ["ru"] * 24
    assert joined.languages == ("de", "ru")
    assert len(joined.files) == 24, "a picture that both languages have is one picture"
    for place in (0, 7, 24, 47):
        part, own = parts[place // 24], place % 24
        assert joined.files[joined.owner[place]] == part.files[part.owner[own]]
        assert torch.equal(joined.images[joined.owner[[place]]], part.images[part.owner[[own]]])
        assert torch.equal(joined.teachers[torch.tensor([place])], part.teachers[torch.tensor([own])])
    assert joined.fingerprint() != parts[0].fingerprint()


@pytest.mark.parametrize("method", ["joint", "joint+oracle+teir", "joint+mla"])
def test_joint_training_is_one_task_with_every_language(tiny, stages, quick, method):
    start = babelclip.Student(tiny)
    stream = run_stream(start, stages, method=method, settings=quick)
    run = stream.runs[0]
    assert len(stream.reports) == 1
    assert stream.reports[0].steps == 12, "48 texts, 8 in a batch, 2 epochs"
    assert stream.student.languages == ["de", "ru"]
    scores = run.scores["img_r10"]
    assert scores[0][0] == scores[1][0], "one model stands after every task"
    assert run.summary["img_r10"]["F"] == 0
    lexicon = stream.student.lexicon
    assert sum(run.new_tokens) == len(lexicon.table) - len(start.lexicon.table)
    used = {tag: set(torch.tensor([i for ids in lexicon.encode(stage.train.texts) for i in ids]).tolist())
            for tag, stage in zip(("de", "ru"), stages, strict=True)}  # fmt: skip
    both = (used["de"] & used["ru"]) - {lexicon.bos, lexicon.eos}
    assert all(int(lexicon.uses[token]) >= 3 for token in both), "each language counts its own use"
    if method == "joint+mla":
        assert set(stream.student.learnt.acquirers.kinds["mla"].modules) == {"de", "ru"}


def test_the_one_task_of_joint_training_is_the_first(tiny, stages, quick):
    """So what methods do from the second task on does nothing."""
    expected = run_stream(babelclip.Student(tiny), stages, method="joint", settings=quick).student.lexicon.table
    for method in ("joint+coma", "joint+lwf", "joint+er"):
        found = run_stream(babelclip.Student(tiny), stages, method=method, settings=quick)
        assert torch.equal(found.student.lexicon.table, expected), method


def test_the_oracle_vocabulary_is_learnt_before_the_first_task_and_nothing_is_appended_later(tiny, stages, quick):
    stream = run_stream(babelclip.Student(tiny), stages, method="oracle+teir", settings=quick)
    lexicon = stream.student.lexicon
    assert stream.runs[0].new_tokens[0] > 0
    assert stream.runs[0].new_tokens[1] == 0
    assert lexicon.snapshots["de"] == lexicon.snapshots["ru"]
    for stage in stages:
        assert lexicon.encode(stage.train.texts) == lexicon.encode(stage.train.texts, stage.language), "no drift"
    swapped = run_stream(babelclip.Student(tiny), stages[::-1], method="oracle", settings=quick)
    assert swapped.student.lexicon.vocabulary == lexicon.vocabulary, "whatever the order of the languages"


def test_the_size_of_the_oracle_vocabulary_is_the_papers_for_its_stream():
    from babelclip.config import PAPER

    assert compose("oracle").vocabulary_size(PAPER, 36) == 200_000
    assert compose("oracle(share=1)").vocabulary_size(PAPER, 3) == 30_000
    assert compose("cll").vocabulary_size(PAPER, 36) is None
    with pytest.raises(SettingError, match=r"oracle\(share=0.0\). It must be above 0"):
        compose("oracle(share=0)")


def test_joint_training_keeps_the_epoch_with_the_best_mean_over_languages(tiny, examples, quick):
    stages = [Stage(examples[tag], [Gallery("test", examples[tag])], examples[tag]) for tag in ("de", "ru")]
    stream = run_stream(babelclip.Student(tiny), stages, method="joint", settings=quick)
    assert stream.reports[0].epoch in (1, 2)
    final = {tag: stream.student.evaluate(examples[tag])["r_mean"] for tag in ("de", "ru")}
    assert [stream.runs[0].scores["r_mean"][1][j] for j in range(2)] == list(final.values())
