"""What is told of a model before it is used; tiny models of several families, saved by transformers."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil
from typer.testing import CliRunner

from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.data.texts import UNKNOWN, read_texts
from babelclip.encoders.families import KNOWN_FAMILIES
from babelclip.encoders.find import find_model
from babelclip.encoders.headers import Weight, read_header
from babelclip.encoders.insert import TowerShape
from babelclip.encoders.load import FAMILIES
from babelclip.encoders.tokenizer_facts import open_tokenizer
from babelclip.encoders.tower import encode_batch, pad
from babelclip.errors import DataError, ModelError, SettingError, UnknownNameError
from babelclip.hub import pull
from babelclip.lexicon.cuts import measure_cuts
from babelclip.methods import METHODS
from babelclip.methods.available import list_methods
from babelclip.packs import Polyglot, install_pack, learn_pack, save_pack
from babelclip.packs.inspection import inspect_model
from babelclip.training.footprint import HOLES, Sizes, estimate_memory, measure_speed
from fake_hub import fake_hub
from foreign_models import FOREIGN


@pytest.fixture(scope="module")
def foreign_folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("foreign")
    torch.manual_seed(0)
    for name, (make, *_) in FOREIGN.items():
        model, tokenizer = make()
        model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
        CLIPImageProcessorPil(size={"shortest_edge": 16}).save_pretrained(place / name)
    return place


def run(*words):
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


@pytest.mark.parametrize("family", FOREIGN)
def test_other_families_are_told_and_can_be_taught(family, foreign_folders):
    _, kind, context, dim, ids, causal = FOREIGN[family]
    found = inspect_model(str(foreign_folders / family))
    facts, made = found.facts, FOREIGN[family][0]()[0]
    assert (facts.family, facts.context, facts.dim, facts.pooling_ids) == (family, context, dim, ids)
    assert facts.parameters == sum(one.numel() for one in made.parameters())
    assert facts.text.parameters == sum(
        one.numel() for name, one in made.named_parameters() if name.startswith("text_")
    )
    for tower in (facts.text, facts.image):
        assert (tower.layers, tower.width, tower.heads, tower.inner) == (2, 32, 2, 64)
    assert facts.text.activation == ("gelu_pytorch_tanh" if family.startswith("siglip") else "gelu")
    assert (facts.image_size, facts.patch, facts.patches) == (None if family == "siglip2" else 16, 8, 4)
    assert facts.tokenizer.kind == kind
    assert facts.rows == facts.tokenizer.tokens
    assert facts.tokenizer.byte_fallback == (kind == "Unigram")
    assert facts.tokenizer.lower_case == (kind == "WordPiece")
    assert facts.dtypes == {"F32": facts.parameters}
    assert (facts.bytes, facts.problems) == (4 * facts.parameters, [])
    starts = family != "altclip"  # this one's tokenizer is SigLIP's
    assert found.reasons == ([] if starts else ["its tokenizer names no bos token"])
    assert KNOWN_FAMILIES[family].causal in (causal, None)
    assert (found.speed is not None) == starts
    other = {one.method for one in found.methods if one.available != starts}
    assert other == ({"dualprompt"} if starts else set()), "its expert prompts have no place in 2 layers"


def test_a_family_that_is_not_known_is_told_and_not_loaded(foreign_folders, tmp_path, monkeypatch):
    monkeypatch.setattr("babelclip.packs.inspection.load_encoder", lambda *a, **k: pytest.fail("loaded"))
    folder = tmp_path / "flava"
    shutil.copytree(foreign_folders / "siglip2", folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"model_type": "siglip2"', '"model_type": "flava"'))
    done = run(folder)
    text = " ".join(done.stdout.split())
    assert done.exit_code == 0, done.output
    for piece in ("no loader for the family flava", "It cannot be taught yet", "What can be taught", "pictoclip",
                  "bytes as a fallback", f"none of the {len(list(METHODS))} methods"):  # fmt: skip
        assert piece in text, text
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the first names the folder


def test_limits_of_tower_and_tokenizer_are_told_apart(foreign_folders):
    text = " ".join(run(foreign_folders / "chinese_clip").stdout.split())
    assert "at most 512 tokens, 52 by its tokenizer; each token sees all others" in text


def test_the_built_in_model_is_told_whole(pictoclip):
    found = inspect_model("pictoclip", device="cpu")
    facts = found.facts
    assert found.fingerprint == pictoclip.encoder.fingerprint
    assert (facts.text.layers, facts.image.layers, facts.dim, facts.context) == (4, 6, 192, 77)
    assert (facts.image_size, facts.patch, facts.patches, facts.pooling_ids) == (64, 8, 64, {"eos": 3071})
    assert (facts.tokenizer.kind, facts.tokenizer.tokens, facts.tokenizer.missing_bytes) == ("BPE", 3072, 0)
    assert facts.tokenizer.merges == len(pictoclip.lexicon.vocabulary.merges)
    assert (facts.dtypes, facts.text.activation) == ({"F16": facts.parameters}, "quick_gelu")
    assert [one.method for one in found.methods] == list(METHODS)
    assert all(one.available for one in found.methods)
    assert found.speed.texts_per_second > 0
    assert found.speed.length == 16
    by_name = {one.method: one for one in found.methods}
    assert by_name["mla"].told
    assert by_name["er"].memory
    assert by_name["mla"].pack
    assert not by_name["full"].pack
    assert (found.batch, found.new_rows) == (32, 2000)


def test_the_command_prints_everything_in_80_columns(captions):
    done = run("pictoclip", "--texts", captions / "ru.tsv", "--device", "cpu")
    text = " ".join(done.stdout.split())
    assert done.exit_code == 0, done.output
    for piece in ("clip: CLIP (CLIPModel)", "4 layers of width 192, 3 heads, MLP 768 quick_gelu",
                  "64 px, patches of 8 px", "first end-of-text token, eos 3071", "byte level, lower-cases",
                  "10.36 MB: 5,177,665 F16",
                  "965ff330a46a", "packs-routed yes", "about", "texts/s forward and backward", "en English 24",
                  "ru Russian 24"):  # fmt: skip
        assert piece in text, text
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "texts/s" not in run("pictoclip", "--no-measure", "--device", "cpu").stdout


def test_the_same_as_json(tiny_folder, foreign_folders, captions):
    options = ("--json", "--no-measure", "--device", "cpu")
    found = json.loads(run(tiny_folder, "--texts", captions / "de.tsv", "--language", "de", *options).stdout)
    assert found["teachable"]
    assert found["model"]["tokenizer"]["kind"] == "BPE"
    assert found["model"]["causal"]
    assert found["cost"]["memory"]["total"] > 0
    assert found["cost"]["speed"] is None
    assert list(found["texts"]) == ["de"]
    assert len(found["methods"]) == len(list(METHODS))
    assert json.loads(run(foreign_folders / "siglip", *options).stdout)["teachable"]
    foreign = json.loads(run(foreign_folders / "altclip", *options).stdout)
    assert (foreign["teachable"], foreign["cost"], foreign["packs"]) == (False, None, None)
    assert foreign["reasons"]
    assert foreign["what_can"]


def test_packs_are_told_with_their_base_model(tiny, tiny_folder, examples, quick, tmp_path):
    pack, _ = learn_pack(Polyglot(tiny, base_lexicon(tiny)), "de", examples["de"], method="mla", settings=quick)
    install_pack(tmp_path / "packs", pack, tiny)
    found = inspect_model(str(tmp_path / "packs"), measure=False, device="cpu")
    (one,) = found.packs
    assert (one.language, one.rows, one.new_tokens) == ("de", len(pack.rows), len(pack.vocabulary.tokens))
    assert (one.modules, one.stored, one.fingerprint) == (("mla",), "float16", found.fingerprint)
    assert one.bytes > 0
    assert found.facts.name == str(tiny_folder)
    assert found.notes == []
    assert "German" in run(tmp_path / "packs", "--no-measure", "--device", "cpu").stdout
    save_pack(pack, tmp_path / "de.babelpack")
    with pytest.raises(ModelError, match="--base"):
        inspect_model(str(tmp_path / "de.babelpack"))
    again = inspect_model(str(tmp_path / "de.babelpack"), base=str(tiny_folder), measure=False, device="cpu")
    assert again.packs == [one]
    other = inspect_model(str(tmp_path / "de.babelpack"), base="pictoclip", measure=False, device="cpu")
    assert "another base model" in other.notes[0]


def test_cuts_are_counted_per_word_and_character(foreign_folders, tiny):
    clip = find_model("pictoclip")
    cuts = measure_cuts(open_tokenizer(clip.folder), ["a red square", "Москва"], clip.facts.tokenizer, context=14)
    assert cuts.texts == 2
    assert cuts.tokens_per_text == (3 + 12) / 2
    assert cuts.tokens_per_word == 15 / 4
    assert cuts.tokens_per_character == 15 / 16
    assert cuts.over_limit == 0
    assert cuts.in_bytes == pytest.approx(1 / 3)  # red, square, Москва; not a
    assert cuts.unknown == 0
    assert measure_cuts(open_tokenizer(clip.folder), ["Москва"], clip.facts.tokenizer, context=13).over_limit == 1
    siglip = find_model(str(foreign_folders / "siglip"))
    cuts = measure_cuts(open_tokenizer(siglip.folder), ["a red", "ሰ"], siglip.facts.tokenizer, context=4)
    assert (cuts.tokens_per_text, cuts.in_bytes, cuts.unknown) == ((2 + 4) / 2, 1 / 2, 0)
    assert cuts.over_limit == 1 / 2  # one special token, so 3 fit
    bert = find_model(str(foreign_folders / "chinese_clip"))
    cuts = measure_cuts(open_tokenizer(bert.folder), ["Red squares ሰ"], bert.facts.tokenizer, context=None)
    assert (cuts.tokens_per_word, cuts.in_bytes, cuts.unknown) == (4 / 3, 0, 1 / 3)
    assert cuts.over_limit is None


def test_texts_are_read_by_column(tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("ein  Quadrat\n\nein Feld\n", encoding="utf-8")
    assert read_texts(lines) == {UNKNOWN: ["ein Quadrat", "ein Feld"]}
    assert read_texts(lines, "de") == {"de": ["ein Quadrat", "ein Feld"]}
    table = tmp_path / "captions.tsv"
    table.write_text("image\ten\tpt_br\tcaption\nx.png\ta\tum\tb\ny.png\tb\t\tc\n", encoding="utf-8")
    assert read_texts(table) == {"en": ["a", "b"], "pt-BR": ["um"]}
    assert read_texts(table, "pt-BR") == {"pt-BR": ["um"]}
    with pytest.raises(UnknownNameError, match="unknown column 'sw'"):
        read_texts(table, "sw")
    table.write_text("image\tcaption\nx.png\ta\n")
    with pytest.raises(DataError, match="none of the columns image, caption"):
        read_texts(table)
    lines.write_text("\n \n")
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(lines)
    with pytest.raises(DataError, match="no such file"):
        read_texts(tmp_path / "nothing.txt")
    assert isinstance(run("pictoclip", "--language", "de").exception, SettingError)


def test_memory_is_what_the_backward_pass_keeps(pictoclip):
    """The bytes that torch keeps for the backward pass, counted, are those of the formula."""
    kept, texts, length = {}, 16, 24
    encoder = pictoclip.encoder
    own = {one.untyped_storage().data_ptr() for one in encoder.text_tower._layers[0].attention_in}
    for layer in encoder.text_tower._layers:
        own |= {part.untyped_storage().data_ptr() for pair in layer for part in pair}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    chance = torch.Generator().manual_seed(1)
    some = [
        [encoder.frame.bos, *torch.randint(0, 3000, (length - 2,), generator=chance).tolist(), encoder.frame.eos]
        for _ in range(texts)
    ]
    rows = encoder.token_table.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encode_batch(encoder, rows, pad(some, encoder.frame.eos), encoder.frame.eos)
    measured = sum(size for size, _ in kept.values())
    sizes = Sizes(5_177_665, 3072, 192, 768, 4, 65, 192, 768)
    memory = estimate_memory(sizes, batch=texts, length=length, new_rows=2000)
    assert measured == pytest.approx(memory.texts / HOLES, rel=0.15)
    assert memory.model == 4 * 5_177_665
    assert memory.lexicon == 4 * 192 * (3072 + 2 * 5072)
    assert memory.total > memory.model + memory.lexicon + memory.training


def test_speed_is_measured_on_given_texts(tiny):
    speed = measure_speed(
        tiny, [[tiny.frame.bos, 5, tiny.frame.eos], [tiny.frame.bos, 6, 7, tiny.frame.eos]], seconds=0
    )
    assert (speed.batch, speed.length, speed.device) == (2, 3.5, "cpu")
    assert speed.texts_per_second > 0


def test_methods_that_do_not_fit_a_tower_say_so():
    assert all(one.available for one in list_methods(TowerShape(3, 32, 2, 24)))
    assert [one.method for one in list_methods(TowerShape(2, 32, 2, 24)) if one.reason] == ["dualprompt"]
    assert {one.reason for one in list_methods(TowerShape(2, 33, 2, 24))} == {
        "a width of 33 cannot be divided by 2 heads"
    }
    assert {one.reason for one in list_methods(None)} == {"the sizes of the text tower are not known"}


def test_nothing_of_a_hub_is_fetched_but_small_files(tiny_folder, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="cannot look at 'nobody/nothing' on the hub"):
        find_model("nobody/nothing")
    with pytest.raises(ModelError, match="there is no folder"):
        find_model("nothing")
    header = read_header(tiny_folder / "model.safetensors")
    entries = {
        name: SimpleNamespace(dtype=one.dtype, shape=list(one.shape), data_offsets=(0, one.bytes))
        for name, one in header.items()
    }
    monkeypatch.setattr(
        "huggingface_hub.HfApi.parse_safetensors_file_metadata", lambda *_, **__: SimpleNamespace(tensors=entries)
    )
    with fake_hub(tmp_path / "cache") as hub:
        hub.add("some/model", tiny_folder)
        found = inspect_model("some/model")
        assert hub.fetched() == {one.name for one in tiny_folder.iterdir()} - {"model.safetensors"}
        assert found.facts.weights == header
        assert (found.reasons, found.fingerprint, found.speed) == ([], None, None)
        assert "babelclip pull some/model" in found.notes[0]
        assert found.memory is not None
        pull("some/model")
        assert find_model("some/model").here
        hub.add("some/other", {"pytorch_model.bin": b"no", "config.json": b"{}"})
        with pytest.raises(ModelError, match="pickled"):
            find_model("some/other")


def test_a_shared_lexicon_is_no_model(tiny_folder, tmp_path):
    (tmp_path / "lexicon.json").write_text("{}")
    with pytest.raises(ModelError, match="a lexicon that languages share"):
        inspect_model(str(tmp_path))


def test_every_family_that_is_loaded_is_told():
    assert set(FAMILIES) <= set(KNOWN_FAMILIES)
    assert Weight("F32", (2, 3), 24).size == 6
    assert CLIPConfig().model_type in KNOWN_FAMILIES
