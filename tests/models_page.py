"""What works with what, tried out on tiny models: families of base models, tokenizers, methods, and ways out.

``BABELCLIP_RECORD=on python -m pytest tests/test_models_page.py`` writes bench/results/models.json, of which
``python dev/docs.py`` makes docs/models.md; without it the test says where the file is wrong.
"""

import json
from pathlib import Path

import numpy as np
import torch

import babelclip
from babelclip.data import Cache
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens
from babelclip.errors import BabelclipError
from babelclip.export import OnnxTower, export_model, export_packs
from babelclip.export.folder import TARGETS
from babelclip.lexicon.kinds import kind_of
from babelclip.methods import METHODS, compose
from babelclip.packs import Polyglot
from exports import TEXTS, assert_close, learn_packs, run_example, write_photo
from model_families import MAKERS, byte_bpe, gemma_bpe, unigram, wordpiece, write_model, write_open_clip

RECORD = Path(__file__).parents[1] / "bench" / "results" / "models.json"
PASSED = "passed"
MODELS = {name: (name, None) for name in MAKERS} | {
    "clip, WordPiece": ("clip", ("bert", wordpiece)), "clip, Unigram": ("clip", ("late", unigram)),
    "clip, Gemma's words": ("clip", ("gemma", gemma_bpe)), "siglip, byte-level BPE": ("siglip", ("t5", byte_bpe)),
    "chinese_clip, Unigram": ("chinese_clip", ("xlm", unigram)), "open_clip": None,
}  # fmt: skip
"""Each family with the tokenizer that its checkpoints have, and some with others; open_clip's own format."""
QUICK = babelclip.TaskSettings(vocab_size=330, batch_size=8, epochs=1, learning_rate=1e-3)


def make(name, folder):
    """Write a tiny model of a family to a folder."""
    if name == "open_clip":
        write_open_clip(folder)
    else:
        family, tokenizer = MODELS[name]
        write_model(family, folder, tokenizer=tokenizer)


def try_all(encoder, corpora, folder, monkeypatch):
    """Return what a base model is and what it passes: methods, then ways out."""
    examples = {tag: babelclip.Student(encoder).examples(tag, corpus) for tag, corpus in corpora.items()}

    def said(attempt):
        """That something passed, or why it cannot be."""
        try:
            attempt()
        except BabelclipError as error:
            return error.what.replace(repr(encoder.name), "it")
        return PASSED

    methods = {name: said(lambda name=name: try_method(encoder, examples, name)) for name in METHODS}
    polyglot = learn_packs(encoder, examples, {"de": "lora"})
    photo, ways = write_photo(folder), {}
    for target in TARGETS:
        ways[target] = said(lambda target=target: try_export(polyglot, target, folder / target, photo, monkeypatch))
    ways["pack"] = said(lambda: try_packs(polyglot, folder / "packs"))
    ways["serve"] = said(lambda: try_serving(encoder))
    return {"tokenizer": kind_of(encoder.tokenizer).name, "methods": methods, "ways": ways}


def try_method(encoder, examples, name):
    """Two languages one after the other; the base model stays as it is."""
    student, stack, before = babelclip.Student(encoder), compose(name), base_lexicon(encoder).table
    for tag, given in examples.items():
        student.learn(tag, given, method=stack, settings=QUICK)
    for tag, given in examples.items():
        assert np.isfinite(student.evaluate(given)["r_mean"])
        assert torch.isfinite(student.encode_texts(given.texts[:4], language=tag)).all()
    assert torch.equal(base_lexicon(encoder).table, before)


def try_export(polyglot, target, out, photo, monkeypatch):
    """English and German as the tool itself loads them; where it is not installed, that the folder is written whole."""
    from importlib.util import find_spec

    tool = {"onnx": "onnxruntime", "sentence-transformers": "sentence_transformers"}.get(target, target)
    for tag in ("en", "de"):
        places = export_model(polyglot, out / tag, to=target, languages=[tag])
        assert (places[tag] / "tokenizer.json").is_file() or any(places[tag].rglob("tokenizer.json"))
        if find_spec(tool) is not None:
            readme = next(one for one in (places[tag] / "README.md", out / tag / "README.md") if one.is_file())
            texts, images = run_example(readme, TEXTS, photo, monkeypatch)
            assert_close(texts, polyglot.encode_texts(TEXTS, language=tag), 1e-5)
            assert_close(images, polyglot.encode_images([photo]), 1e-5)


def try_packs(polyglot, out):
    """The pack of German, installed from its file once more."""
    files = export_packs(polyglot, out)
    again = Polyglot(polyglot.encoder, polyglot.base)
    again = again.install(babelclip.packs.load_pack(files["de"], polyglot.encoder, polyglot.base))
    assert torch.equal(again.encode_texts(TEXTS, language="de"), polyglot.encode_texts(TEXTS, language="de"))


def try_serving(encoder):
    """Texts through onnxruntime, as ``babelclip serve`` encodes them."""
    ids = [encoder.frame.wrap(pieces) for pieces in babelclip.lexicon.tokenise(encoder.tokenizer, TEXTS)]
    served = encode_tokens(encoder, encoder.token_table, ids, plain=OnnxTower(encoder, cache=Cache(None)))
    torch.testing.assert_close(served, encode_tokens(encoder, encoder.token_table, ids), rtol=0, atol=1e-5)


def read_record():
    """Return what was recorded."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}


def write_record(found):
    """Put what was found into the record."""
    whole = read_record() | found
    ordered = {name: whole[name] for name in MODELS if name in whole}
    RECORD.write_text(json.dumps(ordered, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
