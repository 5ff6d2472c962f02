"""Folders in open_clip's own format, as a ``CLIPModel``: the weights are renamed in memory, no other package is needed.

    open_clip_config.json           model_cfg: sizes of both towers; preprocess_cfg: how pictures are prepared
    open_clip_model.safetensors     the weights, under open_clip's names
    tokenizer.json                  beside them

Only what is a CLIP in all its parts can be mapped; everything else is refused by ``unmapped``, which says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from babelclip.encoders.clip import ClipEncoder
from babelclip.encoders.headers import OPEN_CLIP_WEIGHTS as WEIGHTS
from babelclip.encoders.model_config import CONFIG, OPEN_CLIP_CONFIG, read_json
from babelclip.encoders.open_clip_traits import RESAMPLE, tower_of, unmapped
from babelclip.encoders.special import read_frame
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from babelclip.encoders.frame import Frame

INSTEAD = "Take the same weights in transformers format (config.json with a model_type), or another base model."


def is_open_clip(folder: Path) -> bool:
    """Whether a folder is in open_clip's format and in no other."""
    if not (folder / OPEN_CLIP_CONFIG).is_file():
        return False
    return not ((folder / CONFIG).is_file() and "model_type" in read_json(folder / CONFIG))


class OpenClipEncoder(ClipEncoder):
    """A frozen CLIP of open_clip."""

    def _load_model(self) -> Any:
        from safetensors.torch import load_file
        from transformers import CLIPModel

        content = self._content()
        reasons = unmapped(content)
        if reasons:
            raise ModelError(f"{self.name} is no CLIPModel: {'; '.join(reasons)}", fix=INSTEAD)
        model = CLIPModel(_config(content["model_cfg"]))
        mapped = dict(_rename(load_file(self.source / WEIGHTS), self.name))
        wanted = model.state_dict()
        wrong = [name for name in wanted if name in mapped and wanted[name].shape != mapped[name].shape]
        for what, names in (
            ("lacks", wanted.keys() - mapped.keys()), ("has no place for", mapped.keys() - wanted.keys()),
            ("has another shape for", set(wrong)),
        ):  # fmt: skip
            if names:
                raise ModelError(
                    f"{self.name}, mapped to a CLIPModel, {what} {len(names)} weights, first {min(names)!r}",
                    file=self.source / WEIGHTS, fix=INSTEAD,
                )  # fmt: skip
        model.load_state_dict(mapped)
        frame, config = self._find_frame(self._load_tokenizer(), model), model.config.text_config
        config.bos_token_id, config.eos_token_id, config.pad_token_id = frame.bos, frame.eos, frame.eos
        model.text_model.eos_token_id = frame.eos
        return model.float().eval()

    def write_whole(self, model: Any, folder: Path) -> None:
        """Write a model of this architecture in the format of ``transformers``; see ``FrozenEncoder``."""
        super().write_whole(model, folder)
        self.processor.save_pretrained(folder)
        if not (folder / "tokenizer_config.json").is_file():
            self._load_tokenizer().save_pretrained(folder)

    def _load_tokenizer(self) -> Any:
        if (self.source / "tokenizer_config.json").is_file():
            return super()._load_tokenizer()
        from transformers import PreTrainedTokenizerFast

        bare = PreTrainedTokenizerFast(tokenizer_file=str(self.source / "tokenizer.json"))
        frame = read_frame(bare, 2, self.name)
        bare.bos_token, bare.eos_token, bare.pad_token = bare.convert_ids_to_tokens([frame.bos, frame.eos, frame.eos])
        return bare

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        text = self._content()["model_cfg"]["text_cfg"]
        frame = read_frame(tokenizer, model.config.text_config.max_position_embeddings, self.name)
        if text.get("pool_type", "argmax") == "argmax":
            pooled, why = len(tokenizer) - 1, "its text tower pools at the highest id"
        else:
            pooled, why = text.get("eos_id", 2), "its config names the id of the end"
        if frame.eos != pooled:
            raise ModelError(
                f"the tokenizer of {self.name} ends texts with the id {frame.eos}, but {why}, which is {pooled}",
                fix="Put the model's own tokenizer.json beside its weights.",
            )
        return frame

    def _load_processor(self) -> Any:
        """The same preparation as ``transformers`` has it: where a margin is odd, it cuts one pixel off the other side.

        Weights of open_clip in the format of ``transformers`` come with this one too.
        """
        from transformers import CLIPImageProcessorPil

        content = self._content()
        size: int = tower_of(content["model_cfg"], "vision_cfg")["image_size"]
        prepared = content.get("preprocess_cfg", {})
        side = {"height": size, "width": size}
        squash = prepared.get("resize_mode") == "squash"
        means = {f"image_{name}": list(prepared[name]) for name in ("mean", "std") if name in prepared}
        return CLIPImageProcessorPil(
            size=side if squash else {"shortest_edge": size}, crop_size=side, do_center_crop=not squash,
            resample=RESAMPLE[prepared.get("interpolation", "bicubic")], **means,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return read_json(self.source / OPEN_CLIP_CONFIG)


def _config(model: Mapping[str, Any]) -> Any:
    """The config of the same model in ``transformers``."""
    from transformers import CLIPConfig

    text, vision = (tower_of(model, half) for half in ("text_cfg", "vision_cfg"))
    halves = [
        {
            "hidden_size": part["width"], "num_hidden_layers": part["layers"], "num_attention_heads": part["heads"],
            "intermediate_size": part["intermediate_size"], "hidden_act": part["hidden_act"],
        }
        for part in (text, vision)
    ]  # fmt: skip
    halves[0] |= {"vocab_size": text["vocab_size"], "max_position_embeddings": text["context_length"]}
    halves[1] |= {"image_size": vision["image_size"], "patch_size": vision["patch_size"]}
    return CLIPConfig(text_config=halves[0], vision_config=halves[1], projection_dim=model["embed_dim"])


def _rename(weights: Mapping[str, Tensor], name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under the names of ``transformers``; what is not known keeps its name.

    Matrices that open_clip multiplies from the right are turned, and query, key and value are taken apart. A model
    with ``custom_text`` has its text tower's weights under ``text.``.
    """
    for key, tensor in weights.items():
        bare = key.removeprefix("text.")
        if bare == "attn_mask":
            continue
        side = "vision_model" if bare.startswith("visual.") else "text_model"
        inner = bare.removeprefix("visual.")
        if inner.startswith("transformer.resblocks."):
            number, part = inner.removeprefix("transformer.resblocks.").split(".", 1)
            place = f"{side}.encoder.layers.{number}"
            kind = part.removeprefix("attn.in_proj_")
            if kind != part:
                for projection, one in zip("qkv", tensor.chunk(3), strict=True):
                    yield f"{place}.self_attn.{projection}_proj.{kind}", one.contiguous()
            else:
                module, _, end = part.rpartition(".")
                yield f"{place}.{_IN_BLOCK.get(module, module)}.{end}", tensor
        elif bare in _TURNED:
            yield _TURNED[bare], tensor.T.contiguous()
        else:
            yield _OUTSIDE.get(bare, bare), tensor


_IN_BLOCK = {
    "ln_1": "layer_norm1", "attn.out_proj": "self_attn.out_proj", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
_TURNED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_OUTSIDE = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight", "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}  # fmt: skip
