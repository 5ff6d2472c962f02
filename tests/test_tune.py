"""Tuning a whole CLIP on English: each step against one written out, interruptions, folders, and plugging in."""

import dataclasses
import json
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel
from typer.testing import CliRunner

from babelclip.cli.main import app
from babelclip.config import change_settings
from babelclip.data import read_captions
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder, open_picture
from babelclip.errors import BabelclipError, DataError, ModelError, SettingError, UnknownNameError
from babelclip.training import Checkpoints
from babelclip.training.pairs import Pairs
from babelclip.training.tune import TuneSettings, tune_english
from babelclip.training.tuner import Tuner
from babelclip.training.workers import Workers
from fake_hub import fake_hub

SHORT = TuneSettings(epochs=3, batch_size=8, learning_rate=1e-3)


def weights(tuned):
    return {name: one.detach().clone() for name, one in tuned.model.named_parameters()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        assert torch.equal(found[name], one), name


def slow_steps(folder, corpus, plans, settings, steps, duplicates):
    """Everything written out: transformers' own tokenizer and picture preparation, and MLA's optimiser by hand."""
    model, tokenizer = CLIPModel.from_pretrained(folder).double(), AutoTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    means = {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    squares = {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    losses = []
    for done, plan in enumerate(plans):
        chosen = [corpus.captions[place] for place in plan]
        texts = tokenizer(
            [one.english for one in chosen], padding=True, truncation=True, max_length=77, return_tensors="pt"
        )
        pixels = processor([open_picture(one.image) for one in chosen], return_tensors="pt")
        output = model(**texts, pixel_values=pixels["pixel_values"].double())
        scores = 100 * output.text_embeds @ output.image_embeds.T  # both have length 1
        loss = 0
        for i in range(len(chosen)):
            same = [
                j
                for j in range(len(chosen))
                if j == i or (duplicates == "positives" and chosen[j].image == chosen[i].image)
            ]
            for line in (scores[i], scores[:, i]):
                loss = loss - sum(line[j] - line.logsumexp(0) for j in same) / len(same) / len(chosen) / 2
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        x = done / steps
        rate = settings.learning_rate * (x / 0.1 if x < 0.1 else (1 + math.cos(math.pi * x)) / 2)
        with torch.no_grad():
            for name, one in model.named_parameters():
                if name == "logit_scale":
                    assert one.grad is None
                    continue
                gradient = one.grad * min(1, settings.clip_norm / (one.grad.norm() + 1e-6))
                means[name] = 0.9 * means[name] + 0.1 * gradient
                squares[name] = 0.98 * squares[name] + 0.02 * gradient**2
                update = means[name] / (squares[name].sqrt() + 1e-6)
                if one.dim() > 1:
                    update = update + 0.2 * one
                one.sub_(rate * update)
    return {name: one.detach() for name, one in model.named_parameters()}, losses


@pytest.mark.parametrize("duplicates", ["positives", "negatives"])
def test_steps_equal_those_written_out(tiny, tiny_folder, english, duplicates):
    """Captions of one picture as each other's positives, or as negatives: the same, because the vector is the same."""
    settings = dataclasses.replace(SHORT, clip_norm=0.05)
    plans = [[0, 5, 24, 7, 25, 4, 9], [1, 26, 8, 2, 3, 25, 11], [24, 0, 12, 13]]
    pairs = Pairs.of(english, tiny)
    assert len(pairs.files) == 24
    assert len(pairs.sequences[24]) == 77, "cut at the limit"
    tuner = Tuner(tiny.load_whole().double(), settings, steps=8, device=tiny.device)
    start = {name: one.detach().clone() for name, one in tuner.model.named_parameters()}
    batches = [pairs.make(torch.tensor(plan)) for plan in plans]
    found = [tuner.step(dataclasses.replace(batch, pixels=batch.pixels.double())) for batch in batches]
    expected, losses = slow_steps(tiny_folder, english, plans, settings, 8, duplicates)
    assert [loss for loss, _, _ in found] == pytest.approx(losses, rel=1e-10)
    rates = [0, *(0.5e-3 * (1 + math.cos(math.pi * x)) for x in (1 / 8, 2 / 8))]
    assert [rate for _, _, rate in found] == pytest.approx(rates)
    assert all(norm > settings.clip_norm for _, norm, _ in found)
    moved = 0
    for name, one in tuner.model.named_parameters():
        torch.testing.assert_close(one.detach(), expected[name], rtol=0, atol=1e-10, msg=name)
        moved += int(not torch.equal(one, start[name]))
    assert moved == len(start) - 1
    assert torch.equal(tuner.model.logit_scale, start["logit_scale"])


def test_the_rate_rises_drops_a_little_and_falls_to_0(tiny):
    tuner = Tuner(tiny.load_whole(), TuneSettings(learning_rate=1.0), steps=100, device=tiny.device)
    assert tuner.rate(0) == 0
    assert tuner.rate(9) == pytest.approx(0.9)
    assert tuner.rate(10) == pytest.approx(0.97553, abs=1e-5)
    assert tuner.rate(50) == pytest.approx(0.5)
    assert tuner.rate(100) == pytest.approx(0, abs=1e-12)


def test_english_is_learnt_and_the_base_model_stays(tiny, english):
    before, steps = tiny.text_tower.weights()["positions"].clone(), []
    tuned = tune_english(
        tiny, english, dataclasses.replace(SHORT, epochs=8), validation=[english], on_step=steps.append
    )
    report = tuned.report
    assert report.losses[-1] < 0.6 * report.losses[0]
    assert report.scores[report.epoch - 1] > 20 + Pairs.of(english, tiny).r_mean(tiny.load_whole())
    assert (report.steps, report.left_out) == (24, 3)
    assert [one.step for one in steps] == list(range(1, 25))
    assert steps[-1].terms["contrastive"] > 0
    assert torch.equal(tiny.text_tower.weights()["positions"], before)


def test_validation_chooses_the_epoch(tiny, english, monkeypatch):
    given = iter([10.0, 30.0, 30.0, 20.0])
    seen = []

    def score(_, model):
        seen.append({name: one.detach().clone() for name, one in model.named_parameters()})
        return next(given)

    monkeypatch.setattr(Pairs, "r_mean", score)
    tuned = tune_english(tiny, english, dataclasses.replace(SHORT, epochs=4), validation=[english])
    assert tuned.report.epoch == 2
    assert_equal(weights(tuned), seen[1])
    assert "Kept: epoch 2 of 4" in tuned.card


class PowerCutError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("validated", [True, False])
def test_interrupted_anywhere_it_ends_with_the_same_bits(tiny, english, tmp_path, validated, monkeypatch):
    held_out = [english] if validated else []
    whole = tune_english(tiny, english, SHORT, validation=held_out)
    for stop in (2, 4, 9):

        def cut(report, stop=stop):
            if report.step == stop:
                raise PowerCutError

        checkpoints = Checkpoints(tmp_path / str(stop))
        with pytest.raises(PowerCutError):
            tune_english(tiny, english, SHORT, validation=held_out, checkpoints=checkpoints, on_step=cut)
        seen = []
        again = tune_english(
            tiny, english, SHORT, validation=held_out, checkpoints=checkpoints,
            on_step=lambda report, seen=seen: seen.append(report.step),
        )  # fmt: skip
        assert seen == list(range((stop - 1) // 3 * 3 + 1, 10)), "it goes on at the start of an epoch"
        assert_equal(weights(again), weights(whole))
        assert again.report.losses == whole.report.losses
        assert again.report.scores == whole.report.scores
    with pytest.raises(SettingError, match="learning_rate was 0.001, is 0.5"):
        tune_english(tiny, english, dataclasses.replace(SHORT, learning_rate=0.5), validation=held_out,
                     checkpoints=checkpoints)  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Workers, "machine", lambda _: {"torch": "1.0", "device": "cpu"})
        with pytest.raises(SettingError, match=r"torch was '[\d.+a-z]*', is '1.0'"):
            tune_english(tiny, english, SHORT, validation=held_out, checkpoints=checkpoints)
    for caption in english.captions:  # other pictures of the same names
        Image.new("RGB", (20, 20), "orange").save(tmp_path / caption.image.name)
    moved = tuple(dataclasses.replace(caption, image=tmp_path / caption.image.name) for caption in english.captions)
    texts = read_captions(english.captions[0].image.parent / "de.tsv", "de")
    for other in (texts, dataclasses.replace(english, captions=moved)):
        with pytest.raises(SettingError, match="data was"):
            tune_english(tiny, other, SHORT, validation=held_out, checkpoints=checkpoints)


def test_the_folder_is_an_ordinary_model(tiny, tiny_folder, tuned_folder, english):
    tuned = tune_english(tiny, english, SHORT)
    model = CLIPModel.from_pretrained(tuned_folder)
    assert_equal({name: one.detach() for name, one in model.named_parameters()}, weights(tuned))
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        assert (tuned_folder / name).read_bytes() == (tiny_folder / name).read_bytes()
    encoder = load_encoder(tuned_folder, device="cpu")
    assert encoder.fingerprint != tiny.fingerprint
    lexicon, texts = base_lexicon(encoder), ["a red square", "a blue wall"]
    inputs = AutoTokenizer.from_pretrained(tuned_folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_text_features(**inputs).pooler_output
    torch.testing.assert_close(
        encode_tokens(encoder, lexicon.table, lexicon.encode(texts)), expected, rtol=0, atol=2e-6
    )
    card = (tuned_folder / "README.md").read_text(encoding="utf-8")
    for piece in (tiny.fingerprint, "27 captions of 24 pictures", "| learning_rate | 0.001 |"):
        assert piece in card
    assert (tuned_folder / "model.safetensors").stat().st_mode == (tuned_folder / "config.json").stat().st_mode
    assert not list(tuned_folder.parent.glob(".*")), "nothing temporary stays"


def test_a_model_of_a_hub_is_written_whole(tiny, tiny_folder, tmp_path):
    with fake_hub(tmp_path / "cache") as hub:
        hub.add("owner/tiny", tiny_folder)
        encoder = load_encoder("owner/tiny", device="cpu")
        encoder.write_whole(encoder.load_whole(), tmp_path / "out")
    assert load_encoder(tmp_path / "out", device="cpu").fingerprint == tiny.fingerprint
    assert {one.name for one in (tmp_path / "out").iterdir()} >= {one.name for one in tiny_folder.iterdir()}
    assert not any(one.is_symlink() for one in (tmp_path / "out").iterdir())


def test_nothing_half_written_stays(tiny, english, tmp_path, monkeypatch):
    tuned = tune_english(tiny, english, SHORT)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CLIPModel, "save_pretrained", full)
    with pytest.raises(BabelclipError, match=r"cannot be written \(No space left on device\)"):
        tuned.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_tuned_is_said(tiny, english, learnt, tmp_path, captions):
    few = dataclasses.replace(english, captions=english.captions[:1])
    with pytest.raises(DataError, match="1 training texts of 1 pictures"):
        tune_english(tiny, few, SHORT)
    same = dataclasses.replace(english, captions=(english.captions[0], english.captions[24]))
    with pytest.raises(DataError, match="2 training texts of 1 pictures: nothing to tell apart"):
        tune_english(tiny, same, SHORT)
    with pytest.raises(ModelError, match=r"is a folder of learnt languages, not a base model. Tune .*tiny"):
        tune_english(learnt, english, SHORT)
    with pytest.raises(SettingError, match="comes with picture vectors of x.npy, but the image side is trained"):
        tune_english(tiny, dataclasses.replace(english, vectors=SimpleNamespace(file="x.npy")), SHORT)
    with pytest.raises(ModelError, match="there is no folder"):
        tune_english(tmp_path / "nothing", english, SHORT)
    tuner = Tuner(tiny.load_whole(), SHORT, steps=9, device=tiny.device)
    tuner.parameters["text_projection.weight"].data.fill_(float("inf"))
    before = tuner.parameters["visual_projection.weight"].detach().clone()
    with pytest.raises(ModelError, match=r"the loss became nan in step 1 of tuning. Lower learning_rate \(now 0.001"):
        tuner.step(Pairs.of(english, tiny).make(torch.arange(8)))
    assert torch.equal(tuner.parameters["visual_projection.weight"], before)
    gone = dataclasses.replace(
        english, captions=(*english.captions[:8], dataclasses.replace(english.captions[8], image=tmp_path / "gone.png"))
    )
    with pytest.raises(DataError, match="gone.png: there is no such picture"):
        tune_english(tiny, gone, dataclasses.replace(SHORT, batch_size=9))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("epoch=3", UnknownNameError, "Did you mean 'epochs'"),
        ("epochs=0", SettingError, "epochs is 0. It must be at least 1"),
        ("learning_rate=nan", SettingError, "learning_rate is nan. It must be between 0 and 1"),
        ("warm_up=1.5", SettingError, "between 0 and 1"),
        ("batch_size=many", SettingError, "must be a number of the kind of 128"),
        ("clip_norm=-1", SettingError, "clip_norm is -1.0. It must be at least 0"),
    ],
)
def test_settings_are_checked(change, error, message):
    assert change_settings(TuneSettings(), ["epochs=2", "beta2=0.9"]) == TuneSettings(epochs=2, beta2=0.9)
    with pytest.raises(error, match=message):
        change_settings(TuneSettings(), [change])


def invoke(*arguments) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_tunes_measures_and_goes_on(english, captions, tiny_folder, learnt, tmp_path, monkeypatch):
    out = tmp_path / "tuned"
    data = english.captions[0].image.parent / "english.tsv"
    command = partial(
        invoke, "tune", "--base", tiny_folder, "--data", data, "--test", data, "--validation", data, "--out", out,
        "--epochs", 3, "--batch-size", 8, "--learning-rate", 1e-3, "--set", "weight_decay=0.1", "--device", "cpu",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.training.tuner.Tuner.rate", fail_at_step_5)
        with pytest.raises(PowerCutError):
            command()
    assert [entry.name for entry in tmp_path.iterdir()] == ["tuned.unfinished"]
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.cli.tune.print_scores", cut)
        with pytest.raises(PowerCutError):
            command()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["tuned", "tuned.unfinished"]
    with pytest.raises(SettingError, match="holds checkpoints of another run: seed was 0, is 5"):
        command("--seed", 5)
    before = (out / "model.safetensors").stat()
    printed = command()
    assert (out / "model.safetensors").stat() == before
    for piece in ("27 English captions", "Going on from", "9 steps in", "before", "after", "chance", "Written to"):
        assert piece in printed
    assert [entry.name for entry in tmp_path.iterdir()] == ["tuned"]
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 10))
    following = next(line for line in printed.splitlines() if " evaluate " in line).split()
    assert "r_mean" in invoke(*following[following.index("evaluate") :])
    printed = invoke("evaluate", "--model", learnt, "--base", out, "--plug-in", "--language", "de", "--data",
                     captions / "de.tsv")  # fmt: skip
    assert "r_mean" in printed
    with pytest.raises(SettingError, match="exists and is not empty"):
        command()


def cut(*_):
    raise PowerCutError


def fail_at_step_5(tuner, done):
    if done == 4:
        raise PowerCutError
    return 1e-3
