"""Replay recorded runs of MLA's released code: both stages, English, and one acquirer."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from babelclip.acquirers import Acquirers, Bottleneck, Projection
from babelclip.acquirers.by_language import Grouped
from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.encoders.frame import Frame
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.tower import encode_batch, first_ends
from babelclip.lexicon import Lexicon
from babelclip.methods import Task, compose
from babelclip.objectives import contrastive, distillation
from babelclip.training import TaskTrainer
from test_golden import GOLDEN

FOLDER = GOLDEN / "mla_original"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"recorded runs of MLA are not at {FOLDER}")
CLS, SEP = 101, 102
NAMES = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip


class OriginalTower:
    """The text tower of the recordings, from OpenAI's names, behind the interface of a base model."""

    device = torch.device("cpu")

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        config = CLIPTextConfig(
            hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256, projection_dim=48,
            hidden_act="quick_gelu", max_position_embeddings=77, vocab_size=8, bos_token_id=6, eos_token_id=7,
        )  # fmt: skip
        model = CLIPTextModelWithProjection(config).eval().requires_grad_(False)
        state = {
            "text_projection.weight": weights["text_projection"].T,
            "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
            "text_model.embeddings.token_embedding.weight": torch.zeros(8, 64),
            "text_model.final_layer_norm.weight": weights["ln_final.weight"],
            "text_model.final_layer_norm.bias": weights["ln_final.bias"],
        }
        for layer in range(3):
            theirs, ours = f"transformer.resblocks.{layer}", f"text_model.encoder.layers.{layer}"
            for side in ("weight", "bias"):
                for their, our in NAMES.items():
                    state[f"{ours}.{our}.{side}"] = weights[f"{theirs}.{their}.{side}"]
                parts = weights[f"{theirs}.attn.in_proj_{side}"].chunk(3)
                for letter, part in zip("qkv", parts, strict=True):
                    state[f"{ours}.self_attn.{letter}_proj.{side}"] = part
        model.load_state_dict(state)
        self.text_tower = FrozenTextTower(model.text_model, model.text_projection)


def modules_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Projection and acquirers as ``Acquirers`` names them, of those that are there."""
    found = {f"projection//{side}": weights[f"multilingual_embedding_linear.{side}"] for side in ("weight", "bias")}
    for name, tensor in weights.items():
        if ".acquirer." in name and ".mlp." in name:
            _, _, layer, _, language, _, matrix, side = name.split(".")
            found[f"mla/{language}/{layer}.{'down' if matrix == 'c_fc' else 'up'}.{side}"] = tensor
    return {name: tensor.clone() for name, tensor in found.items()}


def recorded(stage: str) -> tuple[list[dict], dict[str, torch.Tensor]]:
    content = json.loads((FOLDER / f"{stage}_steps.json").read_text())
    arrays = {name: torch.from_numpy(one) for name, one in np.load(FOLDER / f"{stage}_batches.npz").items()}
    return content, arrays


@pytest.mark.parametrize(("stage", "method"), [("NLT", "nlt(variant=as-released)"),
                                               ("LE", "le(rate=5e-6,variant=as-released)")])  # fmt: skip
def test_replay_gives_the_recorded_losses_rates_rows_and_modules(stage: str, method: str) -> None:
    start, content = load_file(FOLDER / "init.safetensors"), recorded(stage)
    recording, arrays = content
    tower, stack = OriginalTower(start), compose(f"mla(inner=16)+{method}")
    table = start["multilingual_embedding.weight"]
    lexicon = Lexicon(
        base_tokenizer=None, vocabulary=None, table=table, uses=torch.ones(400, dtype=torch.int64),
        frame=Frame(CLS, SEP, 77),
    )  # fmt: skip
    steps = recording["steps"]
    used = torch.cat([arrays[f"step{k}/mbert_ids"].ravel() for k in range(len(steps))]).unique()
    task = Task("mul", 0, lexicon, used[used != SEP], examples=SimpleNamespace(languages=("de", "zh")))
    shape = tower.text_tower.shape
    modules = Acquirers({"projection": Projection(shape, 24), **stack.acquirers(shape)})
    modules.load(modules_of(start), tower.device)
    (settings,) = stack.stages(TaskSettings()).values()
    trainer = TaskTrainer(tower, task, stack, settings, total_steps=recording["t_total"], modules=modules)
    for k, step in enumerate(steps):
        part = {name: arrays[f"step{k}/{name}"] for name in ("mbert_ids", "src_feats", "trg_feats", "image_features")}
        ids = part["mbert_ids"]
        assert ((ids == SEP).sum(1) == 1).all()
        tags = [step["lang"]] * len(ids)
        with torch.no_grad():
            texts, _ = trainer.encode(ids, tags)
        torch.testing.assert_close(texts, part["trg_feats"], rtol=0, atol=5e-6)
        batch = Batch(ids, torch.arange(len(ids)), part["src_feats"], part["image_features"], languages=tags)
        found = trainer.step(batch)
        found.pop("gradient_norm")  # the recorded one is over frozen weights too, see below
        assert list(found) == ["cross_lingual" if stage == "NLT" else "cross_modal"]
        assert sum(found.values()) == pytest.approx(step["loss"], abs=5e-6)
        assert trainer.rates[-1] == pytest.approx(step["lr"], rel=1e-6)
    end = load_file(FOLDER / f"{stage}_changed_end.safetensors")
    torch.testing.assert_close(trainer.full_table(), end["multilingual_embedding.weight"], rtol=0, atol=1e-6)
    assert float((end["multilingual_embedding.weight"] - table).abs().max()) > 1e-5  # the recording did train
    expected, found = modules_of(end), modules.tensors()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", ["NLT", "LE"])
def test_the_recorded_gradient_norm_is_over_all_weights_of_the_text_tower(stage: str) -> None:
    start, (recording, arrays) = load_file(FOLDER / "init.safetensors"), recorded(stage)
    tower = OriginalTower(start)
    weights = {name: one.clone().requires_grad_() for name, one in tower.text_tower.weights().items()}
    whole = SimpleNamespace(text_tower=tower.text_tower.with_weights(weights), device=tower.device)
    shape = tower.text_tower.shape
    modules = Acquirers({"projection": Projection(shape, 24), **compose("mla(inner=16)").acquirers(shape)})
    modules.load(modules_of(start), tower.device)
    table = start["multilingual_embedding.weight"].requires_grad_()
    own = [one.requires_grad_() for one in (*modules.trained("de", modules.kinds).values(), table)]
    texts, _ = encode_batch(whole, table, arrays["step0/mbert_ids"], SEP, modules, ["de"] * 16, training=True)
    if stage == "NLT":
        loss = distillation(texts, arrays["step0/src_feats"])
    else:
        loss = contrastive(texts, arrays["step0/image_features"], torch.arange(16), 0.01)
    gradients = torch.autograd.grad(loss, [*own, *weights.values()])
    norm = torch.stack([one.square().sum() for one in gradients]).sum().sqrt()
    assert float(norm) == pytest.approx(recording["steps"][0]["grad_norm_before_clip"], rel=1e-5)


def test_english_passes_through_the_base_model_alone_as_recorded() -> None:
    weights = load_file(FOLDER / "init.safetensors")
    _, arrays = recorded("NLT")
    tower, ids = OriginalTower(weights), arrays["step0/clip_ids"].long()
    assert (ids.argmax(1) == first_ends(ids, 49_407)).all()
    found, _ = encode_batch(tower, weights["token_embedding.weight"], ids, 49_407)
    torch.testing.assert_close(found, arrays["step0/src_feats"], rtol=0, atol=5e-6)


def test_one_acquirer_gives_the_recorded_output() -> None:
    arrays = {name: torch.from_numpy(one) for name, one in np.load(FOLDER / "acquirer_forward.npz").items()}
    modules = {f"0.{place}.{side}": arrays[f"{name}_{side[0]}"] for place, name in (("down", "c_fc"), ("up", "c_proj"))
               for side in ("weight", "bias")}  # fmt: skip
    states = arrays["x"].flatten(0, 1)
    nothing = torch.zeros(len(states), dtype=torch.int64)
    insert = Bottleneck.insert_type(None)(Grouped([modules], nothing, nothing))
    found = states + insert.after_block(0, states, None)
    torch.testing.assert_close(found, arrays["y"].flatten(0, 1), rtol=0, atol=1e-6)
