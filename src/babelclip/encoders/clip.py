"""CLIP models of ``transformers``: any ``CLIPModel`` folder or hub id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPModel
from transformers.utils import logging

from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.looking import look
from babelclip.encoders.videos import FRAMES, check_frames
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from babelclip.encoders.base import Progress


class ClipEncoder:
    """A frozen CLIP in float32; see ``DualEncoder`` for the attributes."""

    def __init__(self, source: str | Path, *, name: str, device: torch.device, frames: int = FRAMES) -> None:
        """Load a model.

        Args:
            source: a ``CLIPModel`` folder or a hub id.
            name: how messages and results call it.
            device: where to run it.
            frames: of a video, at least 1.

        Raises:
            ModelError: weights are missing, or the tokenizer is not a fast one.
            SettingError: there are to be no frames.
        """
        self.frames = check_frames(frames)
        self.incomplete: list[Path] = []
        with _without_progress_bar():
            model, report = CLIPModel.from_pretrained(source, output_loading_info=True, dtype=torch.float32)
        missing = sorted(report["missing_keys"])
        if missing:
            raise ModelError(
                f"{name} lacks {len(missing)} weights of a CLIPModel, first {missing[0]!r}",
                fix="Give a complete CLIPModel folder (config.json, model.safetensors, tokenizer files).",
            )
        tokenizer = AutoTokenizer.from_pretrained(source)
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"{name} has no fast tokenizer", fix="Save one with tokenizer.json beside the weights.")
        self._model: CLIPModel = model.eval().requires_grad_(False).to(device)
        self.text_tower = FrozenTextTower(self._model.text_model, self._model.text_projection)
        self._processor = AutoImageProcessor.from_pretrained(source, backend="pil")
        self.name, self.device = name, device
        self.tokenizer = tokenizer.backend_tokenizer
        self.bos, self.eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.max_length: int = model.config.text_config.max_position_embeddings
        self.dim: int = model.config.projection_dim
        self.token_table: Tensor = self._model.text_model.embeddings.token_embedding.weight.detach()
        self.fingerprint = _fingerprint(
            self._model, self.tokenizer.to_str(), self._processor.to_json_string(), _behaviour(model.config)
        )
        del self._model.text_model.encoder  # its weights live on, arranged, in the tower

    @torch.inference_mode()
    def encode_images(self, files: Sequence[Path], *, batch_size: int = 64, progress: Progress | None = None) -> Tensor:
        """Files to (N, dim) vectors; see ``DualEncoder``."""
        vectors = torch.zeros(len(files), self.dim)
        for batch in look(files, batch_size=batch_size, frames=self.frames, incomplete=self.incomplete):
            pixels = self._processor(images=batch.pictures, return_tensors="pt")["pixel_values"].to(self.device)
            batch.put(self._model.get_image_features(pixel_values=pixels).pooler_output.float().cpu(), vectors)
            if progress is not None:
                progress(batch.done, len(files))
        return vectors


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for a load of a second; its own setting is put back."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _behaviour(config: CLIPConfig) -> str:
    """What changes the vectors without being a weight."""
    names = ("hidden_act", "num_attention_heads", "layer_norm_eps", "bos_token_id", "eos_token_id", "patch_size")
    return repr(
        [(name, getattr(part, name, None)) for part in (config.text_config, config.vision_config) for name in names]
    )


def _fingerprint(model: nn.Module, *texts: str) -> str:
    """Sha256 over names, shapes and bytes of all weights, and the descriptions of all else."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()
