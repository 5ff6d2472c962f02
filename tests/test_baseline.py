"""The slow version that the speed benchmark compares with learns what the product learns."""

import dataclasses
from pathlib import Path

import torch

from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.encoders.tower import pad
from babelclip.methods import Task, compose
from babelclip.training import TaskTrainer

BENCH = Path(__file__).parent.parent / "bench"


def test_the_published_way_of_working_gives_the_same_table(pictoclip, monkeypatch):
    """Three steps of plain training: dense AdamW on padded batches, cut in the loop, against compact rows."""
    monkeypatch.syspath_prepend(str(BENCH))
    from published import DenseTrainer
    from step import TOWERS, Encoder

    lexicon, settings = pictoclip.lexicon.copy(), TaskSettings(warm_up=0, learning_rate=1e-3, weight_decay=1.0)
    texts = ["ein roter Hund", "zwei Katzen am Fenster", "Haus", "ein sehr langer Name eines kleinen Bildes"] * 3
    cut = lexicon.encode(texts)
    used = torch.tensor(sorted({piece for ids in cut for piece in ids[1:-1]}))
    encoder, generator = Encoder(TOWERS["pictoclip"], "cpu"), torch.Generator().manual_seed(0)
    teachers, images = (torch.randn(len(texts), 192, generator=generator) for _ in range(2))
    owners = torch.arange(len(texts))
    dense = DenseTrainer(encoder.model, lexicon.table, lexicon.tokenizer(), settings, bos=lexicon.bos, eos=lexicon.eos)
    task = Task("xx", 0, dataclasses.replace(lexicon, table=lexicon.table.clone()), used)
    trainer = TaskTrainer(encoder, task, compose("cll"), settings, total_steps=3)
    for start in (0, 4, 8):
        part = slice(start, start + 4)
        found = trainer.step(Batch(pad(cut[part], lexicon.eos), owners[part], teachers[part], images[part]))
        loss = dense.step(texts[part], teachers[part], images[part], owners[part])
        assert abs(loss - found["cross_lingual"] - found["cross_modal"]) < 1e-5
    moved = (dense.table.weight.detach() - lexicon.table).abs()
    assert float(moved[used].amin()) > 0
    torch.testing.assert_close(trainer.full_table(), dense.table.weight.detach(), rtol=0, atol=1e-5)
