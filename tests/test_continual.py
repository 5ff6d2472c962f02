import json
import shutil
from dataclasses import replace

import pytest
import torch

import babelclip
from babelclip.acquirers import Learnt
from babelclip.continual import Evaluator, Gallery, Stage, run_stream
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens
from babelclip.errors import FormatError, ModelError, SettingError
from babelclip.evaluation import METRICS
from babelclip.lexicon.store import LEXICON


@pytest.fixture
def stages(examples):
    return [Stage(examples[tag], [Gallery("test", examples[tag])]) for tag in ("de", "ru")]


def test_a_stream_fills_the_lower_triangle_and_leaves_its_student_alone(tiny, stages, quick):
    student = babelclip.Student(tiny)
    stream = run_stream(student, stages, method="teir", settings=quick)
    (run,) = stream.runs
    assert (run.method, run.order, run.needs_language) == ("cll+teir", ["de", "ru"], False)
    assert [len(row) for row in run.scores["img_r1"]] == [1, 2]
    assert set(run.scores) == set(METRICS)
    assert run.chance["img_r1"] == pytest.approx(100 / 24)
    assert student.languages == []
    assert stream.student.languages == ["de", "ru"]
    assert run.scores["r_mean"][1][0] == pytest.approx(
        stream.student.evaluate(stages[0].galleries[0].examples)["r_mean"]
    )
    assert run.settings["seed"] == quick.seed


def test_two_streams_with_one_seed_are_equal_apart_from_cost(tiny, stages, quick):
    one, two = (run_stream(babelclip.Student(tiny), stages, method="cll", settings=quick).runs[0] for _ in range(2))
    assert one.model_dump(exclude={"cost"}) == two.model_dump(exclude={"cost"})
    assert set(type(one.cost).model_fields) == {
        "train_s", "eval_s", "peak_mb", "texts_per_s", "scored_texts", "encoded_texts"
    }  # fmt: skip


def test_a_stream_names_each_language_once(tiny, stages, quick):
    with pytest.raises(SettingError, match="each once"):
        run_stream(babelclip.Student(tiny), [stages[0], stages[0]], method="cll", settings=quick)
    with pytest.raises(SettingError, match="at least one"):
        run_stream(babelclip.Student(tiny), [], method="cll", settings=quick)


def test_the_six_lines_of_the_readme(tiny_folder, captions, quick, tmp_path):
    model = babelclip.load(tiny_folder, device="cpu")
    before = model.encode_images([captions / "0-0.png"])
    report = model.learn("de", captions / "de.tsv", settings=quick, validation=captions / "de.tsv")
    assert 1 <= report.epoch <= quick.epochs
    model.learn("ru", captions / "ru.tsv", settings=quick)
    model.save(tmp_path / "learnt")
    back = babelclip.load(tmp_path / "learnt", device="cpu")
    texts = ["ein rotes quadrat", "красный квадрат"]
    assert back.languages == ["de", "ru"]
    assert torch.equal(back.encode_texts(texts), model.encode_texts(texts))
    assert torch.equal(back.encode_images([captions / "0-0.png"]), before), "no language changes a picture's vector"


def test_a_student_goes_on_where_it_was_saved(tiny, examples, quick, tmp_path, tiny_folder):
    whole = babelclip.Student(tiny)
    whole.learn("de", examples["de"], settings=quick)
    whole.save(tmp_path / "de")
    whole.learn("ru", examples["ru"], settings=quick)
    halves = babelclip.load(tmp_path / "de", base=tiny_folder, device="cpu")
    halves.learn("ru", examples["ru"], settings=quick)
    assert torch.equal(halves.lexicon.table, whole.lexicon.table)
    assert torch.equal(halves.lexicon.uses, whole.lexicon.uses)


def test_a_snapshot_tokenizer_can_be_asked_for(tiny, examples, quick):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=quick)
    then = student.lexicon.encode(["красный"])
    student.learn("ru", examples["ru"], settings=quick)
    assert student.lexicon.encode(["красный"], "de") == then != student.lexicon.encode(["красный"])
    assert not torch.equal(student.encode_texts(["красный"]), student.encode_texts(["красный"], language="de"))


def test_with_teir_a_language_without_shared_tokens_is_exact(tiny, examples, quick):
    """Rows outside T_t do not change at all, so texts that use none of them keep their vectors bit for bit."""
    student = babelclip.Student(tiny)
    base = base_lexicon(tiny)
    student.learn("ru", examples["ru"], method="teir", settings=quick)
    english = ["apple", "dog"]
    ids = student.lexicon.encode(english)
    used = set(torch.cat([torch.tensor(i) for i in student.lexicon.encode(examples["ru"].texts)]).tolist())
    assert not used & {token for sequence in ids for token in sequence[1:-1]}
    assert torch.equal(student.encode_texts(english), encode_tokens(tiny, base.table, base.encode(english)))


def test_a_failed_task_changes_nothing(tiny, examples, quick):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=quick)
    before = student.lexicon
    with pytest.raises(SettingError, match="'de' was learnt before"):
        student.learn("de", examples["de"], settings=quick)
    with pytest.raises(SettingError, match="the data is in 'de', but the language given is 'ru'"):
        student.learn("ru", examples["de"], settings=quick)
    assert student.lexicon is before


def test_the_base_model_of_a_learnt_folder_is_found_from_any_working_folder(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_folder.parent)
    babelclip.load(tiny_folder.name, device="cpu").save(tmp_path / "learnt")
    monkeypatch.chdir(tmp_path)
    assert babelclip.load("learnt", device="cpu").encoder.name == str(tiny_folder)


@pytest.mark.parametrize("named", ["tiny", "../tiny"])
def test_a_base_model_that_was_named_by_a_relative_path_is_found_beside_what_was_learnt(
    tiny, tiny_folder, tmp_path, monkeypatch, named
):
    shutil.copytree(tiny_folder, tmp_path / "work" / "tiny")
    learnt = tmp_path / "work" / "learnt"
    babelclip.Student(tiny).save(learnt)
    content = json.loads((learnt / LEXICON).read_text())
    (learnt / LEXICON).write_text(json.dumps(content | {"base": named}))
    monkeypatch.chdir(tmp_path)
    assert babelclip.load("work/learnt", device="cpu").encoder.fingerprint == tiny.fingerprint


def test_a_learnt_folder_that_is_saved_again_names_where_its_base_model_lies_now(tiny, tiny_folder, tmp_path):
    moved = shutil.copytree(tiny_folder, tmp_path / "before")
    babelclip.load(moved, device="cpu").save(tmp_path / "learnt")
    moved = moved.rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"for good, in Python: babelclip.load\(FOLDER, base=\.\.\.\)\.save\(FOLDER\)"):
        babelclip.load(tmp_path / "learnt", device="cpu")
    babelclip.load(tmp_path / "learnt", base=moved, device="cpu").save(tmp_path / "learnt")
    assert babelclip.load(tmp_path / "learnt", device="cpu").encoder.fingerprint == tiny.fingerprint


def test_a_learnt_folder_needs_its_own_base_model(tiny, examples, quick, tmp_path):
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=quick)
    student.save(tmp_path / "de")
    with pytest.raises(FormatError, match="learnt on .* with fingerprint"):
        babelclip.load(tmp_path / "de", base="pictoclip", device="cpu")
    with pytest.raises(ModelError, match=r"the base model of .*de', './gone', cannot be loaded.*Say where it lies now"):
        babelclip.load(tmp_path / "de", base="./gone")


def test_no_changed_text_is_missed_and_no_unchanged_one_is_encoded(tiny, examples, quick):
    """A row of a token in the texts changes: the vectors are those of a full evaluation. Of another: none is made."""
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], settings=quick)
    gallery = Gallery("test", examples["de"])
    evaluator = Evaluator(tiny)
    evaluator.score(student.learnt, gallery)
    used = {token for sequence in student.lexicon.encode(examples["de"].texts) for token in sequence}
    idle = next(token for token in range(len(student.lexicon.table)) if token not in used)
    for token, encoded in ((idle, 24), (min(used), 48)):
        lexicon = student.lexicon.copy()
        lexicon.table = student.lexicon.table.clone()
        lexicon.table[token] += 1
        found = evaluator._look(Learnt(lexicon), gallery).vectors
        assert evaluator.encoded == encoded
        assert torch.equal(found, Evaluator(tiny)._look(Learnt(lexicon), gallery).vectors)
        student.learnt = Learnt(lexicon)
    known = student.lexicon.vocabulary  # cut anew into tokens that were there before: no row changes
    lexicon = replace(student.lexicon, vocabulary=replace(known, merges=known.merges[:-40]))
    found = evaluator._look(Learnt(lexicon), gallery).vectors
    assert evaluator.encoded == 72
    assert torch.equal(found, Evaluator(tiny)._look(Learnt(lexicon), gallery).vectors)
