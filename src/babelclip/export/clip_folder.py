"""Folders for ``transformers`` and ``sentence-transformers``: the base model with another vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.encoders.encoder import BESIDE
from babelclip.encoders.siglip import Siglip2Encoder
from babelclip.export.card import TEXTS, Usage
from babelclip.export.leaving import Leaving, check_clip, check_family

if TYPE_CHECKING:
    from babelclip.encoders import DualEncoder

MODULE = "0_CLIPModel"
PREPARATION = ("preprocessor_config.json", "processor_config.json")

TRANSFORMERS = f"""
import torch
from PIL import Image
from transformers import ARCHITECTURE, AutoProcessor

model = ARCHITECTURE.from_pretrained("FOLDER")
processor = AutoProcessor.from_pretrained("FOLDER", backend="pil")
texts, pictures = {json.dumps(TEXTS)}, [Image.open("photo.jpg")]
with torch.inference_mode():
    found = model(**processor(text=texts, images=pictures, OPTIONS, return_tensors="pt"))
text_vectors, image_vectors = found.text_embeds, found.image_embeds  # of length 1
print(text_vectors @ image_vectors.T)
"""

SENTENCE_TRANSFORMERS = f"""
from PIL import Image
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
texts, pictures = {json.dumps(TEXTS)}, [Image.open("photo.jpg")]
text_vectors = model.encode(texts, normalize_embeddings=True)
image_vectors = model.encode(pictures, normalize_embeddings=True)
print(text_vectors @ image_vectors.T)
"""
TORCHVISION = (
    "Pictures are to be resized by Pillow. Where torchvision is installed, transformers takes that by default, and the "
    "vectors of pictures differ a little from the base model's"
)


def transformers_usage(encoder: DualEncoder, place: str) -> Usage:
    """How ``transformers`` loads a folder."""
    padded = encoder.frame.padding is not None
    code = TRANSFORMERS.replace("FOLDER", place).replace("ARCHITECTURE", check_family(encoder).architecture)
    code = code.replace("OPTIONS", _options(encoder))
    limits = [f'{TORCHVISION}; `backend="pil"` prevents it.']
    if padded:
        limits.append('Texts are padded to the whole context (`padding="max_length"`), which the text tower reads.')
    return Usage("transformers", "transformers torch pillow", code, tuple(limits))


def _options(encoder: DualEncoder) -> str:
    """What the processor is told: SigLIP's has numbers of its own that it would take instead of the model's."""
    if encoder.frame.padding is None:
        return "padding=True, truncation=True"
    found = f'padding="max_length", max_length={encoder.frame.max_length}, truncation=True'
    if isinstance(encoder, Siglip2Encoder):
        patches = encoder.processor
        found += f", patch_size={patches.patch_size}, max_num_patches={patches.max_num_patches}"
    return found


def sentence_usage(_: DualEncoder, place: str) -> Usage:
    """How ``sentence-transformers`` loads a folder."""
    code = SENTENCE_TRANSFORMERS.replace("FOLDER", place)
    limit = f'{TORCHVISION}; `SentenceTransformer(..., processor_kwargs={{"backend": "pil"}})` prevents it.'
    return Usage("sentence-transformers", "sentence-transformers pillow", code, (limit,))


def write_transformers(encoder: DualEncoder, leaving: Leaving, folder: Path) -> None:
    """Write what the base model's own class, ``AutoTokenizer`` and ``AutoProcessor`` load.

    Raises:
        ModelError: the base model is none of ``transformers``.
        OSError: the folder cannot be written to.
    """
    check_family(encoder).write_whole(leaving.model(encoder), folder)
    for name in set(BESIDE) - set(PREPARATION):
        (folder / name).unlink(missing_ok=True)  # of the base model's own tokenizer
    (folder / "tokenizer.json").write_text(leaving.tokenizer_file(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(leaving.tokenizer_config(), encoding="utf-8")


def write_sentence_transformers(encoder: DualEncoder, leaving: Leaving, folder: Path) -> None:
    """Write what ``SentenceTransformer`` loads: its own module for CLIP, over a folder of ``transformers``.

    Raises:
        ModelError: the base model is no ``CLIPModel``.
        OSError: the folder cannot be written to.
    """
    check_clip(encoder, "sentence-transformers")
    (folder / MODULE).mkdir(parents=True)
    write_transformers(encoder, leaving, folder / MODULE)
    modules = [{"idx": 0, "name": "0", "path": MODULE, "type": "sentence_transformers.models.CLIPModel"}]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    config: dict[str, object] = {"similarity_fn_name": "cosine", "prompts": {}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
