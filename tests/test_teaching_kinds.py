"""A language taught to a CLIP with another kind of tokenizer: learnt, packed, saved, installed, encoded."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

import babelclip
from babelclip.data import Teacher
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder
from babelclip.errors import FormatError
from babelclip.lexicon.kinds import kind_of
from babelclip.packs import Polyglot, learn_pack, load_pack, save_pack
from babelclip.packs.container import CARD, VOCABULARY
from babelclip.packs.plan import plan_pack
from babelclip.packs.store import pack_files
from babelclip.packs.verify import verify_polyglot
from babelclip.packs.warm import STARTS
from tokenizer_bases import BASES, ENDS

ENGLISH = ["a red square", "a green field in blue", ""]
GERMAN = ["ein quadrat in rot", "ein feld in weiß", "größe"]
QUICK = babelclip.TaskSettings(vocab_size=300, batch_size=8, epochs=2, learning_rate=1e-2, idle_decay=False)


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "byte-fallback"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(kind, tmp_path_factory):
    """A tiny CLIP whose table has five rows more than its tokenizer has tokens."""
    folder = tmp_path_factory.mktemp(kind) / "model"
    start, end = ENDS[kind]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=BASES[kind](), bos_token=start, eos_token=end)
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = {**shared, "vocab_size": len(tokenizer) + 5, "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}  # fmt: skip
    torch.manual_seed(0)
    vision = {**shared, "image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return load_encoder(folder, device="cpu")


@pytest.fixture(scope="module")
def taught(encoder, corpora):
    examples = {tag: Teacher(encoder).prepare(corpus) for tag, corpus in corpora.items()}
    empty = Polyglot(encoder, base_lexicon(encoder))
    packs = {tag: learn_pack(empty, tag, one, method="cll+teir", settings=QUICK)[0] for tag, one in examples.items()}
    return examples, empty, packs


def distance(student, examples):
    """How far the vectors of texts are from those of their English."""
    return float((student.encode_texts(examples.texts) - examples.teachers[:]).square().mean())


def test_a_shared_lexicon_learns_saves_and_comes_back(encoder, taught, tmp_path):
    examples, _, _ = taught
    student = babelclip.Student(encoder)
    english = student.encode_texts(ENGLISH)
    before = distance(student, examples["de"])
    student.learn("de", examples["de"], method="cll+teir", settings=QUICK)
    assert distance(student, examples["de"]) < 0.8 * before
    student.learn("ru", examples["ru"], method="cll+teir", settings=QUICK)
    student.save(tmp_path / "model")
    again = babelclip.load(tmp_path / "model", base=encoder.name, device="cpu")
    for texts, tag in ((GERMAN, "de"), (["красный квадрат"], "ru")):
        assert torch.equal(again.encode_texts(texts, language=tag), student.encode_texts(texts, language=tag))
    assert torch.equal(babelclip.Student(encoder).encode_texts(ENGLISH), english)


def test_packs_are_learnt_saved_installed_and_change_no_english(encoder, taught, tmp_path):
    _, empty, packs = taught
    base = empty.base
    assert packs["de"].vocabulary.tokens
    assert bool(packs["de"].vocabulary.scores) == (kind_of(base.base_tokenizer).name == "Unigram")
    polyglot = empty
    for tag, pack in packs.items():
        save_pack(pack, tmp_path / f"{tag}.babelpack")
        back = load_pack(tmp_path / f"{tag}.babelpack", encoder, base)
        assert back.vocabulary == pack.vocabulary
        assert pack_files(back) == pack_files(pack)
        polyglot = polyglot.install(back)
    found = polyglot.encode_texts(ENGLISH, language="en")
    assert torch.equal(found, encode_tokens(encoder, base.table, base.encode(ENGLISH)))
    learnt = packs["de"].learnt(base)
    assert torch.equal(
        polyglot.encode_texts(GERMAN, language="de"), learnt.encode(encoder, GERMAN, "de", snapshot=True)
    )
    assert not torch.allclose(polyglot.encode_texts(GERMAN, language="de"), empty.encode_texts(GERMAN, language="en"))
    assert len(verify_polyglot(polyglot)) == 3


@pytest.mark.parametrize("start", [name for name in STARTS if name != "random"])
def test_packs_start_warm(taught, start):
    examples, empty, packs = taught
    pack, _ = learn_pack(empty.install(packs["de"]), "ru", examples["ru"], method="cll", settings=QUICK, start=start)
    assert bool(pack.rows.isfinite().all())
    assert pack.vocabulary == packs["ru"].vocabulary


def test_a_pack_can_be_planned(taught, corpora):
    _, empty, packs = taught
    plan = plan_pack(empty, corpora["de"], method="cll", settings=QUICK, start="random")
    assert plan.new_tokens == len(packs["de"].vocabulary.tokens)
    assert plan.coverage.tokens_per_word < plan.before.tokens_per_word


def changed(files, **new):
    """The files with other words, and a card that says so."""
    words = json.dumps(json.loads(files[VOCABULARY]) | new).encode()
    card = json.loads(files[CARD])
    card["files"][VOCABULARY] = {"sha256": hashlib.sha256(words).hexdigest(), "bytes": len(words)}
    return {**files, VOCABULARY: words, CARD: json.dumps(card).encode()}


def test_packs_whose_words_do_not_fit_the_kind_are_refused(encoder, taught, tmp_path):
    _, empty, packs = taught
    files, words = pack_files(packs["de"]), packs["de"].vocabulary
    count, name = len(words.tokens), kind_of(empty.base.base_tokenizer).name
    hostile = {
        "WordPiece": [{"merges": [["a", "b"]]}, {"scores": [0.0] * count}],
        "Unigram": [
            {"merges": [["a", "b"]]}, {"scores": []}, {"scores": [0.0] * (count - 1)}, {"scores": [math.nan] * count},
            {"scores": [1e300] * count}, {"scores": [-math.inf] * count}, {"scores": ["x"] * count},
        ],
        "BPE over characters": [{"scores": [0.0] * count}, {"merges": [["a", "zzzz"]]}, {"tokens": ["<eos>"] * count}],
    }[name]  # fmt: skip
    for number, new in enumerate(hostile):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, content in changed(files, **new).items():
            (folder / file).write_bytes(content)
        with pytest.raises(FormatError, match="damaged"):
            load_pack(folder, encoder, empty.base)
