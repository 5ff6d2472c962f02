"""What is said of a pack before it is learnt."""

import json
import random
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import babelclip
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Wish
from babelclip.packs import Polyglot, learn_pack
from babelclip.packs import plan as planning
from babelclip.packs.card import ROW_DTYPES
from babelclip.packs.container import zip_files
from babelclip.packs.curve import CURVES, Curve, expect
from babelclip.packs.plan import plan_pack
from babelclip.packs.store import pack_files


@pytest.fixture(scope="module")
def settings():
    return babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=3, learning_rate=1e-3, idle_decay=False)


@pytest.fixture(scope="module")
def plain(tiny):
    return Polyglot(tiny, base_lexicon(tiny))


@pytest.mark.parametrize("method", ["cll", "mla"])
@pytest.mark.parametrize("tag", ["de", "ru"])
def test_a_plan_says_what_learning_then_finds(tag, method, plain, corpora, examples, settings):
    plan = plan_pack(plain, corpora[tag], method=method, settings=settings, start="random")
    seen = []
    for rows in ROW_DTYPES:
        pack, report = learn_pack(
            plain, tag, examples[tag], method=method, settings=settings, rows=rows, on_step=seen.append
        )
        real = len(zip_files(pack_files(pack)))
        assert plan.pack_bytes[rows] == pytest.approx(real, abs=600), "the card says a little more of the data"
        assert plan.own_rows == len(pack.rows)
    assert plan.pack_bytes["float32"] > plan.pack_bytes["float16"] > plan.pack_bytes["int8"]
    assert (plan.texts, plan.pictures) == (24, 24)
    assert plan.coverage == report.coverage
    assert plan.new_tokens == report.new_tokens
    assert plan.steps == report.steps == 9
    assert plan.before.tokens_per_word > plan.coverage.tokens_per_word
    assert plan.before.unused == 0
    assert min(plan.step_seconds, plan.picture_seconds) > 0
    assert plan.seconds == pytest.approx(9 * plan.step_seconds + 24 * plan.picture_seconds)


def test_time_is_that_of_real_steps_times_their_number(plain, corpora, settings, monkeypatch):
    """The first step of a stage does not count; each stage has its own steps."""

    def train(encoder, learnt, examples, stack, settings, *, on_step):
        for stage, seconds in (("a", (90.0, 1.0, 2.0, 3.0)), ("b", (5.0,))):
            for one in seconds:
                on_step(type("Step", (), {"stage": stage, "seconds": one}))
        learnt.lexicon.grow("de", [], Wish(400), initialiser="normal", generator=None)
        return learnt, None

    class Two:
        name = "two"

        def stages(self, settings):
            return {"a": settings, "b": replace(settings, epochs=1, batch_size=5)}

    monkeypatch.setattr(planning, "train_task", train)
    plan = plan_pack(plain, corpora["de"], method=Two(), settings=settings, start="random")
    assert plan.steps == 3 * 3 + 4
    assert plan.steps * plan.step_seconds == pytest.approx(9 * 2.0 + 4 * 5.0)


def test_a_batch_larger_than_the_data_is_one_step(plain, corpora, settings):
    plan = plan_pack(plain, corpora["de"], method="cll", settings=replace(settings, batch_size=128), start="random")
    assert plan.steps == 3


def test_rows_that_are_frozen_are_not_in_the_pack(plain, corpora, examples, settings):
    frozen = replace(settings, frozen="rows", epochs=1)
    plan = plan_pack(plain, corpora["de"], method="mla", settings=frozen, start="random")
    pack, _ = learn_pack(plain, "de", examples["de"], method="mla", settings=frozen)
    assert plan.own_rows == len(pack.rows) == plan.new_tokens


def test_curves_saturate_and_are_said_as_a_range(monkeypatch):
    curve = Curve("nowhere", 80.0, 500.0, 0.7)
    assert curve.share(500) == pytest.approx(40)
    assert curve.share(100) < curve.share(1_000) < curve.share(10**9) <= 80
    assert curve.share(2_000) == pytest.approx(80 / (1 + 0.25**0.7))
    assert curve.share(0) == curve.share(1)
    monkeypatch.setitem(CURVES, "random", (curve, Curve("there", 40.0, 500.0, 0.7)))
    assert expect(["été"] * 500, "random") == (pytest.approx(20), pytest.approx(40))
    assert expect(["été"] * 500, "base") is None
    assert expect(["лето"] * 500, "random") is None
    assert expect(["12 + 3", "лето"], "random") is None
    assert expect(["l'été et лето"] * 500, "random") is not None


def test_every_curve_is_sensible():
    assert CURVES["random"]
    assert CURVES["pairs"]
    for curves in CURVES.values():
        for curve in curves:
            assert 0 < curve.share(100) < curve.share(10_000) <= 100


def invoke(tiny_folder, captions, out, *more):
    where = ("--base", tiny_folder, "--data", captions / "de.tsv", "--language", "de", "--out", out, "--device", "cpu")
    options = (*where, "--vocab-size", 400, "--plan", *more)
    return CliRunner().invoke(app, ["learn", *map(str, options)])


def test_the_command_prints_a_plan_and_writes_nothing(tiny_folder, captions, tmp_path):
    before = sorted(captions.iterdir())
    done = invoke(tiny_folder, captions, tmp_path / "new", "--start", "pairs", "--epochs", 2)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    for piece in (
        "German (de), planned",
        "24 texts of 24 pictures",
        "as float16",
        "2 steps",
        "a guess",
        "with the base tokenizer",
    ):
        assert piece in text, text
    assert "nothing was measured for this script with the start 'base'" in " ".join(
        invoke(tiny_folder, captions, tmp_path / "new", "--start", "base").stdout.split()
    )
    assert not any(tmp_path.iterdir())
    assert sorted(captions.iterdir()) == before


def test_rare_tokens_are_told_before_and_after_learning(tiny_folder, captions, tmp_path):
    """A thousand texts each with a word of its own; in as few as 24, many tokens are rare whatever is done."""
    chance = random.Random(0)
    words = ["".join(chr(0x4E00 + chance.randrange(100)) for _ in range(4)) for _ in range(1000)]
    file = captions / "rare.tsv"
    file.write_text("image\ten\tde\n" + "".join(f"0-0.png\ta dog\t{word}\n" for word in words), encoding="utf-8")
    out = tmp_path / "new"
    given = ("learn", "--base", tiny_folder, "--data", file, "--language", "de", "--out", out, "--device", "cpu",
             "--vocab-size", 9000, "--batch-size", 500, "--epochs", 1)  # fmt: skip
    note = "just once, and a row learns little from that; --set min_count=5"
    for more, told in ((["--plan"], True), (["--set", "min_count=5", "--plan"], False), ([], True)):
        done = CliRunner().invoke(app, [*map(str, given), *more])
        assert done.exit_code == 0, done.output
        assert (note in " ".join(done.stdout.split())) == told, done.stdout
    file.unlink()
    assert "just once" not in invoke(tiny_folder, captions, tmp_path / "few").stdout


def test_the_same_as_json(tiny_folder, captions, tmp_path):
    found = json.loads(invoke(tiny_folder, captions, tmp_path / "de.babelpack", "--json", "--rows", "int8").stdout)
    assert (found["language"], found["texts"], found["steps"], found["rows"]) == ("de", 24, 3, "int8")
    assert set(found["pack_bytes"]) == set(ROW_DTYPES)
    assert found["seconds"] > 0
    assert not any(tmp_path.iterdir())


def test_what_cannot_be_learnt_cannot_be_planned(tiny_folder, captions, tmp_path, plain, corpora, settings):
    for more, error, match in (
        (["--shared"], SettingError, "--plan is for packs"),
        (["--start", "nowhere"], UnknownNameError, "unknown start"),
        (["--set", "epoch=1"], UnknownNameError, "unknown setting"),
    ):
        found = invoke(tiny_folder, captions, tmp_path / "new", *more).exception
        assert isinstance(found, error)
        assert match in str(found)
    with pytest.raises(UnknownNameError, match="unknown start"):
        plan_pack(plain, corpora["de"], method="cll", settings=settings, start="nowhere")
