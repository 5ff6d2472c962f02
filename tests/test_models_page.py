"""docs/models.md says what is so: every family, tokenizer, method and way out is tried on a tiny model."""

import os

import pytest

from babelclip.encoders import load_encoder
from models_page import MODELS, PASSED, make, read_record, try_all, write_record


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_of_a_family_is_so(name, corpora, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="needs the extra [serve]")
    make(name, tmp_path / "model")
    found = try_all(load_encoder(tmp_path / "model", device="cpu"), corpora, tmp_path, monkeypatch)
    if os.environ.get("BABELCLIP_RECORD"):
        write_record({name: found})
    methods, recorded = found.pop("methods"), read_record()[name]
    known = recorded.pop("methods")
    again = "BABELCLIP_RECORD=on python -m pytest tests/test_models_page.py, then dev/docs.py"
    assert recorded == found, again
    assert {method: said for method, said in methods.items() if method in known} == known, again
    new = {method: said for method, said in methods.items() if method not in known}
    assert set(new.values()) <= {PASSED}, "a method that came later works everywhere too"


def test_the_record_has_every_family_and_most_of_it_works():
    record = read_record()
    assert list(record) == list(MODELS)
    for one in record.values():
        assert set(one["methods"].values()) == {PASSED}
        assert (one["ways"]["transformers"], one["ways"]["pack"], one["ways"]["serve"]) == (PASSED,) * 3
