"""What of open_clip's configs is a CLIP as ``transformers`` builds it, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS = {
    "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4.0},
    "vision_cfg": {
        "width": 768, "head_width": 64, "layers": 12, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224,
    },
}  # fmt: skip
"""What open_clip takes where a config does not say."""
RESAMPLE = {"bilinear": 2, "bicubic": 3}
"""Interpolations, as PIL numbers them."""
ANY: tuple[Any, ...] = ()
"""Every value of a setting is mapped, or changes nothing once a model is trained."""
_NEITHER = (None, False)
_TEXT = {
    "context_length": ANY, "vocab_size": ANY, "width": ANY, "heads": ANY, "layers": ANY, "mlp_ratio": ANY,
    "pool_type": ("argmax", "eos"), "eos_id": ANY, "pad_id": ANY, "proj_type": ("linear",), "tokenizer_kwargs": ANY,
    "final_ln_after_pool": ANY, "embed_cls": _NEITHER, "output_tokens": ANY, "norm_kwargs": (None, {}),
    "act_kwargs": (None, {}),
}  # fmt: skip
_VISION = {
    "layers": ANY, "width": ANY, "head_width": ANY, "mlp_ratio": ANY, "patch_size": ANY, "image_size": ANY,
    "patch_dropout": ANY, "pool_type": ("tok",), "pos_embed_type": ("learnable",), "output_tokens": ANY,
    "final_ln_after_pool": ANY, "attn_pooler_queries": ANY, "attn_pooler_heads": ANY, "norm_kwargs": (None, {}),
    "act_kwargs": (None, {}),
}  # fmt: skip
_MODEL = {
    "embed_dim": ANY, "text_cfg": ANY, "vision_cfg": ANY, "quick_gelu": ANY, "custom_text": ANY,
    "init_logit_scale": ANY, "init_logit_bias": _NEITHER,
}  # fmt: skip


def tower_of(model: Mapping[str, Any], half: str) -> dict[str, Any]:
    """Return what a config says of a CLIP's tower, with open_clip's defaults and what follows from both.

    Args:
        model: ``model_cfg`` of a config in which nothing is ``unmapped``.
        half: ``text_cfg`` or ``vision_cfg``.
    """
    tower: dict[str, Any] = DEFAULTS[half] | model[half]
    if half == "vision_cfg":
        size = tower["image_size"]
        tower |= {
            "heads": tower["width"] // tower["head_width"],
            "image_size": size if isinstance(size, int) else size[0],
        }
    inner, activation = int(tower["width"] * tower["mlp_ratio"]), "quick_gelu" if model.get("quick_gelu") else "gelu"
    return tower | {"intermediate_size": inner, "hidden_act": activation}


def unmapped(content: Mapping[str, Any]) -> list[str]:
    """Return what in a config is no CLIP of transformers; empty where all can be mapped.

    Args:
        content: of open_clip_config.json.
    """
    model, prepared = content["model_cfg"], content.get("preprocess_cfg", {})
    text, vision = model["text_cfg"], model["vision_cfg"]
    found = []
    if "timm_model_name" in vision:
        found.append(f"its image tower is timm's {vision['timm_model_name']}")
    if "hf_model_name" in text:
        found.append(f"its text tower is the Hugging Face model {text['hf_model_name']}")
    if "multimodal_cfg" in model:
        found.append("it has a decoder of captions beside its towers (CoCa)")
    if isinstance(vision.get("layers"), list):
        found.append("its image tower is a ResNet")
    for part, values, allowed in (
        ("model_cfg", model, _MODEL),
        ("text_cfg", text, _TEXT),
        ("vision_cfg", vision, _VISION),
    ):
        for name, value in values.items():
            named = name == "multimodal_cfg" or name.startswith(("timm_", "hf_"))
            if not named and allowed.get(name, _NEITHER) is not ANY and value not in allowed.get(name, _NEITHER):
                found.append(f"its {part} has {name} = {value!r}, for which a CLIPModel has no place")
    for name in ("image_size", "patch_size"):
        if isinstance(vision.get(name), (list, tuple)) and (name == "patch_size" or len(set(vision[name])) > 1):
            found.append(f"its vision_cfg has {name} = {vision[name]}, and a CLIPModel takes squares only")
    if prepared.get("mode", "RGB") != "RGB" or prepared.get("resize_mode", "shortest") not in ("shortest", "squash"):
        found.append(f"its pictures are prepared with {prepared}, which is neither shortest nor squash in RGB")
    if prepared.get("interpolation", "bicubic") not in RESAMPLE:
        found.append(f"its pictures are resized with the interpolation {prepared['interpolation']!r}")
    return found
