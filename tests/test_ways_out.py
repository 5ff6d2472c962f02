"""What is told to somebody who gets a command wrong: before any work is done, and with the way out."""

import pytest

from babelclip.continual import load
from babelclip.errors import ModelError, SettingError
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


def test_a_folder_of_packs_is_called_so_where_something_else_is_wanted(german, tmp_path):
    refused(r"my is a folder of packs, not one pack.* pack show .*de\.babelpack", "pack", "show", german)
    with pytest.raises(ModelError, match=r"my': it is a folder of packs, .*Polyglot\.load"):
        load(german)
    with pytest.raises(ModelError, match="it is a folder of packs"):
        invoke("pack", "build", "--model", german, "--language", "de", "--out", tmp_path / "x")


def test_packs_and_a_shared_lexicon_do_not_share_a_folder(captions, tiny_folder, german, tmp_path):
    out = tmp_path / "shared"
    learn(captions, tiny_folder, "de", out, "--shared")
    for more in ((), ("--shared",)):
        with pytest.raises(SettingError, match=rf"shared .*lexicon .* share.* Go on with it: --base {out} and a new"):
            learn(captions, tiny_folder, "ru", out, *more)
    with pytest.raises(SettingError, match=r"my is a folder of packs, .*as a pack, without --shared"):
        learn(captions, tiny_folder, "ru", german, "--shared")


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
