"""A frozen dual encoder of ``transformers``: what all families have in common. A family says what is its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from babelclip.encoders.frozen import clip_blocks
from babelclip.encoders.looking import look
from babelclip.encoders.pictures import open_picture
from babelclip.encoders.videos import FRAMES, check_frames
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

    from babelclip.encoders.arranged import Modules
    from babelclip.encoders.base import Progress, TextTower
    from babelclip.encoders.frame import Frame

BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""Files that a model has beside its weights and config: tokenizer and picture preparation."""


class FrozenEncoder:
    """A frozen dual encoder in float32; see ``DualEncoder`` for the other attributes.

    Attributes:
        architecture: the class of ``transformers``.
        processor: prepares pictures.
        padding: id that the tokenizer fills texts up with.
        source: the folder of its files; for a hub id, in the hub's cache.
    """

    architecture: ClassVar[str]

    def __init__(self, source: Path, *, name: str, device: torch.device, frames: int = FRAMES) -> None:
        """Load a model.

        Args:
            source: the folder of its files.
            name: how messages and results call it.
            device: where to run it.
            frames: of a video, at least 1.

        Raises:
            ModelError: weights are missing, the tokenizer is not a fast one, or the model is built otherwise than its
                family is here.
            SettingError: there are to be no frames.
        """
        self.source, self.name, self.device, self.frames = source, name, device, check_frames(frames)
        self.incomplete: list[Path] = []
        model = self._load_model()
        whole = self._load_tokenizer()
        self._model: Any = model.requires_grad_(False).to(device)
        self.text_tower: TextTower = self.arrange(self._model)
        self.processor: Any = self._load_processor()
        self.tokenizer = whole.backend_tokenizer
        self.frame: Frame = self._find_frame(whole, self._model)
        self.padding: int = self.frame.eos if whole.pad_token_id is None else whole.pad_token_id
        self.dim: int = self.text_tower.shape.dim
        self.scale, bias = float(model.logit_scale.exp()), getattr(model, "logit_bias", None)
        self.bias = None if bias is None else float(bias)
        self.fingerprint = _fingerprint(
            self._model, self.tokenizer.to_str(), self.processor.to_json_string(), self._behaviour()
        )
        table = self.text_model(self._model).get_input_embeddings().weight.detach()
        self.token_table: Tensor = table[: self.tokenizer.get_vocab_size(with_added_tokens=True)]
        del self.text_model(self._model).encoder  # its weights live on, arranged, in the tower

    @torch.inference_mode()
    def encode_images(self, files: Sequence[Path], *, batch_size: int = 64, progress: Progress | None = None) -> Tensor:
        """Files to (N, dim) vectors; see ``DualEncoder``."""
        vectors = torch.zeros(len(files), self.dim)
        for batch in look(files, batch_size=batch_size, frames=self.frames, incomplete=self.incomplete):
            batch.put(self.encode_pixels(self.prepare(batch.pictures)), vectors)
            if progress is not None:
                progress(batch.done, len(files))
        return vectors

    def prepare_pictures(self, files: Sequence[Path]) -> Tensor:
        """Return (N, ...) pixels of pictures, prepared by the model's own processor, on the CPU.

        Raises:
            DataError: a picture is missing or damaged.
        """
        return self.prepare([open_picture(file) for file in files])

    def prepare(self, pictures: Sequence[Image]) -> Tensor:
        """Pictures in RGB to (N, 3, side, side) pixels; see ``DualEncoder``."""
        pixels: Tensor = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return pixels

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(N, ...) to (N, dim) vectors; see ``DualEncoder``."""
        output = self._model.get_image_features(**self._look(pixels.to(self.device)))
        vectors: Tensor = output.pooler_output.float().cpu()
        return vectors

    def load_whole(self) -> Any:
        """Load the same model once more, as ``transformers`` has it, both towers free to be trained."""
        return self._load_model().to(self.device)

    def write_whole(self, model: Any, folder: Path) -> None:
        """Write a model of this architecture to a folder, with this one's tokenizer and picture preparation.

        Its own files beside the weights are copied byte for byte.

        Raises:
            OSError: the folder cannot be written to.
        """
        try:
            with without_progress_bar():
                model.save_pretrained(folder)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        for file in folder.glob("*.safetensors"):
            shutil.copymode(folder / "config.json", file)  # some versions write weights for the owner's eyes only
        for file in (self.source / name for name in BESIDE):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)

    def arrange(self, model: Any) -> TextTower:
        """Return the text tower of a model of this architecture."""
        raise NotImplementedError

    def text_model(self, model: Any) -> Any:
        """Return the module of a model's text tower, which has an ``encoder``."""
        return model.text_model

    def blocks(self, model: Any) -> list[Modules]:
        """Return the modules of each block of a model's text tower."""
        return clip_blocks(self.text_model(model))

    def _find_frame(self, tokenizer: Any, model: Any) -> Frame:
        """Return what the text tower wants around pieces, from tokenizer and config."""
        raise NotImplementedError

    def _behaviour(self) -> str:
        """What changes the vectors without being a weight."""
        config = self._model.config
        return repr((_named(config, BEHAVIOUR), self.frame))

    def _look(self, pixels: Tensor) -> dict[str, Tensor]:
        """Prepared pictures as ``get_image_features`` takes them."""
        return {"pixel_values": pixels}

    def _load_processor(self) -> Any:
        from transformers import AutoImageProcessor  # takes longer than all else that is imported

        return AutoImageProcessor.from_pretrained(self.source, backend="pil", trust_remote_code=False)

    def _load_tokenizer(self) -> Any:
        return load_tokenizer(self.source, self.name)

    def _load_model(self) -> Any:
        """Load all weights in float32, ready to compute (no dropout).

        Raises:
            ModelError: weights are missing.
        """
        import transformers

        with without_progress_bar():
            model, report = getattr(transformers, self.architecture).from_pretrained(
                self.source, output_loading_info=True, dtype=torch.float32, use_safetensors=True
            )
        missing = sorted(report["missing_keys"])
        if missing:
            raise ModelError(
                f"{self.name} lacks {len(missing)} weights of a {self.architecture}, first {missing[0]!r}",
                fix=f"Give a complete {self.architecture} folder (config.json, model.safetensors, tokenizer files).",
            )
        return model.eval()


BEHAVIOUR = (
    "model_type", "hidden_act", "num_attention_heads", "layer_norm_eps", "bos_token_id", "eos_token_id", "pad_token_id",
    "patch_size", "num_patches", "image_size", "vision_use_head",
)  # fmt: skip


def _named(config: Any, names: Sequence[str]) -> list[tuple[str, Any]]:
    """Values of both halves of a config."""
    return [(name, getattr(part, name, None)) for part in (config.text_config, config.vision_config) for name in names]


def load_tokenizer(source: Path, name: str) -> Any:
    """Load a model's fast tokenizer as ``transformers`` has it; where its own class is a slow one, its tokenizer.json.

    Raises:
        ModelError: it has none.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        if getattr(tokenizer, "is_fast", False):
            return tokenizer
    except ImportError:  # its own class is a slow one and wants a package that is not installed
        pass
    try:
        return PreTrainedTokenizerFast.from_pretrained(source)
    except (ValueError, OSError, TypeError) as error:
        raise ModelError(
            f"{name} has no fast tokenizer", fix="Save one with tokenizer.json beside the weights."
        ) from error


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for a load of a second; its own setting is put back."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _fingerprint(model: nn.Module, *texts: str) -> str:
    """Sha256 over names, shapes and bytes of all weights, and the descriptions of all else."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()
