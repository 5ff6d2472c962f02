"""Dual encoders with a text tower of BERT's build: Chinese CLIP, AltCLIP, and any two towers put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from babelclip.encoders.arranged import Head, affine_of, bias_of
from babelclip.encoders.encoder import FrozenEncoder
from babelclip.encoders.families import ENCODERS, unknown_text_tower
from babelclip.encoders.frame import Frame
from babelclip.encoders.post_norm import PostNormTextTower, bert_blocks, first_position
from babelclip.encoders.special import read_frame, shorter
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from babelclip.encoders.arranged import Affine, Modules
    from babelclip.encoders.base import TextTower


class BertEncoder(FrozenEncoder):
    """What these families share: texts from [CLS] to [SEP], or what stands for them, pooled at the first."""

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower; see ``FrozenEncoder``."""
        text = self.text_model(model)
        if getattr(text.config, "is_decoder", False):
            raise ModelError(
                f"the text tower of {self.name} is a decoder (is_decoder), which sees only what stands before a place",
                fix="Choose a model whose text tower attends both ways.",
            )
        return PostNormTextTower(text, self._head(model))

    def blocks(self, model: Any) -> list[Modules]:
        """Return the modules of each block; see ``FrozenEncoder``."""
        return bert_blocks(self.text_model(model))

    def _head(self, model: Any) -> Head:
        return _head(model)

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        text = self.text_model(model)
        positions: int = text.config.max_position_embeddings - first_position(text)
        frame = read_frame(tokenizer, shorter(tokenizer, positions), self.name)
        if frame.bos is None:
            raise ModelError(
                f"the tokenizer of {self.name} starts texts with no token, and its text tower pools at the first",
                fix="Save the tokenizer that the model was trained with; its tokenizer.json says so in post_processor.",
            )
        return frame


class ChineseClipEncoder(BertEncoder):
    """A frozen Chinese CLIP: a BERT whose first state is projected."""

    architecture = "ChineseCLIPModel"


class AltClipEncoder(BertEncoder):
    """A frozen AltCLIP: an XLM-R whose first state is normed, transformed and projected."""

    architecture = "AltCLIPModel"

    def text_model(self, model: Any) -> Any:
        """Return the text tower's module; see ``FrozenEncoder``."""
        return model.text_model.roberta

    def _head(self, model: Any) -> Head:
        return _head(model, norm=affine_of(model.text_model.pre_LN), dense=affine_of(model.text_model.transformation))


class TwoTowerEncoder(BertEncoder):
    """A frozen pair of any image tower and a BERT, RoBERTa or XLM-R, with its pooler, each projected."""

    architecture = "VisionTextDualEncoderModel"

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower; see ``FrozenEncoder``."""
        kind = model.text_model.config.model_type
        if kind not in ENCODERS:
            raise ModelError(
                unknown_text_tower(kind), fix="Choose a model whose text tower is one of these, or another family."
            )
        return super().arrange(model)

    def _head(self, model: Any) -> Head:
        return _head(model, dense=affine_of(model.text_model.pooler.dense), bend=True)


def _head(model: Any, *, norm: Affine | None = None, dense: Affine | None = None, bend: bool = False) -> Head:
    projection = model.text_projection
    return Head(norm, dense, bend, projection.weight.detach(), bias_of(projection))
