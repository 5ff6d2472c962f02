"""Languages that were learnt on a base model, plugged into what became of it."""

import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer

import babelclip
from babelclip.errors import FormatError
from babelclip.lexicon.store import LEXICON
from test_contracts import same


def test_languages_are_plugged_into_the_tuned_model(learnt, tiny, tuned_folder, tmp_path, captions):
    own = babelclip.load(learnt, device="cpu")
    plugged = babelclip.load(learnt, base=tuned_folder, plug=True, device="cpu")
    assert plugged.languages == ["de"]
    base, new = tiny.token_table, plugged.encoder.token_table
    assert not torch.equal(base, new)
    trained = (own.lexicon.table[: len(base)] != base).any(dim=1)
    assert 0 < trained.sum() < len(base)
    assert torch.equal(plugged.lexicon.table[: len(base)][trained], own.lexicon.table[: len(base)][trained])
    assert torch.equal(plugged.lexicon.table[: len(base)][~trained], new[~trained]), "all other rows are the tuned ones"
    assert torch.equal(plugged.lexicon.table[len(base) :], own.lexicon.table[len(base) :])
    same(plugged.learnt.acquirers.tensors(), own.learnt.acquirers.tensors())
    texts = ["ein quadrat in rot"]
    assert not torch.equal(plugged.encode_texts(texts, language="de"), own.encode_texts(texts, language="de"))
    plugged.save(tmp_path / "saved")
    back = babelclip.load(tmp_path / "saved", device="cpu")
    assert torch.equal(back.lexicon.table, plugged.lexicon.table), "once saved, it belongs to the tuned model"
    assert torch.equal(back.encode_texts(texts, language="de"), plugged.encode_texts(texts, language="de"))


def test_on_its_own_base_plug_changes_nothing(learnt, tiny_folder):
    plain, plugged = (babelclip.load(learnt, base=tiny_folder, plug=plug, device="cpu") for plug in (False, True))
    assert torch.equal(plain.lexicon.table, plugged.lexicon.table)


def test_only_what_fits_is_plugged_in(learnt, tiny, tuned_folder, deep_folder, tmp_path):
    with pytest.raises(FormatError, match=r"learnt on .* with fingerprint .* but .* or, if .* plug=True .*--plug-in"):
        babelclip.load(learnt, base=tuned_folder, device="cpu")
    with pytest.raises(FormatError, match=r"text tower has layers 2, .* but that of the base model .* layers 6, width"):
        babelclip.load(learnt, base=deep_folder, plug=True, device="cpu")
    other = tmp_path / "other"
    shutil.copytree(tuned_folder, other)
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    merges = content["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FormatError, match=r"tokenizer has sha256 \w{12}, but that of the base model given has \w{12}"):
        babelclip.load(learnt, base=other, plug=True, device="cpu")
    old = tmp_path / "old"
    shutil.copytree(learnt, old)
    content = json.loads((old / LEXICON).read_text(encoding="utf-8"))
    del content["base_tokenizer"], content["base_shape"]
    (old / LEXICON).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FormatError, match="save it again"):
        babelclip.load(old, base=tuned_folder, plug=True, device="cpu")
    babelclip.load(old, device="cpu").save(old)
    assert babelclip.load(old, base=tuned_folder, plug=True, device="cpu").languages == ["de"]


def test_padding_and_truncation_make_no_other_tokenizer(learnt, tuned_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tuned_folder, other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer(["a"], padding="max_length", truncation=True, max_length=9)
    tokenizer.save_pretrained(other)
    assert (other / "tokenizer.json").read_bytes() != (tuned_folder / "tokenizer.json").read_bytes()
    assert babelclip.load(learnt, base=other, plug=True, device="cpu").languages == ["de"]
