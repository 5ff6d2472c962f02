"""Replay the reference implementation's recorded runs: same batches in, same losses, scales and tables out.

Both sides round in float32, each processor in its own order; Adam makes a row whose gradient is nearly 0 move by what
was rounded off. So the main replay computes in float64, and the tolerances are those of the recordings' own rounding.
"""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from babelclip.acquirers import Acquirers
from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.encoders.frame import Frame
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.lexicon import Lexicon, Wish, learn_vocabulary
from babelclip.methods import Task, compose
from babelclip.training import TaskTrainer

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"recorded reference runs are not at {GOLDEN}")

SETTINGS = TaskSettings()  # the papers' values
TASKS = ("1-en", "2-de", "3-zh")


class RecordedTower:
    """The frozen text tower of the recordings, behind the interface of a base model."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        config = CLIPTextConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256, projection_dim=48,
            hidden_act="quick_gelu", max_position_embeddings=77, vocab_size=8, bos_token_id=6, eos_token_id=7,
        )  # fmt: skip
        self.model = CLIPTextModelWithProjection(config).eval().requires_grad_(False)
        weights = load_file(GOLDEN / "text_tower.safetensors")
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        assert not unexpected
        assert [name for name in missing if "position_ids" not in name] == [
            "text_model.embeddings.token_embedding.weight"
        ]

        self.text_tower = FrozenTextTower(self.model.text_model, self.model.text_projection)

    def double(self) -> RecordedTower:
        """The same in float64."""
        self.model.double()
        self.text_tower = FrozenTextTower(self.model.text_model, self.model.text_projection)
        return self


def doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one.double() if one.is_floating_point() else one for name, one in tensors.items()}


def recorded_task(method: str, folder: str) -> tuple[Task, dict[str, np.ndarray], dict[str, np.ndarray], list[dict]]:
    meta = json.loads((GOLDEN / method / "meta.json").read_text())
    arrays = dict(np.load(GOLDEN / method / folder / "task.npz"))
    batches = dict(np.load(GOLDEN / method / folder / "batches.npz"))
    steps = json.loads((GOLDEN / method / folder / "steps.json").read_text())
    ids = np.concatenate([batches[f"step{k:03}/input_ids"].ravel() for k in range(len(steps))])
    used = np.unique(ids[(ids != meta["bos"]) & (ids != meta["eos"])])
    if len(arrays.get("current_token_ids", ())):  # recorded with TEIR only
        used = arrays["current_token_ids"]
    lexicon = Lexicon(
        base_tokenizer=None, vocabulary=None, table=torch.from_numpy(arrays["emb_start"]),
        uses=torch.from_numpy(arrays["n_i"]).long(), frame=Frame(meta["bos"], meta["eos"], 77),
    )  # fmt: skip
    return Task(folder[2:], int(folder[0]) - 1, lexicon, torch.from_numpy(used)), arrays, batches, steps


def recorded_modules(method: str, folder: str, when: str) -> dict[str, torch.Tensor]:
    """The bottlenecks of a task as ``Acquirers`` names them; none for methods without."""
    file = GOLDEN / method / folder / f"other_trainable_{when}.npz"
    arrays = dict(np.load(file)) if file.exists() else {}
    found = {}
    for name, array in arrays.items():
        parts = name.split(".")
        language, side = parts[parts.index("adapters") + 1 :][:2]
        layer = parts[parts.index("layers") + 1]
        found[f"mla/{language}/{layer}.{side.removeprefix('adapter_')}.{parts[-1]}"] = torch.from_numpy(array)
    return found


@pytest.mark.parametrize("folder", TASKS)
@pytest.mark.parametrize(
    ("method", "names"), [("CLL_CLIP", "cll"), ("CLL_CLIP_with_TEIR", "cll+teir"), ("MLA", "cll+mla")]
)
def test_replay_gives_the_recorded_losses_scales_table_and_modules(method: str, names: str, folder: str) -> None:
    task, arrays, batches, steps = recorded_task(method, folder)
    tower, stack = RecordedTower().double(), compose(names)
    task.lexicon.table = task.lexicon.table.double()
    modules = Acquirers(stack.acquirers(tower.text_tower.shape))
    modules.load(doubled(recorded_modules(method, folder, "start")), tower.device)
    trainer = TaskTrainer(tower, task, stack, SETTINGS, total_steps=len(steps), modules=modules)
    if "s_i_grad" in arrays:
        np.testing.assert_allclose(trainer.scale.gradient, arrays["s_i_grad"], rtol=1e-6)
        np.testing.assert_allclose(trainer.scale.decay, arrays["s_i_decay"], rtol=1e-6)
    for k, recorded in enumerate(steps):
        part = doubled({name: torch.from_numpy(batches[f"step{k:03}/{name}"]) for name in
                        ("input_ids", "vision_ids", "labels", "labels_ve", "sentence_embedding")})  # fmt: skip
        ends = torch.from_numpy(batches[f"step{k:03}/eos_ids"])
        assert ((part["input_ids"] == task.lexicon.eos).int().argmax(1) == ends).all()
        with torch.no_grad():
            texts, _ = trainer.encode(part["input_ids"])
        torch.testing.assert_close(texts, part["sentence_embedding"], rtol=0, atol=5e-6)
        assert float(trainer.temperature.detach()) == pytest.approx(recorded["temp_before"], abs=5e-6)
        found = trainer.step(Batch(part["input_ids"], part["vision_ids"], part["labels"], part["labels_ve"]))
        assert found["cross_lingual"] == pytest.approx(recorded["[TT]_loss_mse"], abs=5e-6)
        assert found["cross_modal"] == pytest.approx(0.01 * recorded["[VT]_loss_cl"], abs=5e-6)
        assert found["gradient_norm"] == pytest.approx(recorded["grad_norm_before_clip"], rel=1e-5)
        assert trainer.rates[-1] == pytest.approx(recorded["lr"][0], abs=1e-12)
        assert float(trainer.temperature.detach()) == pytest.approx(recorded["temp_after"], abs=5e-6)
    np.testing.assert_allclose(trainer.full_table(), arrays["emb_end"], rtol=0, atol=1e-6)
    assert np.abs(arrays["emb_end"] - arrays["emb_start"]).max() > 1e-4  # the recording did train
    start, end, found = (
        recorded_modules(method, folder, "start"), recorded_modules(method, folder, "end"), modules.tensors()
    )  # fmt: skip
    assert found.keys() == end.keys()
    assert len(end) == (8 if method == "MLA" else 0)
    for name, expected in end.items():
        torch.testing.assert_close(found[name], expected.double(), rtol=0, atol=1e-6)
        assert float((expected - start[name]).abs().max()) > 1e-4


def test_usage_counts_follow_the_recorded_ones() -> None:
    tasks = [recorded_task("CLL_CLIP_with_TEIR", folder) for folder in TASKS]
    for (task, _, _, _), (_, later, _, _) in itertools.pairwise(tasks):
        task.lexicon.count_use(task.used)
        np.testing.assert_array_equal(task.lexicon.uses, later["n_i"][: len(task.lexicon.uses)])


def test_growth_gives_the_recorded_tokens_and_merges() -> None:
    base = Tokenizer.from_file(str(SHARED / "models" / "flickr-clip" / "tokenizer.json"))
    lexicon = Lexicon.from_base(base, torch.zeros(49_408, 2), Frame(49_406, 49_407, 77))
    for recorded in json.loads((GOLDEN / "lexicon" / "growth.json").read_text()):
        language = recorded["language"]
        with gzip.open(GOLDEN / "lexicon" / f"{language}.txt.gz", "rt", encoding="utf-8") as file:
            texts = file.read().split("\n")
        texts = texts[: len(texts) // 64 * 64]  # the reference dropped the last incomplete block of 64
        own = learn_vocabulary(texts, base, recorded["vocab_size_requested"])
        assert set(own.tokens) == set(recorded["own_vocabulary"])
        assert len(own.merges) == len(recorded["own_merges"])
        tokens, merges = len(lexicon.vocabulary.tokens), len(lexicon.vocabulary.merges)
        growth = lexicon.grow(
            language, texts, Wish(recorded["vocab_size_requested"]), initialiser="normal",
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert list(lexicon.vocabulary.tokens[tokens:]) == recorded["appended_tokens"]
        assert [" ".join(pair) for pair in lexicon.vocabulary.merges[merges:]] == recorded["appended_merges"]
        assert (growth.new_tokens, growth.overlapping_tokens) == (recorded["num_unique"], recorded["num_overlap"])
