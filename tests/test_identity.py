"""What a run is known by: the same as ever, made without a second copy of anything, and only where it is asked for."""

import hashlib
import tracemalloc
from dataclasses import replace

import pytest
import torch

import babelclip
from babelclip.acquirers import Acquirers, Learnt
from babelclip.config import TaskSettings
from babelclip.continual import Gallery, Stage, run_stream
from babelclip.continual.identity import identify
from babelclip.data import Examples
from babelclip.packs.stream import run_packs
from babelclip.training import Checkpoints
from towers import begun

TEXTS = ["ein Haus", "it's", 'so "so"', "both ' and \"", "", "\ud800", "a\\b\n", "дом"]


def plain(examples):
    """The fingerprint as a formula."""
    columns = examples.language, examples.texts, examples.english, examples.owner.tolist()
    vectors = b"".join(part[:].numpy().tobytes() for part in (examples.images, examples.teachers))
    return hashlib.sha256(repr(columns).encode() + vectors).hexdigest()[:12]


def peak(act):
    """Bytes that Python needs for a moment."""
    tracemalloc.start()
    act()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("count", [0, 1, 3, 6, 8])
def test_the_fingerprint_of_examples_is_that_of_all_their_columns(count, monkeypatch):
    monkeypatch.setattr("babelclip.data.examples.CHUNK", 3)
    vectors = torch.randn(count, 4), torch.randn(count, 8)[:, ::2]
    one = Examples("de", TEXTS[:count], TEXTS[::-1][:count], [], torch.arange(count), *vectors)
    assert one.fingerprint() == plain(one)
    assert replace(one, language="ru").fingerprint() != one.fingerprint()


def test_a_fingerprint_never_writes_all_texts_at_once():
    texts = [f"a text with the number {number} in it" for number in range(40_000)]
    many = Examples("de", texts, texts, [], torch.arange(len(texts)), torch.zeros(1, 4), torch.zeros(1, 4))
    assert peak(many.fingerprint) < len(repr(texts)) / 2
    assert many.fingerprint() == plain(many)


def test_a_stream_is_known_by_its_rows_and_modules_and_copies_no_table(deep, deep_examples):
    given = ["de"], "full", TaskSettings(), [deep_examples["de"]]
    student = babelclip.Student(deep)
    words = student.lexicon
    for table in (words.table, torch.rand(100, 8)[:, ::2]):
        for modules in (Acquirers(), begun(deep, "full")):
            student.learnt = Learnt(replace(words, table=table), modules)
            rows = table.numpy().tobytes() + words.base_tokenizer.to_str().encode()
            rows += b"".join(
                name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(modules.tensors().items())
            )
            assert identify(student, *given)["rows"] == hashlib.sha256(rows).hexdigest()[:12]
    student.learnt = Learnt(replace(words, table=torch.rand(200_000, 16)))
    assert peak(lambda: identify(student, *given)) < 200_000 * 16 * 4 / 2


@pytest.mark.parametrize(("run", "method"), [(run_stream, "cll"), (run_packs, "packs")])
def test_without_checkpoints_nobody_asks_what_the_run_is(run, method, tiny, examples, quick, tmp_path, monkeypatch):
    asked, de = [], examples["de"]
    for name, real in (("fingerprint", Examples.fingerprint), ("identify", identify)):
        place = f"{run.__module__}.identify" if name == "identify" else "babelclip.data.examples.Examples.fingerprint"
        monkeypatch.setattr(place, lambda *given, name=name, real=real: asked.append(name) or real(*given))
    expected = [["fingerprint"] * (run is run_packs), ["identify", *["fingerprint"] * (5 + (run is run_packs))]]
    for checkpoints, calls in zip((None, Checkpoints(tmp_path)), expected, strict=True):
        run(
            babelclip.Student(tiny), [Stage(de, [Gallery("test", de)], validation=de)], method=method,
            settings=replace(quick, epochs=1), checkpoints=checkpoints,
        )  # fmt: skip
        assert asked == calls, "the card of a pack has one"
        asked.clear()
