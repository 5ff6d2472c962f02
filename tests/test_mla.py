"""MLA whole: stages, their recipe, acquirers by language, and languages added later."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import babelclip
from babelclip.acquirers import Bottleneck, Learnt, Projection
from babelclip.config import TaskSettings, change_settings
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.data import join_examples
from babelclip.encoders.insert import TowerShape
from babelclip.errors import SettingError, UnknownNameError
from babelclip.methods import Task, compose
from babelclip.training import Checkpoints, TaskTrainer
from babelclip.training.batches import Order, plan_epoch
from babelclip.training.bert_adam import BertAdam
from test_later import REMEMBERING
from test_resume import PowerCutError
from towers import TEXTS

MLA = "mla(start=uniform)+nlt(rate=0.01,epochs=2)+le(rate=0.001)"
QUICK = TaskSettings(vocab_size=400, batch_size=8)


@pytest.fixture
def both(examples):
    return join_examples([examples["de"], examples["ru"]], "mul")


def test_acquirers_of_width_512_have_the_published_number_of_parameters(deep):
    kind = Bottleneck(TowerShape(layers=12, width=512, heads=8, dim=512))
    kind.begin("de", deep, torch.Generator())
    assert sum(one.numel() for one in kind.modules["de"].values()) == 3_154_944
    projection = Projection(kind.shape, rows_width=768)
    projection.begin("de", deep, torch.Generator())
    shared = sum(one.numel() for one in projection.modules[""].values())
    assert shared + 119_547 * 768 == 92_205_824, "M-BERT's words and the projection"


def test_acquirers_start_as_linear_layers_where_asked_for(deep):
    kind = compose("mla(start=uniform,inner=7)").acquirers(deep.text_tower.shape)["mla"]
    kind.begin("de", deep, torch.Generator().manual_seed(0))
    for name, tensor in kind.modules["de"].items():
        fan_in = 7 if ".up." in name else 32
        assert float(tensor.abs().max()) <= fan_in**-0.5
        assert float(tensor.abs().max()) > 0.7 * fan_in**-0.5
    assert kind.modules["de"]["0.down.weight"].shape == (7, 32)


def test_bert_adam_is_its_formula():
    chance = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 3, dtype=torch.float64, generator=chance)
    parameter, idle = weights.clone().requires_grad_(), torch.ones(2, requires_grad=True)
    optimiser = BertAdam([parameter, idle], lr=0.1, betas=(0.9, 0.98), eps=1e-6)
    mean, square = np.zeros((4, 3)), np.zeros((4, 3))
    expected = weights.numpy().copy()
    for _ in range(5):
        gradient = torch.randn(4, 3, dtype=torch.float64, generator=chance)
        parameter.grad = gradient.clone()
        optimiser.step()
        mean = 0.9 * mean + 0.1 * gradient.numpy()
        square = 0.98 * square + 0.02 * gradient.numpy() ** 2
        expected = expected - 0.1 * mean / (np.sqrt(square) + 1e-6)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)
    assert torch.equal(idle.detach(), torch.ones(2))


def test_the_rate_rises_linearly_and_falls_by_a_cosine_of_all_progress(tiny, examples):
    settings = replace(QUICK, schedule="cosine", learning_rate=1.0)
    learnt = Learnt.start(babelclip.Student(tiny).lexicon, tiny)
    task = Task("de", 0, learnt.lexicon, torch.tensor([5]))
    trainer = TaskTrainer(tiny, task, compose("cll"), settings, total_steps=100)
    found = [trainer.rate(step) for step in range(100)]
    np.testing.assert_allclose(found[:10], np.arange(10) / 10, atol=1e-12)
    np.testing.assert_allclose(found[10:], 0.5 * (1 + np.cos(np.pi * np.arange(10, 100) / 100)), atol=1e-12)
    assert found[10] == pytest.approx(0.976, abs=5e-4)


def test_each_batch_is_of_one_language_drawn_uniformly():
    lengths, sizes = torch.arange(1, 131), [100, 26, 4]
    order = Order(lengths, sizes, batch_size=8, bucket=2)
    assert order.per_epoch == 12 + 3 + 1
    assert order.left_out == 4 + 2
    generator = torch.Generator().manual_seed(0)
    starts, groups, seen = [0, 100, 126, 130], [], []
    for _ in range(60):
        plan = order.epoch(generator)
        assert len(plan) == 16
        for batch in plan:
            group = next(g for g in range(3) if starts[g] <= int(batch[0]) < starts[g + 1])
            assert ((batch >= starts[group]) & (batch < starts[group + 1])).all()
            assert len(batch) == (4 if group == 2 else 8)
            groups.append(group)
            seen.append(batch)
    counts = np.bincount(groups)
    assert float(((counts - 320) ** 2 / 320).sum()) < 13.8, "chi-square, 2 degrees of freedom, p = 0.001"
    first = torch.cat([batch for batch, group in zip(seen, groups, strict=True) if group == 0][:12])
    assert len(first.unique()) == 96, "a language's texts come once before any comes again"


def test_one_language_is_shuffled_as_before():
    lengths = torch.arange(1, 51)
    order = Order(lengths, [50], batch_size=8, bucket=2)
    found, expected = (
        make(torch.Generator().manual_seed(3)) for make in (order.epoch, lambda g: plan_epoch(lengths, 8, 2, g))
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_task_has_its_stages_in_their_order_whatever_the_order_of_names():
    for names in ("nlt+le+mla", "le(epochs=3)+nlt", "nlt", "teir+le"):
        stages = compose(names).stages(QUICK)
        assert list(stages) == [one for one in ("nlt", "le") if one in names]
        for name, one in stages.items():
            assert (one.cross_lingual, one.cross_modal) == ((1.0, 0.0) if name == "nlt" else (0.0, 1.0))
            assert (one.optimiser, one.clip, one.schedule, one.batches) == ("bert-adam", "tensor", "cosine", "language")
            assert (one.beta2, one.weight_decay, one.temperature) == (0.98, 0.2, 0.01)
            assert not one.learn_temperature
            assert not one.idle_decay
            assert one.batch_size == 8, "what no stage sets stays"
    assert compose("le(epochs=3)+nlt").stages(QUICK)["le"].epochs == 3
    assert compose("nlt(variant=as-released)").stages(QUICK)["nlt"].idle_decay
    assert list(compose("cll+teir").stages(QUICK)) == [""]


def test_settings_that_a_stage_sets_itself_are_refused():
    with pytest.raises(SettingError, match=r"'epochs' has no effect.*nlt\(epochs=3\)"):
        compose("mla+nlt").refuse(["seed", "epochs"])
    compose("mla+nlt").refuse(["batch_size"])
    compose("mla").refuse(["epochs"])
    with pytest.raises(SettingError, match="epochs is 0"):
        compose("nlt(epochs=0)")
    with pytest.raises(UnknownNameError, match="cross_modal_loss 'mae'"):
        compose("le(loss=mae)")
    with pytest.raises(UnknownNameError, match="variant of le"):
        compose("le(variant=released)")
    with pytest.raises(UnknownNameError, match="words of mla 'open-ish'.*Did you mean 'open'"):
        compose("mla(words=open-ish)")
    with pytest.raises(UnknownNameError, match="start of mla"):
        compose("mla(start=zero)")
    with pytest.raises(SettingError, match=r"mla\(inner=-1\)"):
        compose("mla(inner=-1)")
    with pytest.raises(SettingError, match="idle_decay is 'maybe'.*true or false"):
        change_settings(QUICK, ["idle_decay=maybe"])
    assert not change_settings(QUICK, ["idle_decay=false"]).idle_decay


def test_nlt_does_not_see_images_and_le_sees_them(foreign, examples, both):
    class Other:
        """Other image vectors."""

        def __init__(self, vectors):
            self.vectors = torch.randn(vectors[:].shape, generator=torch.Generator().manual_seed(1))

        def __len__(self):
            return len(self.vectors)

        def __getitem__(self, places):
            return self.vectors[places]

    changed = babelclip.data.Examples(**{**vars(both), "images": Other(both.images)})
    for method, same in (("mla+nlt(rate=0.01,epochs=1)", True), ("mla+le(rate=0.01)", False)):
        tables = []
        for data in (both, changed):
            student = babelclip.Student(foreign.encoder, foreign.learnt)
            student.learn("mul", data, method=method, settings=QUICK)
            tables.append(student.lexicon.table)
        assert torch.equal(*tables) == same
        assert not torch.equal(tables[0], foreign.lexicon.table)


def test_both_stages_lower_their_losses_and_are_told_of(foreign, both):
    reports = []
    found = foreign.learn("mul", both, method=MLA, settings=QUICK, on_step=reports.append)
    assert [one.step for one in reports] == list(range(1, 19))
    assert [one.stage for one in reports] == ["nlt"] * 12 + ["le"] * 6
    assert all(one.steps == found.steps == 18 for one in reports)
    assert list(found.stages) == ["nlt", "le"]
    assert found.seconds == pytest.approx(sum(found.stages.values()))
    nlt = [sum(one.terms.values()) for one in reports[:12]]
    assert np.mean(nlt[-4:]) < np.mean(nlt[:4])
    assert reports[0].temperature == reports[-1].temperature == pytest.approx(0.01)
    assert found.texts == 18 * 8


@pytest.mark.parametrize("stop", [5, 11, 12, 13, 17])
def test_a_run_killed_in_any_stage_ends_bit_for_bit_as_if_it_never_was(tiny, foreign, both, tmp_path, stop):
    expected = babelclip.Student(tiny, foreign.learnt)
    whole = expected.learn("mul", both, method=MLA, settings=QUICK)

    def on_step(report):
        if report.step == stop:
            raise PowerCutError

    student = babelclip.Student(tiny, foreign.learnt)
    checkpoints = Checkpoints(tmp_path, every=0)
    with pytest.raises(PowerCutError):
        student.learn("mul", both, method=MLA, settings=QUICK, on_step=on_step, checkpoints=checkpoints)
    steps = []
    again = student.learn("mul", both, method=MLA, settings=QUICK, on_step=steps.append,
                          checkpoints=Checkpoints(tmp_path, every=0))  # fmt: skip
    assert [one.step for one in steps] == list(range(stop, 19))
    assert again.loss == whole.loss
    assert torch.equal(student.lexicon.table, expected.lexicon.table)
    found, modules = student.learnt.acquirers.tensors(), expected.learnt.acquirers.tensors()
    assert found.keys() == modules.keys()
    assert all(torch.equal(found[name], modules[name]) for name in modules)


def test_rows_that_no_text_uses_stay_unless_as_released(foreign, examples):
    for variant, same in (("defined", True), ("as-released", False)):
        student = babelclip.Student(foreign.encoder, foreign.learnt)
        method = f"mla+nlt(rate=0.01,epochs=1,variant={variant})"
        student.learn("de", examples["de"], method=method, settings=QUICK)
        used = torch.tensor([i for ids in student.lexicon.encode(examples["de"].texts) for i in ids]).unique()
        idle = torch.ones(len(student.lexicon.table), dtype=torch.bool)
        idle[used] = False
        assert idle.sum() > 10
        before, after = foreign.lexicon.table[idle], student.lexicon.table[idle]
        assert torch.equal(before, after) == same
        if not same:
            lengths = before.norm(dim=1)
            assert (after.norm(dim=1)[lengths > 0] < lengths[lengths > 0]).all()
        assert not torch.equal(foreign.lexicon.table[used], student.lexicon.table[used])


def test_a_language_added_with_its_acquirers_alone_changes_no_other_bit(tiny, foreign, examples):
    foreign.learn("de", examples["de"], method=MLA, settings=QUICK)
    before = foreign.learnt
    frozen = MLA.replace("start=uniform", "start=uniform,words=frozen")
    foreign.learn("ru", examples["ru"], method=frozen, settings=QUICK)
    texts = examples["ru"].texts
    for language in ("de", "en", "fr"):
        assert torch.equal(before.encode(tiny, TEXTS, language), foreign.learnt.encode(tiny, TEXTS, language))
    assert not torch.equal(before.encode(tiny, texts, "ru"), foreign.learnt.encode(tiny, texts, "ru"))
    assert torch.equal(before.lexicon.table, foreign.lexicon.table)
    foreign.learn("fr", babelclip.data.Examples(**{**vars(examples["ru"]), "language": "fr"}), method=MLA,
                  settings=QUICK)  # fmt: skip
    assert not torch.equal(before.encode(tiny, texts, "de"), foreign.learnt.encode(tiny, texts, "de"))
    assert torch.equal(before.encode(tiny, texts, "en"), foreign.learnt.encode(tiny, texts, "en"))


@pytest.mark.parametrize(("words", "moved"), [("open", "rp"), ("rows", "r"), ("projection", "p"), ("frozen", "")])
def test_what_is_frozen_stays_and_the_rest_moves(foreign, examples, words, moved):
    before = foreign.learnt
    foreign.learn("de", examples["de"], method=f"mla(words={words})+nlt(rate=0.01,epochs=1)", settings=QUICK)
    assert torch.equal(before.lexicon.table, foreign.lexicon.table) == ("r" not in moved)
    start, end = before.acquirers.tensors(), foreign.learnt.acquirers.tensors()
    for name in ("projection//weight", "projection//bias"):
        assert torch.equal(start[name], end[name]) == ("p" not in moved)


@pytest.mark.parametrize("frozen", ["rows", "ro"])
def test_frozen_rows_do_not_even_decay(tiny, examples, frozen):
    student = babelclip.Student(tiny)
    before = student.lexicon.table
    settings = replace(QUICK, learning_rate=1e-2, frozen=frozen)
    assert settings.idle_decay
    student.learn("de", examples["de"], method="mla", settings=settings)
    assert torch.equal(student.lexicon.table[: len(before)], before)


@pytest.mark.parametrize("method", [*REMEMBERING, "coma", "lwf"])
def test_methods_against_forgetting_go_on_where_rows_are_frozen_later(foreign, examples, method):
    foreign.learn("de", examples["de"], method=f"mla+{method}", settings=QUICK)
    before = foreign.lexicon.table
    foreign.learn("ru", examples["ru"], method=f"mla(words=frozen)+{method}", settings=QUICK)
    assert torch.equal(before, foreign.lexicon.table)


def test_each_stage_has_an_order_of_its_own(foreign, both, monkeypatch):
    plans, epoch = [], Order.epoch

    def look(self, generator):
        plans.append(epoch(self, generator))
        return plans[-1]

    monkeypatch.setattr(Order, "epoch", look)
    foreign.learn("mul", both, method=MLA, settings=QUICK)
    first, _, le = (torch.cat(plan) for plan in plans)
    assert not torch.equal(first, le)


def test_freezing_everything_or_nothing_that_exists_is_an_error(foreign, examples):
    with pytest.raises(SettingError, match="frozen='rows projection/' leaves nothing to train"):
        foreign.learn("de", examples["de"], method="nlt", settings=replace(QUICK, frozen="rows projection/"))
    with pytest.raises(SettingError, match="frozen='row spam' has no 'spam'"):
        foreign.learn("de", examples["de"], method="nlt", settings=replace(QUICK, frozen="row spam"))


def test_shared_acquirers_are_one_set_for_all_languages(tiny, foreign, both):
    foreign.learn("mul", both, method=MLA.replace("start=uniform", "shared=true"), settings=QUICK)
    kind = foreign.learnt.acquirers.kinds["mla"]
    assert set(kind.modules) == {""}
    assert torch.equal(foreign.learnt.encode(tiny, TEXTS, "de"), foreign.learnt.encode(tiny, TEXTS, "ru"))
    assert kind.concerns("de").keys() == kind.modules[""].keys()


def test_stages_run_on_the_lexicon_of_the_base_model_too(tiny, examples):
    student = babelclip.Student(tiny)
    report = student.learn("de", examples["de"], method=MLA, settings=QUICK)
    assert report.new_tokens > 0
    assert list(report.stages) == ["nlt", "le"]


def test_a_language_goes_on_only_when_asked_to(foreign, examples):
    foreign.learn("de", examples["de"], method="mla+nlt(rate=0.01,epochs=1)", settings=QUICK)
    first = foreign.learnt
    with pytest.raises(SettingError, match="'de' was learnt before"):
        foreign.learn("de", examples["de"], method="mla+le(rate=0.001)", settings=QUICK)
    assert foreign.learnt is first
    foreign.learn("de", examples["de"], method="mla+le(rate=0.001)", settings=QUICK, again=True)
    assert foreign.languages == ["de"]
    assert torch.equal(first.lexicon.uses, foreign.lexicon.uses), "the same language counts once"
    start, end = first.acquirers.tensors(), foreign.learnt.acquirers.tensors()
    moved = torch.cat([(start[name] - end[name]).abs().ravel() for name in start])
    assert 0 < float(moved.max()) < 0.02, "it goes on from where it was"


def test_going_on_is_the_same_as_both_stages_at_once_but_for_chance(tiny, foreign, examples):
    """LE goes on from NLT's end: with one batch an epoch, its order is no matter."""
    settings = replace(QUICK, batch_size=24)
    at_once, apart = (babelclip.Student(tiny, foreign.learnt) for _ in range(2))
    at_once.learn("de", examples["de"], method=MLA, settings=settings)
    nlt, le = MLA.rsplit("+", 1)
    apart.learn("de", examples["de"], method=nlt, settings=settings)
    apart.learn("de", examples["de"], method=f"mla(start=uniform)+{le}", settings=settings, again=True)
    torch.testing.assert_close(at_once.lexicon.table, apart.lexicon.table, rtol=0, atol=1e-6)


def test_a_stream_measures_a_joint_task_of_both_stages(foreign, examples):
    stages = [Stage(examples[tag], [Gallery("test", examples[tag])]) for tag in ("de", "ru")]
    for incremental in (True, False):
        stream = run_stream(foreign, stages, method=f"{MLA}+joint", settings=QUICK, incremental=incremental)
        run = stream.runs[0]
        assert run.needs_language
        assert run.new_tokens == [0, 0]
        scores = [stream.student.evaluate(examples[tag])["r_mean"] for tag in ("de", "ru")]
        assert run.scores["r_mean"][-1] == pytest.approx(scores)
    one_by_one = [
        run_stream(foreign, stages, method=MLA, settings=QUICK, incremental=incremental).runs[0].scores
        for incremental in (True, False)
    ]
    assert one_by_one[0] == one_by_one[1]
