"""What feeds the training: everything is cut and read once, similar lengths share a batch, the next is made ahead."""

import sys
import threading
from pathlib import Path

import pytest
import torch

from babelclip.acquirers import Learnt
from babelclip.config import TaskSettings
from babelclip.data import Cache, Teacher, read_captions
from babelclip.data.examples import base_lexicon
from babelclip.data.features import FeatureStore, content_key
from babelclip.lexicon import tokenise
from babelclip.methods import compose
from babelclip.training import train_task
from babelclip.training.loop import Loop
from babelclip.training.optimiser import make_optimiser


def learn(tiny, examples, settings, *, cache=None, on_step=None):
    return train_task(
        tiny, Learnt(base_lexicon(tiny)), examples, compose("cll"), settings, cache=cache, on_step=on_step
    )


def test_a_task_is_cut_once_and_nothing_is_read_after_the_first_step(tiny, captions, quick, tmp_path, monkeypatch):
    cut = []

    def counted(tokenizer, texts):
        cut.append(len(texts))
        return tokenise(tokenizer, texts)

    def no_more(report):
        if report.step == 1:
            for name in ("tokenise", "load_file", "safe_open"):
                patch.setattr(f"babelclip.data.cache.{name}", forbidden)
            for name in ("builtins.open", "io.open", "babelclip.data.features.load_file"):
                patch.setattr(name, forbidden)

    def forbidden(*_, **__):
        pytest.fail("read or cut again")

    examples = Teacher(tiny, Cache(tmp_path)).prepare(read_captions(captions / "de.tsv", "de"))
    for expected in ([24], []):
        with monkeypatch.context() as patch:
            patch.setattr("babelclip.data.cache.tokenise", counted)
            cut.clear()
            _, report = learn(tiny, examples, quick, cache=Cache(tmp_path), on_step=no_more)
        assert cut == expected, "the second time they are in the cache"
        assert report.steps == 6


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="/proc tells what is mapped into memory; not here")
def test_what_is_cached_is_mapped_and_not_read(tiny, tmp_path):
    lexicon, keys = base_lexicon(tiny), [content_key(bytes([i])) for i in range(200)]
    Cache(tmp_path).tokens(lexicon.tokenizer(), ["ein haus"])
    FeatureStore(tmp_path, "images").add(keys, torch.rand(200, 64))
    held = (Cache(tmp_path).tokens(lexicon.tokenizer(), ["ein haus"]).ids, FeatureStore(tmp_path, "images")._shards[0])
    for tensor, file in zip(held, (*tmp_path.glob("tokens/*"), *tmp_path.glob("images-*")), strict=True):
        mapped = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if str(file) in line]
        spans = [[int(end, 16) for end in span.split("-")] for span in mapped]
        assert any(start <= tensor.data_ptr() < end for start, end in spans), file.name


def test_the_next_batch_is_made_in_a_second_thread(tiny, examples, quick, monkeypatch):
    threads, make = [], Loop.make

    def noted(loop, texts):
        threads.append(threading.current_thread().name)
        return make(loop, texts)

    monkeypatch.setattr(Loop, "make", noted)
    learn(tiny, examples["de"], quick)
    assert threads == ["next-batch_0"] * 6


def test_texts_of_similar_length_share_a_batch(tiny, examples, quick):
    def padding(bucket):
        return learn(tiny, examples["de"], TaskSettings(**(quick.as_dict() | {"bucket": bucket})))[1].padding

    assert 0 < padding(3) < padding(1)


def test_adamw_is_torchs_fused_one():
    (group,) = make_optimiser([torch.nn.Parameter(torch.zeros(2, 3))], TaskSettings()).param_groups
    assert group["fused"]
    assert group["weight_decay"] == 0


def test_a_picture_is_hashed_again_only_when_its_size_or_time_has_changed(tiny, captions, monkeypatch):
    hashed = []
    key = sys.modules["babelclip.data.examples"].file_key
    monkeypatch.setattr("babelclip.data.examples.file_key", lambda file: hashed.append(file.name) or key(file))
    teacher = Teacher(tiny)
    for _ in range(2):
        teacher.encode_images([captions / "0-0.png", captions / "0-1.png"])
    assert hashed == ["0-0.png", "0-1.png"]
