"""``babelclip push``: what would leave, what never does, the card, and a round trip through a hub in this process."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoTokenizer, CLIPModel

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.encoders import load_encoder
from babelclip.errors import FormatError, ModelError, SettingError
from babelclip.evaluation import read_results
from babelclip.export import export_model
from babelclip.hub import prepare, pull, upload, write_shipment
from babelclip.packs import install_pack, load_pack, load_polyglot, save_pack
from exports import TEXTS, assert_close, learn_packs
from fake_hub import fake_hub
from test_cli import invoke

RECORDED = Path(__file__).parents[1] / "bench" / "results" / "table-packs.json"


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll", "ru": "lora"})


@pytest.fixture(scope="module")
def my(polyglot, tiny, tmp_path_factory):
    """A folder of packs, which says where its base model lies."""
    folder = tmp_path_factory.mktemp("packs") / "my"
    for pack in polyglot.packs.values():
        install_pack(folder, pack, tiny)
    assert str(tiny.name) in (folder / "polyglot.json").read_text()
    return folder


@pytest.fixture(scope="module")
def exported(polyglot, tmp_path_factory):
    place = tmp_path_factory.mktemp("exported")
    for target in ("transformers", "sentence-transformers", "open_clip", "onnx"):
        if target == "onnx":
            pytest.importorskip("onnx", reason="needs the extra [serve]")
        export_model(polyglot, place / target, to=target, languages=["en", "de"])
    return place


@pytest.fixture
def hub(tmp_path):
    with fake_hub(tmp_path / "cache") as made:
        yield made


def front_of(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_without_yes_everything_is_shown_and_nothing_leaves(my, hub):
    printed = invoke("push", my, "--repo", "me/packs")
    for file in my.glob("*.babelpack"):
        assert f"{file.stat().st_size:,}  {hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" in printed
    assert "Nothing was uploaded. With --yes these 4 files go to me/packs, private." in printed
    assert "license: cc0-1.0" in printed
    assert hub.asked == []


def test_the_card_of_packs_says_what_hubs_and_people_read(my, polyglot):
    shipment = prepare(my, "me/packs")
    front = front_of(shipment.card)
    assert (front["language"], front["license"], front["library_name"]) == (["de", "ru"], "cc0-1.0", "babelclip")
    assert front["pipeline_tag"] == "zero-shot-image-classification"
    assert "base_model" not in front, "the base model of this test is on no hub"
    entry = front["model-index"][0]["results"][0]
    assert entry["dataset"] == {"name": "held-out (de)", "type": "held-out", "config": "de"}
    assert entry["metrics"] == [{"type": "recall", "value": 61.25, "name": "text to image recall@10, percent"}]
    for piece in (
        "# German, Russian for tiny", "| de | cll | signs/of town | 24 | 24 | CC0-1.0 |", "61.2 |",
        "babelclip pull me/packs", "## Limitations", polyglot.encoder.fingerprint, "The licence of the base model",
    ):  # fmt: skip
        assert piece in shipment.card
    assert shipment.missing == ("a hub id of the base model, which is called 'tiny' here",)
    assert ModelCard(shipment.card).data.language == ["de", "ru"]


def test_a_base_model_of_a_hub_licences_and_tags_are_written_as_hubs_want_them(polyglot, tmp_path):
    pack = polyglot.packs["de"]
    base = pack.card.base.model_copy(update={"name": "some/clip@refs/pr/3"})
    for tag, licence, expected in (
        ("pt-BR", "Apache-2.0", {"license": "apache-2.0"}),
        ("zh-Hant", "My own terms, 2", {"license": "other", "license_name": "my-own-terms-2"}),
        ("quz", "", {}),
    ):
        changed = {"language": tag, "licence": licence, "base": base, "data": pack.card.data.model_copy(
            update={"name": ""})}  # fmt: skip
        save_pack(replace(pack, card=pack.card.model_copy(update=changed)), tmp_path / f"{tag}.babelpack")
        shipment = prepare(tmp_path / f"{tag}.babelpack", "me/pack")
        front = front_of(shipment.card)
        assert {key: front[key] for key in ("license", "license_name") if key in front} == expected
        assert (front["language"], front["base_model"]) == ([tag.split("-")[0]], "some/clip")
        assert front["base_model_relation"] == "adapter"
        assert [one.split(" of ")[0] for one in shipment.missing] == [
            *(["licence"] if not licence else []), "data that it was learnt from",
        ]  # fmt: skip
    assert front_of(prepare(tmp_path / "quz.babelpack", "me/pack", licence="mit").card)["license"] == "mit"


def test_a_folder_of_packs_loads_where_it_was_written(my, polyglot, tiny, tiny_folder, tmp_path):
    invoke("push", my, "--repo", "me/packs", "--to-folder", tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "README.md", "de.babelpack", "polyglot.json", "ru.babelpack",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "polyglot.json").read_text())["base"]["name"] == "tiny"
    loaded = load_polyglot(tmp_path / "out", base=tiny_folder, device="cpu")
    assert torch.equal(loaded.encode_texts(TEXTS, language="de"), polyglot.encode_texts(TEXTS, language="de"))
    with pytest.raises(SettingError, match="not empty"):
        write_shipment(prepare(my, "me/packs"), tmp_path / "out")
    for source in (my / "de.babelpack", tmp_path / "folder"):
        if not source.exists():
            save_pack(polyglot.packs["de"], source)
        write_shipment(prepare(source, "me/de"), tmp_path / f"of-{source.name}")
        pack = load_pack(tmp_path / f"of-{source.name}" / "de.babelpack", tiny, base_lexicon(tiny))
        assert (tmp_path / f"of-{source.name}" / "de.babelpack").read_bytes() == (my / "de.babelpack").read_bytes()
        assert pack.language == "de"


@pytest.mark.parametrize("place", ["transformers", "transformers/de"])
def test_an_exported_folder_loads_where_it_was_written(place, exported, polyglot, tmp_path):
    shipment = prepare(exported / place, "me/clip")
    write_shipment(shipment, tmp_path / "out")
    folder = tmp_path / "out" / ("de" if place == "transformers" else "")
    model, tokenizer = CLIPModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        assert_close(model.get_text_features(**inputs).pooler_output, polyglot.encode_texts(TEXTS, language="de"), 1e-5)
    whole = place != "transformers"
    assert ('from_pretrained("me/clip")' in shipment.card) == whole
    assert ('from_pretrained("me/clip", subfolder="de")' in shipment.card) != whole
    front = front_of(shipment.card)
    assert front["language"] == (["de"] if whole else ["en", "de"])
    assert front["library_name"] == "transformers"


@pytest.mark.parametrize("target", ["sentence-transformers", "open_clip", "onnx"])
def test_each_tool_is_told_how_to_load(target, exported, tmp_path):
    several = prepare(exported / target, "me/clip")
    assert front_of(several.card)["library_name"] == target
    assert 'snapshot_download("me/clip")' in several.card
    assert several.card.count("## How to load\n") == 1
    assert "## Limitations" in several.card
    if target == "onnx":
        return
    alone = prepare(exported / target / "de", "me/clip")
    assert ("hf-hub:me/clip" if target == "open_clip" else 'SentenceTransformer("me/clip")') in alone.card
    for piece in (several.card, alone.card):
        code = piece.split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
    write_shipment(alone, tmp_path / "out")
    if target == "open_clip":
        config = json.loads((tmp_path / "out" / "open_clip_config.json").read_text())
        assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "me/clip"


def test_scores_of_a_run_go_into_the_card(pictoclip, examples, tmp_path):
    polyglot = learn_packs(pictoclip.encoder, {}, {})
    export_model(polyglot, tmp_path / "out", to="transformers")
    results = read_results(RECORDED)
    shipment = prepare(tmp_path / "out" / "en", "me/clip", results=RECORDED)
    entries = front_of(shipment.card)["model-index"][0]["results"]
    run = results.runs[0]
    found = {one["name"]: one["value"] for entry in entries for one in entry["metrics"]}
    named = f"text to image recall@10, percent, {run.method} seed {run.seed}"
    assert found[named] == round(run.scores["img_r10"][-1][run.order.index("en")], 2)
    assert shipment.missing == ("a hub id of the base model, which is called 'pictoclip' here",)
    (tmp_path / "out" / "en" / "results.json").write_bytes(RECORDED.read_bytes())
    again = prepare(tmp_path / "out" / "en", "me/clip")
    assert again.card == shipment.card
    assert "results.json" in again.files


def test_scores_of_another_base_model_are_refused(my):
    with pytest.raises(FormatError, match="the scores are of the base model"):
        prepare(my, "me/packs", results=RECORDED)


def test_places_on_this_machine_never_leave(polyglot, exported, tiny_folder, tmp_path):
    export_model(polyglot, tmp_path / "out", to="transformers", languages=["de"])
    for file, change in (
        ("config.json", lambda old: json.dumps(json.loads(old) | {"_name_or_path": str(tiny_folder)})),
        ("README.md", lambda old: old + f"\nLearnt from {Path.home()}/captions.tsv\n"),
        ("README.md", lambda old: old + "\nSee file:///etc/hosts\n"),
        ("README.md", lambda old: old + "\nSee /usr/bin/env\n"),
        ("README.md", lambda old: old + "\n(/home/somebody/else.tsv)\n"),
        ("README.md", lambda old: old + "\nC:\\Users\\somebody\n"),
        ("tokenizer.json", lambda old: old.replace('"version"', f'"a": "{Path.home()}/x", "version"')),
    ):
        path = tmp_path / "out" / "de" / file
        old = path.read_text()
        path.write_text(change(old))
        with pytest.raises(SettingError, match=rf"{file} holds a place on this machine: .*Nothing is uploaded"):
            prepare(tmp_path / "out" / "de", "me/clip")
        path.write_text(old)
    prepare(tmp_path / "out" / "de", "me/clip")
    pack = polyglot.packs["de"]
    data = pack.card.data.model_copy(update={"name": f"{Path.home()}/captions.tsv"})
    save_pack(replace(pack, card=pack.card.model_copy(update={"data": data})), tmp_path / "de.babelpack")
    with pytest.raises(SettingError, match=r"de.babelpack/pack.json holds a place|README.md holds a place"):
        prepare(tmp_path / "de.babelpack", "me/clip")
    with zipfile.ZipFile(tmp_path / "de.babelpack") as opened:
        assert str(Path.home()).encode() in opened.read("pack.json")


def test_what_is_not_ours_is_refused(polyglot, my, tiny_folder, tmp_path):
    for folder, match in ((tiny_folder, "no exported folder"), (tmp_path, "no exported folder")):
        with pytest.raises(SettingError, match=match):
            prepare(folder, "me/clip")
    babelclip.Student(polyglot.encoder).save(tmp_path / "shared")
    with pytest.raises(SettingError, match="lexicon that languages share"):
        prepare(tmp_path / "shared", "me/clip")
    export_model(polyglot, tmp_path / "out", to="transformers", languages=["de"])
    for name in ("pytorch_model.bin", "code.py", ".token"):
        (tmp_path / "out" / "de" / name).write_text("x")
        with pytest.raises(SettingError, match=f"{name} is nothing that"):
            prepare(tmp_path / "out", "me/clip")
        (tmp_path / "out" / "de" / name).unlink()
    (tmp_path / "out" / "de" / "more.json").symlink_to(tiny_folder / "config.json")
    with pytest.raises(SettingError, match="more.json is nothing that"):
        prepare(tmp_path / "out", "me/clip")
    for name in ("clip", "me/clip@v1", "a/b/c"):
        with pytest.raises(SettingError, match="no repository"):
            prepare(my, name)
    with pytest.raises(SettingError, match="--yes and --to-folder"):
        invoke("push", my, "--repo", "me/packs", "--yes", "--to-folder", tmp_path / "x")


def test_a_language_of_an_onnx_folder_is_answered_with_the_whole(exported):
    with pytest.raises(SettingError, match=rf"de is a part of .* Give the whole folder: {exported / 'onnx'}\."):
        prepare(exported / "onnx" / "de", "me/clip")
    assert prepare(exported / "open_clip" / "de", "me/clip").listing()


def test_a_round_trip_through_a_hub(my, exported, polyglot, tiny, tiny_folder, hub, tmp_path):
    printed = invoke("push", my, "--repo", "me/packs", "--yes", "--message", "Two languages")
    repository = hub.repositories["me/packs"]
    assert f"Uploaded: {hub.url}/me/packs/commit/{repository.refs['main']}" in printed
    assert (repository.private, repository.messages[-1]) == (True, "Two languages")
    assert set(repository.commits[repository.refs["main"]]) == {
        "README.md", "de.babelpack", "ru.babelpack", "polyglot.json",
    }  # fmt: skip
    found = pull("me/packs", out=tmp_path / "packs", base=str(tiny_folder))
    assert found.packs == ("de", "ru")
    loaded = load_polyglot(tmp_path / "packs", base=tiny_folder, device="cpu")
    assert torch.equal(loaded.encode_texts(TEXTS, language="ru"), polyglot.encode_texts(TEXTS, language="ru"))
    upload(prepare(exported / "transformers" / "de", "me/clip"), revision="v1", public=True)
    assert not hub.repositories["me/clip"].private
    assert hub.repositories["me/clip"].commits[hub.repositories["me/clip"].refs["main"]] == {}
    upload(prepare(exported / "transformers", "me/several"))
    found = AutoTokenizer.from_pretrained("me/several", subfolder="de")
    assert len(found) == len(AutoTokenizer.from_pretrained(exported / "transformers" / "de"))
    assert CLIPModel.from_pretrained("me/several", subfolder="de").config.text_config.vocab_size == len(found)
    folder = pull("me/clip@v1").folder
    assert load_encoder(folder, device="cpu").dim == tiny.dim
    with pytest.raises(SettingError, match="me/clip is there and public.*--public"):
        upload(prepare(my, "me/clip"))


def test_a_hub_that_refuses_says_so(my, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="'me/packs': cannot write it to the hub: .*offline mode"):
        upload(prepare(my, "me/packs"))
