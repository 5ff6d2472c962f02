"""``babelclip pull`` against a hub in this process: what is fetched, what never is, and what is said without one."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

import babelclip
from babelclip.encoders import load_encoder
from babelclip.encoders.find import find_model
from babelclip.encoders.hub import HubName
from babelclip.errors import BabelclipError, FormatError, ModelError, SettingError
from babelclip.hub import pull
from babelclip.packs import Polyglot, install_pack, save_pack
from exports import learn_packs
from fake_hub import fake_hub
from test_cli import invoke, spawn


@pytest.fixture
def hub(tmp_path):
    with fake_hub(tmp_path / "cache") as made:
        yield made


@pytest.fixture(scope="module")
def pack(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll"}).packs["de"]


@pytest.fixture
def model(tiny_folder, tmp_path):
    """A repository as hubs have them: with pickles, other copies of the weights, and code."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    names = json.loads((folder / "tokenizer_config.json").read_text())
    names["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    for name in ("pytorch_model.bin", "tf_model.h5", "model.fp16.safetensors"):
        (folder / name).write_bytes(b"must not be fetched")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


def test_only_safetensors_and_small_files_are_fetched_and_no_code_runs(hub, model, tiny_folder, tiny, tmp_path):
    commit = hub.add("some/clip", model)
    printed = invoke("pull", "some/clip", "--revision", "main")
    assert f"commit {commit}; some/clip@{commit} names this very state" in printed
    assert "some/clip: complete" in printed
    assert hub.fetched() == {one.name for one in tiny_folder.iterdir()}
    encoder = load_encoder("some/clip", device="cpu")
    assert encoder.fingerprint == load_encoder(model, device="cpu").fingerprint
    assert not (tmp_path / "ran").exists()


def test_a_revision_is_pinned_wherever_a_base_model_is_named(hub, tiny_folder, deep_folder, tiny, deep):
    first = hub.add("some/clip", tiny_folder)
    hub.repositories["some/clip"].refs |= {"v1": first, "refs/pr/7": first}
    second = hub.add("some/clip", deep_folder)
    assert load_encoder("some/clip", device="cpu").fingerprint == deep.fingerprint
    for revision in ("v1", "refs/pr/7", first):
        encoder = load_encoder(f"some/clip@{revision}", device="cpu")
        assert (encoder.fingerprint, encoder.name) == (tiny.fingerprint, f"some/clip@{revision}")
        assert find_model(f"some/clip@{revision}").facts.text.layers == 2
    assert find_model("some/clip").facts.text.layers == deep.text_tower.shape.layers
    assert Polyglot.load(f"some/clip@{first}", device="cpu").encoder.fingerprint == tiny.fingerprint
    assert babelclip.load(f"some/clip@{second}", device="cpu").encoder.fingerprint == deep.fingerprint
    hub.asked.clear()
    load_encoder(f"some/clip@{second}", device="cpu")
    assert hub.asked == [], "a commit that is there is not asked for again"


def test_inspect_fetches_no_weights(hub, tiny_folder, monkeypatch):
    hub.add("some/clip", tiny_folder)
    entries = {"a": SimpleNamespace(dtype="F32", shape=[2, 3], data_offsets=(0, 24))}
    monkeypatch.setattr(
        "huggingface_hub.HfApi.parse_safetensors_file_metadata",
        lambda *_, **given: SimpleNamespace(tensors=entries if given["revision"] == "main" else {}),
    )
    found = find_model("some/clip@main")
    assert not found.here
    assert found.facts.weights["a"].shape == (2, 3)
    assert "model.safetensors" not in hub.fetched()


def test_pickles_alone_are_refused_with_the_converters_branch(hub, model):
    (model / "model.safetensors").unlink()
    (model / "model.fp16.safetensors").unlink()
    hub.add("some/clip", model)
    for ask in (pull, load_encoder):
        with pytest.raises(ModelError, match=r"pickled \(pytorch_model.bin.*Get the model.safetensors"):
            ask("some/clip")
    hub.repositories["some/clip"].proposals.append(
        {"num": 21, "title": "Adding `safetensors` variant of this model", "status": "open", "isPullRequest": True,
         "author": {"name": "SFconvertbot"}, "createdAt": "2024-01-01T00:00:00.000Z",
         "repo": {"name": "some/clip", "type": "model"}}
    )  # fmt: skip
    with pytest.raises(ModelError, match="some/clip@refs/pr/21 names that branch"):
        pull("some/clip")
    assert not any(name.endswith(".bin") for name in hub.fetched())
    with pytest.raises(ModelError, match="pickled"):
        pull(str(model))
    with pytest.raises(ModelError, match="pickled"):
        load_encoder(model)


def test_what_does_not_exist_is_named(hub, tiny_folder):
    hub.add("some/clip", tiny_folder)
    with pytest.raises(ModelError, match="no repository 'some/clop'"):
        pull("some/clop")
    with pytest.raises(ModelError, match="'some/clip' has no revision 'v9'.*40 digits"):
        pull("some/clip@v9")
    with pytest.raises(SettingError, match="names the revision 'v1', --revision says 'v2'"):
        pull("some/clip@v1", revision="v2")
    with pytest.raises(ModelError, match="no folder"):
        pull("some/clip/more")


def test_offline_uses_what_is_cached_and_says_what_is_missing(hub, tiny_folder, tiny, monkeypatch):
    commit = hub.add("some/clip", tiny_folder)
    with pytest.raises(ModelError, match="not in the hub's cache.*pull some/clip"):
        pull("some/clip", offline=True)
    folder = pull("some/clip").folder
    hub.asked.clear()
    assert pull("some/clip", offline=True).commit == commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_encoder(f"some/clip@{commit}", device="cpu").fingerprint == tiny.fingerprint
    (folder / "preprocessor_config.json").unlink()
    for ask in (pull, load_encoder):
        with pytest.raises(ModelError, match=r"lacks picture preparation \(preprocessor_config.json\)"):
            ask("some/clip")
    assert hub.asked == []
    with pytest.raises(ModelError, match="not in the hub's cache"):
        load_encoder("some/clip@v1", device="cpu")


def test_a_hub_that_is_gone_leaves_what_is_cached(hub, tiny_folder, tiny, monkeypatch):
    hub.add("some/clip", tiny_folder)
    pull("some/clip")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load_encoder("some/clip", device="cpu").fingerprint == tiny.fingerprint


def test_a_cache_that_another_tool_filled_is_read(tiny_folder, tiny, tmp_path, monkeypatch):
    """As transformers leaves it: blobs, links to them, and refs."""
    place = tmp_path / "cache" / "models--some--clip"
    commit = "a" * 40
    (place / "blobs").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    for number, file in enumerate(tiny_folder.iterdir()):
        shutil.copy(file, place / "blobs" / str(number))
        (place / "snapshots" / commit / file.name).symlink_to(place / "blobs" / str(number))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert pull("some/clip").commit == commit
    assert load_encoder("some/clip", device="cpu").fingerprint == tiny.fingerprint


def test_a_copy_is_whole_and_without_links(hub, tiny_folder, tiny, tmp_path):
    hub.add("some/clip", tiny_folder)
    pull("some/clip", out=tmp_path / "copy")
    assert not any(file.is_symlink() for file in (tmp_path / "copy").iterdir())
    assert load_encoder(tmp_path / "copy", device="cpu").fingerprint == tiny.fingerprint
    with pytest.raises(SettingError, match="not empty"):
        pull("some/clip", out=tmp_path / "copy")


def test_folders_are_checked(tiny_folder, deep_folder, tmp_path):
    assert "complete" in invoke("pull", tiny_folder)
    assert "complete" in invoke("pull", "pictoclip")
    with pytest.raises(SettingError, match="on this machine, and --out is given"):
        pull(str(tiny_folder), out=tmp_path / "out")
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    for name in ("preprocessor_config.json", "tokenizer.json"):
        (copy / name).unlink()
    with pytest.raises(ModelError, match=r"lacks tokenizer \(tokenizer.json\), picture preparation"):
        pull(str(copy))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no model folder"):
        pull(str(tmp_path / "empty"))


def test_packs_are_written_after_their_checks_and_nothing_is_installed(hub, pack, tiny, tiny_folder, tmp_path):
    save_pack(pack, tmp_path / "pack")
    install_pack(tmp_path / "mine", pack, tiny)
    hub.add("some/german", tmp_path / "pack")
    hub.add("some/packs", {**{one.name: one.read_bytes() for one in (tmp_path / "mine").iterdir()}, "x.py": b"boom"})
    with pytest.raises(SettingError, match="packs .de.*--out FOLDER"):
        pull("some/packs")
    for name, base, tags in (("german", None, ("de",)), ("packs", str(tiny_folder), ("de",))):
        found = pull(f"some/{name}", out=tmp_path / name, base=base)
        assert (found.packs, found.checked) == (tags, base is not None)
    assert not (tmp_path / "packs" / "x.py").exists()
    assert (tmp_path / "packs" / "de.babelpack").read_bytes() == (tmp_path / "mine" / "de.babelpack").read_bytes()
    printed = invoke("pull", "some/german", "--out", tmp_path / "again", "--offline")
    assert "packs of de" in printed
    assert "Nothing is installed" in printed
    assert f"pack install {tmp_path / 'again'} --into FOLDER\n" in printed
    assert "packs of de" in invoke("pull", tmp_path / "again")
    printed = invoke("pull", tmp_path / "packs")
    assert "packs of de" in printed
    assert "Next:" not in printed, "it is a folder of packs already"
    invoke("pack", "install", tmp_path / "again", "--into", tmp_path / "installed", "--base", tiny_folder)


def test_a_damaged_pack_is_not_written(hub, pack, tiny_folder, deep_folder, tmp_path):
    save_pack(pack, tmp_path / "pack")
    rows = tmp_path / "pack" / "rows.safetensors"
    content = rows.read_bytes()
    hub.add("some/good", tmp_path / "pack")
    rows.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    hub.add("some/bad", tmp_path / "pack")
    with pytest.raises(FormatError, match="damaged or changed"):
        pull("some/bad", out=tmp_path / "out")
    with pytest.raises(FormatError, match="fingerprint"):
        pull("some/good", out=tmp_path / "out", base=str(deep_folder))
    save_pack(replace(pack), tmp_path / "fr.babelpack")
    hub.add("some/renamed", {"fr.babelpack": (tmp_path / "fr.babelpack").read_bytes()})
    with pytest.raises(FormatError, match="the pack is for 'de'"):
        pull("some/renamed", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_list_of_packs_is_not_written(hub, pack, tiny, tmp_path):
    install_pack(tmp_path / "mine", pack, tiny)
    files = {one.name: one.read_bytes() for one in (tmp_path / "mine").iterdir()}
    hub.add("some/packs", files | {"polyglot.json": b'{"format": 1, "base": {"name": "x"}}'})
    with pytest.raises(FormatError, match="polyglot.json: Field required"):
        pull("some/packs", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_are_read():
    assert HubName.read("a/b@refs/pr/1") == HubName("a/b", "refs/pr/1")
    assert str(HubName.read("a/b@v1")) == "a/b@v1"
    for wrong in ("a", "a/b/c", "./a", "../a", "/a/b", "a/b@", "a/b@v 1", "a b/c", "~/a"):
        assert HubName.read(wrong) is None, wrong


def test_a_command_of_its_own_asks_the_hub_of_hf_endpoint(hub, tiny_folder, tmp_path):
    commit = hub.add("some/clip", tiny_folder)
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    done = spawn("pull", "some/clip", env=environment)
    assert done.returncode == 0, done.stderr
    assert commit in done.stdout
    done = spawn("pull", "some/clip@v9", env=environment)
    assert done.returncode == 1
    assert "has no revision 'v9'" in done.stderr
    assert issubclass(ModelError, BabelclipError)
