"""MLA from the command line and in benchmark plans."""

import shutil

import pytest
from typer.testing import CliRunner

from babelclip.benchmarks.plan import make_plan
from babelclip.benchmarks.prepare import Where
from babelclip.benchmarks.run import run_bench
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.encoders import load_encoder
from babelclip.errors import SettingError
from babelclip.lexicon import read_multilingual
from test_mla import MLA


def run(*arguments) -> str:
    """The command line in this process; errors that users see are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_the_command_line_teaches_two_languages_at_once_and_a_third_later(
    captions, tiny_folder, language_model, tmp_path
):
    captions = shutil.copytree(captions, tmp_path / "captions")
    for tag, known in (("fr", "de"), ("es", "ru")):
        text = (captions / f"{known}.tsv").read_text().replace(f"en\t{known}", f"en\t{tag}")
        (captions / f"{tag}.test.tsv").write_text(text)
    out, data = tmp_path / "out", captions / "{}.tsv"
    where = ("--base", tiny_folder, "--device", "cpu", "--batch-size", 8)
    printed = run(
        "learn", *where, "--lexicon", language_model, "--language", "de,ru", "--data", data, "--test", data,
        "--out", out, "--method", MLA,
    )  # fmt: skip
    for piece in ("48 texts", "0 new tokens", "18 steps", "stage nlt:", "stage le:", "German", "Russian"):
        assert piece in printed
    assert f"--method '{MLA}'" in printed, "the next language is learnt in the same way"
    later = tmp_path / "later"
    printed = run("learn", "--base", out, "--language", "fr", "--data", captions / "fr.test.tsv", "--out", later,
                  "--method", MLA, "--device", "cpu")  # fmt: skip
    assert "knows de, ru" in printed
    more = run("learn", "--base", later, "--language", "fr", "--data", captions / "fr.test.tsv", "--out",
               tmp_path / "more", "--method", "mla(start=uniform)+le", "--again", "--device", "cpu")  # fmt: skip
    assert "stage le:" in more
    found = run("evaluate", "--model", later, "--language", "en", "--data", captions / "de.tsv", "--text-column", "en")
    base = run("evaluate", "--model", tiny_folder, "--language", "en", "--data", captions / "de.tsv", "--text-column",
               "en")  # fmt: skip
    assert found == base


def test_mistakes_on_the_command_line_are_named(captions, tiny_folder, language_model, tmp_path):
    where = ("learn", "--base", tiny_folder, "--out", tmp_path / "out", "--device", "cpu", "--lexicon", language_model)
    with pytest.raises(SettingError, match=r"de.tsv is one file, but the languages are de, ru.*\{\}.train.tsv"):
        run(*where, "--language", "de,ru", "--data", captions / "de.tsv")
    with pytest.raises(SettingError, match="'epochs' has no effect"):
        run(*where, "--language", "de", "--data", captions / "de.tsv", "--method", MLA, "--epochs", 3)
    with pytest.raises(SettingError, match="'learning_rate' has no effect"):
        make_plan({"base": "x", "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}], "methods": [MLA],
                   "settings": {"learning_rate": 0.1}})  # fmt: skip


def test_a_benchmark_run_takes_a_lexicon_and_says_which(folder, tiny_folder, language_model, tmp_path):
    plan = make_plan({
        "base": str(tiny_folder), "lexicon": str(language_model), "languages": ["de", "ru"],
        "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}], "methods": [f"{MLA}+joint"],
        "settings": {"batch_size": 8},
    })  # fmt: skip
    where = Where(tmp_path, folders={"folder": folder}, device="cpu")
    results = run_bench(plan, where, tmp_path / "out")
    words = read_multilingual(language_model, base_lexicon(load_encoder(tiny_folder, device="cpu")))
    assert results.base.lexicon == f"multilingual {words.fingerprint}"
    assert results.runs[0].needs_language
    with pytest.raises(SettingError, match="lexicon was .*, is own"):
        run_bench(plan.model_copy(update={"lexicon": "own"}), where, tmp_path / "out")
