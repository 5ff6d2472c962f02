"""CLIP models of ``transformers``: any ``CLIPModel`` folder or hub id."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from babelclip.encoders.frozen import FrozenTextTower
from babelclip.encoders.looking import look
from babelclip.encoders.pictures import open_picture
from babelclip.encoders.videos import FRAMES, check_frames
from babelclip.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import CLIPConfig, CLIPModel

    from babelclip.encoders.base import Progress

BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""Files that a model has beside its weights and config: tokenizer and picture preparation."""


class ClipEncoder:
    """A frozen CLIP in float32; see ``DualEncoder`` for the other attributes.

    Attributes:
        source: the folder or hub id of its files.
    """

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
        from transformers import AutoImageProcessor, AutoTokenizer  # takes longer than all else that is imported

        self.source, self.frames = source, check_frames(frames)
        self.incomplete: list[Path] = []
        model = _load(source, name)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"{name} has no fast tokenizer", fix="Save one with tokenizer.json beside the weights.")
        self._model: CLIPModel = model.requires_grad_(False).to(device)
        self.text_tower = FrozenTextTower(self._model.text_model, self._model.text_projection)
        self._processor = AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)
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
            batch.put(self.encode_pixels(self.prepare(batch.pictures)), vectors)
            if progress is not None:
                progress(batch.done, len(files))
        return vectors

    def prepare_pictures(self, files: Sequence[Path]) -> Tensor:
        """Return (N, 3, side, side) pixels of pictures, prepared by the model's own processor, on the CPU.

        Raises:
            DataError: a picture is missing or damaged.
        """
        return self.prepare([open_picture(file) for file in files])

    def prepare(self, pictures: Sequence[Image]) -> Tensor:
        """Pictures in RGB to (N, 3, side, side) pixels; see ``DualEncoder``."""
        pixels: Tensor = self._processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return pixels

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(N, 3, side, side) to (N, dim) vectors; see ``DualEncoder``."""
        output = self._model.get_image_features(pixel_values=pixels.to(self.device))
        vectors: Tensor = output.pooler_output.float().cpu()
        return vectors

    def load_whole(self) -> CLIPModel:
        """Load the same model once more, as ``transformers`` has it, both towers free to be trained."""
        return _load(self.source, self.name).to(self.device)

    def write_whole(self, model: CLIPModel, folder: Path) -> None:
        """Write a model of this architecture to a folder, with this one's tokenizer and picture preparation.

        Files of a folder are copied byte for byte; what came from a hub is written by ``transformers``.

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
        if Path(self.source).is_dir():
            for file in (Path(self.source) / name for name in BESIDE):
                if file.is_file():
                    shutil.copyfile(file, folder / file.name)
        else:
            from transformers import AutoTokenizer

            AutoTokenizer.from_pretrained(self.source).save_pretrained(folder)
            self._processor.save_pretrained(folder)


def _load(source: str | Path, name: str) -> CLIPModel:
    """Load all weights in float32, ready to compute (no dropout).

    Raises:
        ModelError: weights are missing.
    """
    from transformers import CLIPModel

    with without_progress_bar():
        model, report = CLIPModel.from_pretrained(
            source, output_loading_info=True, dtype=torch.float32, use_safetensors=True
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} weights of a CLIPModel, first {missing[0]!r}",
            fix="Give a complete CLIPModel folder (config.json, model.safetensors, tokenizer files).",
        )
    return model.eval()


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
