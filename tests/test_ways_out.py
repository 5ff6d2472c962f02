"""What is told to somebody who gets a command wrong: before any work is done, and with the way out."""

import pytest

from babelclip.errors import SettingError
from babelclip.packs import list_installed
from test_cli import invoke
from test_pack_cli import learn


@pytest.fixture(scope="module")
def german(captions, tiny_folder, tmp_path_factory):
    """A folder of packs: German."""
    folder = tmp_path_factory.mktemp("german") / "my"
    learn(captions, tiny_folder, "de", folder)
    return folder


def refused(match, *arguments):
    with pytest.raises(SettingError, match=match):
        invoke(*arguments)


def test_a_pack_of_the_language_in_the_base_is_refused_before_training(captions, german, tmp_path):
    out = tmp_path / "new"
    with pytest.raises(SettingError, match=r"my has a pack for 'de' already. Say --replace .*or --base .*tiny"):
        learn(captions, german, "de", out)
    assert not out.exists()
    printed = learn(captions, german, "de", out, "--replace")
    assert f"Written to {out / 'de.babelpack'}, beside no other language." in printed


def test_packs_as_base_stand_for_their_base_model(captions, german, tmp_path):
    """The second language finds the folder there, and what it is said to lie beside is what lies in it."""
    out = tmp_path / "new"
    printed = learn(captions, german, "ru", out)
    assert f"Written to {out / 'ru.babelpack'}, beside no other language." in printed
    for base in (german, german / "de.babelpack"):
        printed = learn(captions, base, "de", out, "--replace")
        assert f"index PICTURES --model {out}\n" in printed
        assert f'search "..." --model {out}\n' in printed
        assert f"Written to {out / 'de.babelpack'}, beside ru." in printed
    assert [*list_installed(out)] == ["de", "ru"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json",), "--json is for --plan"),
        (("--lexicon-width", 5), "--lexicon-width 5 is of the words of a --lexicon"),
        (("--epochs", 2, "--set", "epochs=1"), "epochs is given twice: 2 and 1"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments, message, captions, tmp_path):
    refused(
        message, "learn", "--language", "de", "--data", captions / "de.tsv", "--out", tmp_path / "x", "--device", "cpu",
        *arguments,
    )  # fmt: skip
    assert not (tmp_path / "x").exists()
