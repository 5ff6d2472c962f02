"""A folder for open_clip: its own CLIP with another vocabulary.

open_clip_config.json           sizes of both towers, where texts are pooled, how pictures are prepared
open_clip_model.safetensors     weights under open_clip's names
tokenizer.json                  texts to token ids; tokenizer_config.json beside it

open_clip from 3.1 on pools at a given id (``pool_type`` ``eos``); older ones can pool only at the largest id of a text,
which with new tokens is one of them, and refuse the config. With transformers 5 it takes 3.3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from babelclip.encoders.clip import MetaClip2Encoder
from babelclip.encoders.headers import OPEN_CLIP_WEIGHTS
from babelclip.encoders.model_config import OPEN_CLIP_CONFIG
from babelclip.errors import ModelError
from babelclip.export.card import TEXTS, Usage
from babelclip.export.leaving import Leaving, check_clip
from babelclip.export.onnx_folder import read_preparation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from babelclip.encoders import DualEncoder

CODE = f"""
import open_clip, torch
from PIL import Image

model, prepare = open_clip.create_model_from_pretrained("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
tokenizer.clean_fn = str  # texts as they are: open_clip would change quotes, wide marks and HTML in them
texts, pictures = {json.dumps(TEXTS)}, [Image.open("photo.jpg").convert("RGB")]
with torch.inference_mode():
    text_vectors = model.encode_text(tokenizer(texts), normalize=True)
    image_vectors = model.encode_image(torch.stack([prepare(one) for one in pictures]), normalize=True)
print(text_vectors @ image_vectors.T)
"""
LIMITS = (
    "It takes open_clip_torch from 3.3 on: those before 3.1 cannot pool texts at the end-of-text token where new "
    "tokens have larger ids, and refuse the folder; 3.1 and 3.2 do not work with transformers 5.",
    "Without the line `tokenizer.clean_fn = str` open_clip changes texts before it cuts them (ftfy: curly quotes, "
    "full-width marks of Chinese and Japanese; HTML entities), and such texts have other vectors.",
    "torchvision crops pictures whose longer side is scaled to an odd number of pixels up to one pixel aside from "
    "where the base model's own preparation does.",
)
RESAMPLING = {2: "bilinear", 3: "bicubic"}
ACTIVATIONS: dict[str, tuple[bool, dict[str, str] | None]] = {
    "quick_gelu": (True, None), "gelu": (False, None), "gelu_new": (False, {"approximate": "tanh"}),
    "gelu_pytorch_tanh": (False, {"approximate": "tanh"}),
}  # fmt: skip
"""As open_clip has them: whether quick_gelu, and what its GELU is made with."""
EPSILON = 1e-5
"""Of open_clip's layer norms, where a config says nothing."""


def open_clip_usage(_: DualEncoder, place: str) -> Usage:
    """How open_clip loads a folder."""
    return Usage("open_clip", "'open_clip_torch>=3.3' transformers pillow", CODE.replace("FOLDER", place), LIMITS)


def write_open_clip(encoder: DualEncoder, leaving: Leaving, folder: Path) -> None:
    """Write what ``open_clip.create_model_from_pretrained`` and ``get_tokenizer`` load from ``local-dir:FOLDER``.

    Raises:
        ModelError: the base model is no ``CLIPModel`` and no ``MetaClip2Model``, or open_clip has no place for a part.
        OSError: the folder cannot be written to.
    """
    check_clip(encoder, "open_clip", MetaClip2Encoder)
    model: Any = leaving.model(encoder)
    config = {
        "model_cfg": _model_config(model, leaving, encoder.name),
        "preprocess_cfg": _preprocess_config(encoder, model.config.vision_config.image_size),
    }
    save_file(_weights(model), folder / OPEN_CLIP_WEIGHTS, metadata={"format": "pt"})
    for name, content in (
        (OPEN_CLIP_CONFIG, json.dumps(config, indent=2) + "\n"), ("tokenizer.json", leaving.tokenizer_file()),
        ("tokenizer_config.json", leaving.tokenizer_config()),
    ):  # fmt: skip
        (folder / name).write_text(content, encoding="utf-8")


def _model_config(model: Any, leaving: Leaving, name: str) -> dict[str, Any]:
    """Sizes of both towers."""
    text, vision = model.config.text_config, model.config.vision_config
    if text.hidden_act != vision.hidden_act or text.hidden_act not in ACTIVATIONS:
        raise _no_place(name, f"its activations are {text.hidden_act!r} and {vision.hidden_act!r}")
    if vision.num_channels != 3:
        raise _no_place(name, f"its pictures have {vision.num_channels} channels")
    quick, gelu = ACTIVATIONS[text.hidden_act]
    halves = []
    for half in (text, vision):
        ratio = half.intermediate_size / half.hidden_size
        if int(half.hidden_size * ratio) != half.intermediate_size:
            raise _no_place(name, f"an MLP is {half.intermediate_size} wide in a tower of {half.hidden_size}")
        made: dict[str, Any] = {"width": half.hidden_size, "layers": half.num_hidden_layers, "mlp_ratio": ratio}
        if gelu is not None:
            made["act_kwargs"] = gelu
        if half.layer_norm_eps != EPSILON:
            made["norm_kwargs"] = {"eps": half.layer_norm_eps}
        halves.append(made)
    return {
        "embed_dim": model.config.projection_dim, "quick_gelu": quick,
        "vision_cfg": halves[1] | {
            "image_size": vision.image_size, "patch_size": vision.patch_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
        },
        "text_cfg": halves[0] | {
            "context_length": leaving.frame.max_length, "vocab_size": len(leaving.table),
            "heads": text.num_attention_heads,
            "hf_tokenizer_name": ".", "pool_type": "eos", "eos_id": leaving.frame.eos, "pad_id": leaving.pad,
        },
    }  # fmt: skip


def _preprocess_config(encoder: DualEncoder, side: int) -> dict[str, Any]:
    """How pictures are prepared, in open_clip's words."""
    found = read_preparation(encoder)
    size, crop, resample = found["size"], found.get("crop_size") or {}, found.get("resample")
    cropped, shortest = bool(found.get("do_center_crop")), size.get("shortest_edge")
    square = {"height": side, "width": side}
    fits = (shortest == side and cropped and crop == square) or (size == square and (not cropped or crop == square))
    usual = found.get("do_resize") and found.get("do_normalize") and abs(found["rescale_factor"] * 255 - 1) < 1e-6
    if not fits or not usual or resample not in RESAMPLING:
        cut = f", cropped to {crop}" if cropped else ""
        raise _no_place(
            encoder.name, f"its pictures are resized to {size} by method {resample}{cut}, for a tower of {side} pixels"
        )
    return {
        "size": side, "mode": "RGB", "mean": found["image_mean"], "std": found["image_std"],
        "interpolation": RESAMPLING[resample], "resize_mode": "squash" if shortest is None else "shortest",
    }  # fmt: skip


def _no_place(name: str, what: str) -> ModelError:
    return ModelError(
        f"open_clip has no place for the base model {name!r}: {what}", fix="Export to transformers instead."
    )


def _weights(model: Any) -> dict[str, Tensor]:
    """Both towers under open_clip's names."""
    text, vision = model.text_model, model.vision_model
    embeddings = vision.embeddings
    found = {
        "token_embedding.weight": text.embeddings.token_embedding.weight,
        "positional_embedding": text.embeddings.position_embedding.weight,
        "text_projection": model.text_projection.weight.T, "logit_scale": model.logit_scale.reshape(()),
        "visual.class_embedding": embeddings.class_embedding,
        "visual.positional_embedding": embeddings.position_embedding.weight,
        "visual.conv1.weight": embeddings.patch_embedding.weight, "visual.proj": model.visual_projection.weight.T,
        **_pair("ln_final", text.final_layer_norm), **_pair("visual.ln_pre", vision.pre_layrnorm),
        **_pair("visual.ln_post", vision.post_layernorm),
    }  # fmt: skip
    for place, tower in (("transformer", text), ("visual.transformer", vision)):
        for number, layer in enumerate(tower.encoder.layers):
            found |= _block(f"{place}.resblocks.{number}", layer)
    return {name: one.detach().float().contiguous().clone() for name, one in found.items()}


def _block(place: str, layer: Any) -> dict[str, Tensor]:
    """One layer; query, key and value are one matrix."""
    attention = layer.self_attn
    fused = (attention.q_proj, attention.k_proj, attention.v_proj)
    return {
        f"{place}.attn.in_proj_weight": torch.cat([one.weight for one in fused]),
        f"{place}.attn.in_proj_bias": torch.cat([one.bias for one in fused]),
        **_pair(f"{place}.attn.out_proj", attention.out_proj), **_pair(f"{place}.ln_1", layer.layer_norm1),
        **_pair(f"{place}.ln_2", layer.layer_norm2), **_pair(f"{place}.mlp.c_fc", layer.mlp.fc1),
        **_pair(f"{place}.mlp.c_proj", layer.mlp.fc2),
    }  # fmt: skip


def _pair(name: str, part: nn.Module) -> dict[str, Tensor]:
    """Weight and bias of a part."""
    return {f"{name}.{kind}": getattr(part, kind) for kind in ("weight", "bias")}
