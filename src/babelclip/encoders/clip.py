"""CLIP models of ``transformers``: any ``CLIPModel`` folder or hub id, and MetaCLIP 2, which is built alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babelclip.encoders.encoder import FrozenEncoder
from babelclip.encoders.frame import Frame
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.special import read_frame
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from babelclip.encoders.base import TextTower


class ClipEncoder(FrozenEncoder):
    """A frozen CLIP; its text tower is causal and pools at the first end-of-text token."""

    architecture = "CLIPModel"

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower; see ``FrozenEncoder``."""
        return FrozenTextTower(model.text_model, model.text_projection)

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        positions: int = model.config.text_config.max_position_embeddings
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        return read_frame(tokenizer, positions, self.name) if None in (bos, eos) else Frame(bos, eos, positions)

    def _behaviour(self) -> str:
        config = self._model.config
        names = ("hidden_act", "num_attention_heads", "layer_norm_eps", "bos_token_id", "eos_token_id", "patch_size")
        return repr(
            [(name, getattr(part, name, None)) for part in (config.text_config, config.vision_config) for name in names]
        )


class MetaClip2Encoder(FrozenEncoder):
    """A frozen MetaCLIP 2: a CLIP with the tokenizer of XLM-V."""

    architecture = "MetaClip2Model"

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower; see ``FrozenEncoder``."""
        return FrozenTextTower(model.text_model, model.text_projection)

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        config = model.config.text_config
        frame = read_frame(tokenizer, config.max_position_embeddings, self.name)
        if frame.eos != config.eos_token_id:
            raise ModelError(
                f"the tokenizer of {self.name} ends texts with the id {frame.eos}, but its text tower pools at "
                f"{config.eos_token_id}",
                fix="Tokenizer and model must come from the same folder.",
            )
        return frame
