"""A ready vocabulary of many languages beside the base model's own English."""

import json
import shutil

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch.nn.functional import linear
from transformers import BertModel, PreTrainedTokenizerFast

import babelclip
from babelclip.acquirers import Acquirers, Learnt, Projection
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens
from babelclip.encoders.tower import encode_batch, first_ends, pad
from babelclip.errors import FormatError, ModelError, SettingError, UnknownNameError
from babelclip.lexicon import MultilingualLexicon, Wish, read_multilingual
from babelclip.lexicon.store import load_lexicon
from babelclip.methods import compose
from fake_hub import fake_hub
from towers import LANGUAGES, TEXTS, assert_close

METHOD = "mla(start=uniform)+nlt(rate=0.01,epochs=1)+le(rate=0.001)"


def test_rows_are_the_word_embeddings_of_the_language_model(tiny, language_model):
    lexicon = read_multilingual(language_model, base_lexicon(tiny))
    theirs = BertModel.from_pretrained(language_model).embeddings.word_embeddings.weight.detach()
    count = len(lexicon.vocabulary.tokens)
    assert len(theirs) == count + 5, "rows without a token are left out"
    assert torch.equal(lexicon.table, theirs[:count])
    assert lexicon.vocabulary.tokens[lexicon.bos] == "[CLS]"
    assert lexicon.vocabulary.tokens[lexicon.eos] == "[SEP]"
    random = read_multilingual(language_model, base_lexicon(tiny), width=12)
    assert random.table.shape == (count, 12)
    assert float(random.table.std()) == pytest.approx(0.02, rel=0.1)
    assert torch.equal(random.table, read_multilingual(language_model, base_lexicon(tiny), width=12).table)


def test_a_hub_id_is_fetched_and_pickles_are_refused(tiny, language_model, tmp_path):
    native = base_lexicon(tiny)
    expected = read_multilingual(language_model, native)
    with fake_hub(tmp_path / "cache") as hub:
        commit = hub.add("some/bert", language_model)
        hub.add("some/bert", shutil.copytree(language_model, tmp_path / "newer", ignore=lambda *_: ["tokenizer.json"]))
        assert read_multilingual(f"some/bert@{commit}", native).fingerprint == expected.fingerprint
        pickled = shutil.copytree(language_model, tmp_path / "pickled")
        (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
        hub.add("some/pickles", pickled)
        for source in ("some/pickles", pickled):
            with pytest.raises(ModelError, match="its weights are pickled"):
                read_multilingual(source, native)


def test_a_tokenizer_alone_starts_from_random_rows_of_the_towers_width(tiny, language_model, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(language_model / name, tmp_path / name)
    whole = read_multilingual(tmp_path, base_lexicon(tiny))
    assert whole.table.shape[1] == 32
    (tmp_path / "tokenizer_config.json").unlink()
    bare = read_multilingual(tmp_path, base_lexicon(tiny))
    assert (bare.bos, bare.eos) == (whole.bos, whole.eos)


def test_texts_pass_through_projection_positions_and_tower(tiny, foreign):
    lexicon = foreign.lexicon
    projection = foreign.learnt.acquirers.kinds["projection"].modules[""]
    found = foreign.encode_texts(TEXTS, language="de", snapshot=False)
    rows = linear(lexicon.table, projection["weight"], projection["bias"])
    expected = encode_tokens(tiny, rows, lexicon.encode(TEXTS), eos=lexicon.eos)
    assert_close(found, expected)
    assert not torch.allclose(found, tiny_english(tiny, TEXTS), atol=1e-3)


def tiny_english(tiny, texts):
    lexicon = base_lexicon(tiny)
    return encode_tokens(tiny, lexicon.table, lexicon.encode(texts))


def test_english_is_that_of_the_base_model_to_the_last_bit(tiny, foreign, examples, quick):
    expected = tiny_english(tiny, examples["de"].english)
    for _ in range(2):
        assert torch.equal(foreign.encode_texts(examples["de"].english, language="en"), expected)
        assert torch.equal(foreign.encode_texts(examples["de"].english, language="en-GB"), expected)
        before = foreign.encode_texts(examples["de"].texts, language="de", snapshot=False)
        if not foreign.languages:
            foreign.learn("de", examples["de"], method=METHOD, settings=quick)
    assert not torch.equal(before, foreign.encode_texts(examples["de"].texts, language="en"))


def test_the_language_must_be_said_and_english_cannot_be_learnt(foreign, examples, quick):
    with pytest.raises(SettingError, match="language of a text must be known"):
        foreign.encode_texts(TEXTS)
    english = babelclip.data.Examples(**{**vars(examples["de"]), "language": "en"})
    with pytest.raises(SettingError, match="'en' is the base model's own"):
        foreign.learn("en", english, method=METHOD, settings=quick)
    with pytest.raises(SettingError, match="cannot grow"):
        foreign.lexicon.complete_with(["a"], Wish(300), initialiser="normal", generator=torch.Generator())
    with pytest.raises(UnknownNameError, match="learnt language 'de'"):
        foreign.encode_texts(TEXTS, language="de")


def unigram(sep="</s>"):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<s>", "<pad>", sep, "<unk>"]
    tokenizer.train_from_iterator(
        ["ein hund läuft </s> <s> über die wiese"] * 20,
        trainers.UnigramTrainer(vocab_size=60, special_tokens=specials, unk_token="<unk>", show_progress=False),
    )
    return tokenizer


def byte_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    specials = ["<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    tokenizer.train_from_iterator(["ein hund läuft über die wiese"] * 20, trainer)
    return tokenizer


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_a_text_has_one_end_whatever_it_says(tiny, language_model, tmp_path, kind):
    if kind != "wordpiece":
        PreTrainedTokenizerFast(
            tokenizer_object=unigram() if kind == "unigram" else byte_bpe(), bos_token="<s>", eos_token="</s>"
        ).save_pretrained(tmp_path)
    lexicon = read_multilingual(language_model if kind == "wordpiece" else tmp_path, base_lexicon(tiny))
    texts = ["ein [SEP] hund", "ein</s>hund", "</s>", "[SEP]", "<s> [CLS]", "\uff1c/s\uff1e hund", "ein hund " * 60]
    for sequence in lexicon.encode(texts):
        assert len(sequence) <= 77
        assert sequence.count(lexicon.eos) == 1
        assert sequence.count(lexicon.bos) == 1
        assert sequence[0] == lexicon.bos
        assert sequence[-1] == lexicon.eos
    cut = lexicon.encode([texts[-1]])
    assert len(cut[0]) == 77
    assert first_ends(pad(cut, lexicon.eos), lexicon.eos).tolist() == [76]


def test_what_was_learnt_comes_back_from_disk(tiny, tiny_folder, foreign, examples, quick, tmp_path):
    foreign.learn("de", examples["de"], method=METHOD, settings=quick)
    foreign.save(tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    again = babelclip.load(tmp_path / "out", base=tiny_folder, device="cpu")
    assert isinstance(again.lexicon, MultilingualLexicon)
    assert again.languages == ["de"]
    for language in ("de", "en", "ru"):
        assert torch.equal(again.learnt.encode(tiny, TEXTS, language), foreign.learnt.encode(tiny, TEXTS, language))
    assert torch.equal(again.lexicon.uses, foreign.lexicon.uses)
    content = json.loads((tmp_path / "out" / "lexicon.json").read_text())
    assert content["tokens"] == []
    (tmp_path / "out" / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match=r"tokenizer.json: sha256"):
        load_lexicon(tmp_path / "out", base_lexicon(tiny), fingerprint=tiny.fingerprint)
    with pytest.raises(SettingError, match="a lexicon is given too"):
        babelclip.load(tmp_path / "out", base=tiny_folder, lexicon="somewhere/else", device="cpu")


def test_what_cannot_be_read_is_named(tiny, language_model, tmp_path):
    native = base_lexicon(tiny)
    with pytest.raises(ModelError, match="there is no folder 'nowhere'"):
        read_multilingual("nowhere", native)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot read the multilingual lexicon"):
        read_multilingual(tmp_path, native)
    tokenizer = unigram(sep="<end>")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(tmp_path / "endless")
    with pytest.raises(ModelError, match=r"none of the tokens sep_token, eos_token, \[SEP\], </s>"):
        read_multilingual(tmp_path / "endless", native)
    with pytest.raises(ModelError, match="has 25 tokens, but the table has 7 rows"):
        MultilingualLexicon.from_tokenizer(unigram(), torch.zeros(7, 4), bos=0, eos=2, native=native)


def test_the_projection_starts_as_a_linear_layer_and_is_the_same_for_every_student(tiny, language_model):
    words = read_multilingual(language_model, base_lexicon(tiny))
    first, second = (Learnt.start(words, tiny).acquirers.tensors() for _ in range(2))
    assert first.keys() == {"projection//weight", "projection//bias"}
    bound = 20**-0.5
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])
        assert float(tensor.abs().max()) <= bound
        assert float(tensor.std()) == pytest.approx(bound / 3**0.5, rel=0.25)


def test_languages_mix_in_one_batch_with_a_projection_for_all(deep):
    shape = deep.text_tower.shape
    modules = Acquirers({"projection": Projection(shape, 9), **compose("mla").acquirers(shape)})
    chance = torch.Generator().manual_seed(0)
    for language in ("de", "ru"):
        for kind in modules.kinds.values():
            kind.begin(language, deep, chance)
    table = torch.randn(deep.token_table.shape[0], 9, generator=chance)
    sequences = base_lexicon(deep).encode(TEXTS)
    alone = torch.cat([
        encode_tokens(deep, table, [sequence], modules, language)
        for sequence, language in zip(sequences, LANGUAGES, strict=True)
    ])  # fmt: skip
    found, _ = encode_batch(deep, table, pad(sequences, deep.frame.eos), deep.frame.eos, modules, LANGUAGES)
    assert_close(found, alone)
