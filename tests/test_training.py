"""Training: what each method may and may not change, and how a task runs."""

import threading
import time
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings, change_settings, derive_seed
from babelclip.data.examples import base_lexicon
from babelclip.errors import BabelclipError, DataError, ModelError, SettingError
from babelclip.lexicon import tokenise
from babelclip.lexicon.room import append_rows
from babelclip.methods import Method, RowScale, Stack, compose
from babelclip.objectives import contrastive
from babelclip.training import TaskTrainer, Validation, train_task
from babelclip.training.batches import plan_epoch, prepare_ahead
from babelclip.training.table import CompactTable
from test_dense import STEPS, batches, make_task


def test_idle_rows_shrink_without_teir_and_stay_with_it(tiny, examples):
    for names, expected in (("cll", 1 - 1e-3), ("cll+teir", 1.0)):
        task, sequences = make_task(tiny, examples["de"])
        settings = TaskSettings(learning_rate=1e-2, weight_decay=0.1, warm_up=0, batch_size=8)
        trainer = TaskTrainer(tiny, task, compose(names), settings, total_steps=STEPS)
        for batch in batches(sequences, examples["de"], task.lexicon.eos):
            trainer.step(batch)
        idle = torch.ones(len(task.lexicon.table), dtype=torch.bool)
        idle[task.used] = False
        idle[[task.lexicon.bos, task.lexicon.eos]] = False
        before, after = task.lexicon.table[idle], trainer.full_table()[idle]
        if names == "cll":
            torch.testing.assert_close(after, before * expected**STEPS, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(after, before)
        specials = [task.lexicon.bos, task.lexicon.eos]
        assert torch.equal(trainer.full_table()[specials], task.lexicon.table[specials]) == (names == "cll+teir")


class HalfOf(Method):
    """Scales the gradient of every row by a constant."""

    name, idea, paper = "half", "Halves.", "-"

    def __init__(self, scale):
        self.scale = scale

    def row_scale(self, task):
        ones = torch.ones(len(task.lexicon.table))
        return RowScale(self.scale * ones, ones)


def test_a_scale_of_a_half_halves_the_update_but_vanishes_before_the_moments(tiny, examples):
    """Papers 2.6: a constant factor on the gradient cancels in m / sqrt(v), up to epsilon."""
    task, sequences = make_task(tiny, examples["de"])
    change = {}
    for place in ("gradient", "update"):
        for scale in (1.0, 0.5):
            settings = TaskSettings(scale_at=place, learning_rate=1e-3, warm_up=0, weight_decay=0, epsilon=1e-12)
            trainer = TaskTrainer(tiny, task, Stack([HalfOf(scale)]), settings, total_steps=1)
            trainer.step(next(batches(sequences, examples["de"], task.lexicon.eos)))
            change[place, scale] = trainer.full_table() - task.lexicon.table
    torch.testing.assert_close(change["update", 0.5], 0.5 * change["update", 1.0], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(change["gradient", 0.5], change["gradient", 1.0], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(change["update", 1.0], change["gradient", 1.0], rtol=1e-3, atol=1e-7)
    assert float(change["update", 1.0].abs().max()) > 5e-4


def test_settings_change_by_name():
    changed = change_settings(
        TaskSettings(), ["epochs=5", "learning_rate = 1e-3", "scale_at=update", "initialiser=matched"]
    )
    assert (changed.epochs, changed.learning_rate, changed.scale_at, changed.initialiser) == (
        5,
        1e-3,
        "update",
        "matched",
    )
    for change, message in {
        "epochs": "'epochs' is not a setting. Write NAME=VALUE",
        "epoch=3": "unknown setting 'epoch'. Did you mean 'epochs'",
        "epochs=three": "epochs is 'three'. It must be a number",
        "epochs=0": "epochs is 0. It must be at least 1",
        "scale_at=updates": "unknown scale_at 'updates'. Did you mean 'update'",
    }.items():
        with pytest.raises(BabelclipError, match=message):
            change_settings(TaskSettings(), [change])


def test_each_idle_row_decays_by_its_own_scale_and_no_trained_row_does():
    rows, scale = torch.rand(6, 2), torch.tensor([1.0, 0.5, 0.0, 0.25, 0.5, 0.125])
    table = CompactTable(rows, torch.tensor([1, 3]), torch.device("cpu"))
    rates = [0.1, 0.2, 0.0, 0.4]
    expected = rows.clone()
    for rate in rates:
        expected *= (1 - rate * 0.3 * scale)[:, None]
    expected[[1, 3]] = rows[[1, 3]]
    found = table.full(rates, 0.3, scale)
    torch.testing.assert_close(found, expected)
    assert append_rows(found, rows).data_ptr() == found.data_ptr(), "the next language's rows need no copy of it"


def test_what_a_trainer_holds_does_not_grow_with_the_rows_of_the_table(tiny, examples):
    def held(more):
        task, _ = make_task(tiny, examples["de"])
        words = task.lexicon
        words.table = torch.cat([words.table, torch.zeros(more, words.table.shape[1])])
        words.uses = torch.cat([words.uses, torch.ones(more, dtype=torch.int64)])
        trainer = TaskTrainer(tiny, task, compose("cll"), TaskSettings(), total_steps=STEPS)
        parts = (vars(each).values() for each in (trainer, trainer.table, trainer.scale))
        tensors = [one for part in parts for one in part if torch.is_tensor(one) and one is not words.table]
        return sum(one.untyped_storage().nbytes() for one in tensors)

    assert held(50_000) == held(0) > 0


def test_a_row_outside_the_task_is_an_error():
    table = CompactTable(torch.zeros(5, 2), torch.tensor([1, 3]), torch.device("cpu"))
    assert table.localise(torch.tensor([[3, 1]])).tolist() == [[1, 0]]
    assert int(table.localise(torch.tensor(3))) == 1
    for ids, unknown in (([1, 2], 2), ([4, 1], 4), ([0], 0), ([-2], -2)):
        with pytest.raises(SettingError, match=rf"the token ids {unknown}, whose rows are not among the 2 that"):
            table.localise(torch.tensor(ids))


def test_a_method_that_encodes_rows_it_did_not_ask_for_is_told_which(tiny, examples, quick):
    class More(Method):
        name, idea, paper = "more", "Encodes texts of other words.", "-"

        def loss_terms(self, task, step):
            return {"more": step.encode([[task.lexicon.bos, *others, task.lexicon.eos]], ["de"]).square().sum()}

    others = range(1000, 1021)  # English
    with pytest.raises(SettingError, match=r"the token ids 1000, .* 1009 and 11 more, .*\. Return .* extra_rows of"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([More()]), quick)


def test_the_temperature_is_clamped_before_use(tiny, examples):
    task, sequences = make_task(tiny, examples["de"])
    trainer = TaskTrainer(tiny, task, compose("cll"), TaskSettings(), total_steps=STEPS)
    batch = next(batches(sequences, examples["de"], task.lexicon.eos))
    with torch.no_grad():
        trainer.temperature.fill_(9.0)
    at_limit = float(trainer.losses(batch)["cross_modal"].detach())
    texts, _ = trainer.encode(batch.ids)
    assert at_limit == pytest.approx(
        0.01 * float(contrastive(texts, batch.images, batch.image_ids, 0.5).detach()), rel=1e-6
    )


class Pull(Method):
    """Pulls rows to zero: a method that adds a loss term and remembers that it was called."""

    name, idea, paper = "pull", "Pulls.", "-"

    def __init__(self):
        self.calls = []

    def before_task(self, task):
        self.calls.append(("before", task.language, int(task.lexicon.uses[task.used].min())))

    def loss_terms(self, task, step):
        assert step.rows.shape[0] == len(step.row_ids)
        return {"norm": step.rows.square().sum()}

    def after_task(self, task, trained):
        self.calls.append(("after", task.language, int(task.lexicon.uses[task.used].min())))
        return {}


def test_loss_terms_of_methods_add_and_hooks_are_called_around_the_task(tiny, examples, quick):
    pull = Pull()
    plain, _ = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick)
    pulled, _ = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([pull]), quick)
    assert pull.calls == [("before", "de", 1), ("after", "de", 1)], "uses are counted after the last hook"
    assert float(pulled.lexicon.table.norm()) < float(plain.lexicon.table.norm())


def test_learning_brings_the_texts_to_the_teacher(tiny, examples):
    settings = TaskSettings(vocab_size=400, batch_size=8, epochs=60, learning_rate=3e-3)
    losses = []
    for epochs in (1, 60):
        one = TaskSettings(**(settings.as_dict() | {"epochs": epochs}))
        _, report = train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("teir"), one)
        losses.append(report.loss)
    assert losses[1] < 0.5 * losses[0]


def test_the_input_lexicon_is_not_changed_and_the_report_adds_up(tiny, examples, quick):
    before = base_lexicon(tiny)
    learnt, report = train_task(tiny, Learnt(before), examples["de"], compose("teir"), quick)
    assert before.languages == []
    assert len(before.table) == len(tiny.token_table)
    assert learnt.lexicon.languages == ["de"]
    assert (report.steps, report.left_out, report.texts) == (6, 0, 48)
    assert report.new_tokens == len(learnt.lexicon.table) - len(before.table)
    assert int(learnt.lexicon.uses.max()) == 3, "a base token that the task used"


def test_the_same_seed_gives_the_same_table_and_another_seed_another(tiny, examples, quick):
    def table(seed, names="teir"):
        settings = TaskSettings(**(quick.as_dict() | {"seed": seed}))
        return train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], compose(names), settings)[0].lexicon.table

    assert torch.equal(table(0), table(0))
    assert not torch.equal(table(0), table(1))
    assert derive_seed(0, "rows", "de") != derive_seed(0, "order", "de")


def test_the_best_epoch_is_kept_when_there_is_a_validation_score(tiny, examples, quick):
    seen = []

    def validate(learnt):
        seen.append(learnt.lexicon.table.clone())
        return -len(seen)  # the first epoch is the best

    learnt, report = train_task(
        tiny, Learnt(base_lexicon(tiny)), examples["de"], compose("cll"), quick, validation=Validation(validate)
    )
    assert report.epoch == 1
    assert len(seen) == 2
    assert torch.equal(learnt.lexicon.table, seen[0])
    assert not torch.equal(seen[0], seen[1])


def test_buckets_hold_similar_lengths_and_every_text_once(tiny, examples):
    lengths = tokenise(base_lexicon(tiny).tokenizer(), examples["de"].texts).lengths
    plans = {bucket: plan_epoch(lengths, 4, bucket, torch.Generator().manual_seed(0)) for bucket in (1, 6)}
    places = {bucket: sum(len(texts) * int(lengths[texts].max()) for texts in plan) for bucket, plan in plans.items()}
    for plan in plans.values():
        assert sorted(torch.cat(plan).tolist()) == list(range(24))
    assert places[6] < places[1]
    assert len(plan_epoch(lengths, 5, 2, torch.Generator())) == 4, "the last incomplete batch is dropped"


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_the_next_batch_is_made_while_the_current_one_is_used_and_threads_are_left_as_they_were(two_threads):
    made, cores = [], two_threads

    def make(texts):
        if int(texts) == 3:
            raise DataError("no such text", fix="-")
        made.append((int(texts), threading.current_thread().name, torch.get_num_threads()))
        return texts

    used = prepare_ahead([torch.tensor(i) for i in range(5)], make)
    assert int(next(used)) == 0
    deadline = time.monotonic() + 10
    while len(made) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [(0, "next-batch_0", 1), (1, "next-batch_0", 1)], "one ahead, on one core"
    assert [int(next(used)), int(next(used))] == [1, 2]
    with pytest.raises(DataError, match="no such text"):
        next(used)
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (seen[0], torch.get_num_threads()) == (cores, cores)


def test_training_that_explodes_stops_with_advice(tiny, examples, quick):
    class Boom(Method):
        name, idea, paper = "boom", "Booms.", "-"

        def loss_terms(self, task, step):
            return {"nan": step.rows.sum() * float("nan")}

    with pytest.raises(ModelError, match=r"the loss became nan in step 1 of 'de'. Lower learning_rate"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([Boom()]), quick)


def test_a_gradient_that_is_not_finite_stops_before_it_does_harm(tiny, examples, quick):
    class Root(Method):
        name, idea, paper = "root", "Its value is 0 and its gradient is not a number.", "-"

        def loss_terms(self, task, step):
            return {"root": (step.rows.sum() * 0).sqrt()}

    seen = []
    with pytest.raises(ModelError, match=r"the gradient's norm became nan in step 1 of 'de'. Lower learning_rate"):
        train_task(tiny, Learnt(base_lexicon(tiny)), examples["de"], Stack([Root()]), quick, on_step=seen.append)
    assert seen == []


def test_one_text_is_too_few(tiny, examples):

    one = replace(examples["de"], texts=["ein"], owner=torch.tensor([0]))
    with pytest.raises(DataError, match="1 training texts in 'de'"):
        train_task(tiny, Learnt(base_lexicon(tiny)), one, compose("cll"), TaskSettings())


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("epochs", 0, "at least 1"), ("learning_rate", -1.0, "between 0 and 1"), ("temperature", 2.0, "between"),
     ("batch_size", 1, "at least 2"), ("learning_rate", float("nan"), "between")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(name, value, allowed):
    with pytest.raises(SettingError, match=f"{name} is {value}. It must be {allowed}"):
        TaskSettings(**{name: value})


def test_both_weights_zero_is_refused():
    with pytest.raises(SettingError, match="both 0"):
        TaskSettings(cross_lingual=0, cross_modal=0)


def test_normalised_vectors_are_not_what_is_distilled(tiny, examples):
    task, sequences = make_task(tiny, examples["de"])
    trainer = TaskTrainer(tiny, task, compose("cll"), TaskSettings(), total_steps=STEPS)
    batch = next(batches(sequences, examples["de"], task.lexicon.eos))
    with torch.no_grad():
        found = float(trainer.losses(batch)["cross_lingual"])
        texts = trainer.encode(batch.ids)[0]
    raw = float((texts - batch.teachers).square().mean())
    lengths = float((normalize(texts, dim=-1) - normalize(batch.teachers, dim=-1)).square().mean())
    assert found == pytest.approx(raw, rel=1e-6)
    assert lengths < raw / 2, "they would not be told apart"
