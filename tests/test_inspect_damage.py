"""Model folders with something wrong in them: what is said, and the way out."""

import json
import shutil
import struct

import pytest
from tokenizers import Tokenizer, models
from transformers import BertConfig, PreTrainedTokenizerFast
from typer.testing import CliRunner

from babelclip.cli.main import app
from babelclip.encoders.families import why_not
from babelclip.encoders.find import find_model
from babelclip.encoders.headers import read_header
from babelclip.encoders.tokenizer_facts import read_tokenizer
from babelclip.errors import ModelError
from babelclip.packs.inspection import inspect_model
from foreign_models import SIDE, WORDS


@pytest.fixture
def copied(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "model")


def run(*words):
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


def rename(folder, name):
    (folder / "model.safetensors").rename(folder / name)


def change(file, **new):
    content = json.loads(file.read_text())
    file.write_text(json.dumps({key: one for key, one in (content | new).items() if one is not None}))


def whole_words():
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]")


def layers(folder, number):
    content = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", text_config=content["text_config"] | {"num_hidden_layers": number})


def without_a_byte(folder):
    """Another token takes the place of a byte's."""
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["never"] = vocabulary.pop("Ĺ</w>")
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "Ĺ</w>" not in pair]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def with_more(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["one more"])
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json; it holds .*model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "the file is damaged"),
        (lambda folder: change(folder / "config.json", model_type=None), "names no model_type"),
        (lambda folder: BertConfig().save_pretrained(folder), "no pair of a text tower and an image tower"),
        (lambda folder: change(folder / "config.json", model_type="clap9"), "'clap9', which transformers"),
        (lambda folder: change(folder / "config.json", projection_dim="many"), "the config cannot be read"),
        (
            lambda folder: change(
                folder / "config.json", model_type="jina_clip", auto_map={"AutoModel": "modeling_clip.JinaCLIPModel"}
            ),
            "code of its own \\(modeling_clip\\), and babelclip runs no code",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda folder: rename(folder, "pytorch_model.bin"), "pickled .*save_pretrained"),
        (lambda folder: rename(folder, "x.safetensors"), "holds x.safetensors, under"),
    ],
)  # fmt: skip
def test_wrong_folders_teach(damage, match, copied):
    damage(copied)
    with pytest.raises(ModelError, match=match):
        inspect_model(str(copied))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no safetensors file"),
        (b"PK\3\4 not at all what it says", "its header would be"),
        (struct.pack("<Q", 10**12) + b"{}", "its header would be"),
        (struct.pack("<Q", 4) + b"{no}", "is damaged"),
        (struct.pack("<Q", 2) + b"[]", "is damaged"),
        (struct.pack("<Q", 2) + b"{}rest", "promises 0 bytes of weights, the file holds 4"),
        (lambda whole: whole[:-10], "promises"),
        (lambda whole: whole.replace(b'"F32"', b'"F16"', 1), "'[a-z_.0-9]+' of shape .* has"),
    ],
)
def test_damaged_headers_are_found(content, match, copied):
    file = copied / "model.safetensors"
    file.write_bytes(content(file.read_bytes()) if callable(content) else content)
    with pytest.raises(ModelError, match=match):
        read_header(file)
    with pytest.raises(ModelError, match=match):
        inspect_model(str(copied))


def test_parts_of_weights_are_put_together(tiny_folder, tmp_path):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(tiny_folder)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    for file in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (tiny_folder / file).exists():
            shutil.copy(tiny_folder / file, tmp_path)
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert find_model(str(tmp_path)).facts.parameters == sum(one.numel() for one in model.parameters())
    parts[0].unlink()
    with pytest.raises(ModelError, match="1 of .* parts of the weights are missing, first model-00001"):
        find_model(str(tmp_path))
    change(tmp_path / "model.safetensors.index.json", weight_map={"x": "../x.safetensors"})
    with pytest.raises(ModelError, match="outside of the folder"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "there is no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "the tokenizer cannot be read"),
        (lambda folder: whole_words().save_pretrained(folder), "tokenizer is WordLevel; lexicons grow by the pieces"),
        (without_a_byte, "no token for 1 of the 256 bytes"),
        (with_more, "tokens but the token table has 3,072 rows"),
        (lambda folder: change(folder / "tokenizer_config.json", eos_token=None), "names no eos token"),
        (lambda folder: layers(folder, 3), "the config says 3 text layers, the weights have 2"),
    ],
)
def test_a_clip_that_cannot_be_taught_says_why(damage, reason, copied):
    damage(copied)
    found = inspect_model(str(copied), measure=False)
    assert any(reason in one for one in found.reasons), found.reasons
    assert not any(one.available for one in found.methods)
    assert run(copied).exit_code == 0


def test_a_model_without_picture_preparation_is_not_taught(copied):
    for file in ("preprocessor_config.json", "processor_config.json"):
        (copied / file).unlink(missing_ok=True)
    assert any("preprocessor_config" in one for one in inspect_model(str(copied)).reasons)


def test_what_only_loading_finds_is_a_reason_too(copied, monkeypatch):
    def refuse(*_, **__):
        raise ModelError("the weights have moved away", fix="Look for them.")

    monkeypatch.setattr("babelclip.packs.inspection.load_encoder", refuse)
    assert inspect_model(str(copied)).reasons == ["the weights have moved away"]


def test_open_clip_folders_are_told(copied):
    (copied / "config.json").unlink()
    (copied / "model.safetensors").rename(copied / "open_clip_model.safetensors")
    (copied / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelError, match="lacks its model_cfg"):
        find_model(str(copied))
    tower = {"layers": 2, "width": 32}
    text = {**tower, "heads": 2, "context_length": 77}
    config = {"embed_dim": 24, "vision_cfg": {**tower, **SIDE}, "text_cfg": text}
    (copied / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    facts = find_model(str(copied)).facts
    assert (facts.family, facts.dim, facts.context, facts.image_size) == ("open_clip", 24, 77, 16)
    assert "the weight visual.conv1.weight is missing" in why_not(facts)
    assert "open_clip" in run(copied).stdout


def test_older_tokenizer_files_are_converted(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    facts = read_tokenizer(tmp_path)
    assert (facts.kind, facts.tokens) == ("WordPiece", 10)
    assert facts.made_from == ("vocab.txt",)
