"""A folder for onnxruntime: ``text.onnx`` and ``tokenizer.json`` a vocabulary, one ``image.onnx``.

image.onnx                       pixels to vectors
preprocessor_config.json         how a picture becomes pixels
LANGUAGE/text.onnx               token ids to vectors; of a shared lexicon without the folder LANGUAGE
LANGUAGE/tokenizer.json          texts to token ids, cut and padded
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babelclip.export.card import TEXTS, Usage
from babelclip.export.image_tower import build_image_model
from babelclip.export.leaving import Leaving, check_family
from babelclip.export.text_ids import build_text_model
from babelclip.export.text_tower import OPSET

if TYPE_CHECKING:
    from babelclip.encoders import DualEncoder

CODE = f"""
import numpy as np, onnxruntime, tokenizers
from PIL import Image

texts, picture = {json.dumps(TEXTS)}, Image.open("photo.jpg").convert("RGB")
tokenizer = tokenizers.Tokenizer.from_file("FOLDERtokenizer.json")
tokenizer.encode_special_tokens = True  # text that looks like a special token is cut like any other
text, image = (onnxruntime.InferenceSession(file) for file in ("FOLDERtext.onnx", "image.onnx"))
(text_vectors,) = text.run(None, {{"input_ids": np.array([one.ids for one in tokenizer.encode_batch(texts)])}})
PREPARE
mean, deviation = MEAN, STD
pixels = ((np.asarray(picture) / 255 - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)
(image_vectors,) = image.run(None, {{"pixel_values": pixels}})
unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (text_vectors, image_vectors)]
print(unit[0] @ unit[1].T)
"""
SHORTEST = """w, h = picture.size
picture = picture.resize((max(SIDE, int(SIDE * w / h)), max(SIDE, int(SIDE * h / w))), RESAMPLE)
left, top = (picture.width - WIDTH) // 2, (picture.height - HEIGHT) // 2
picture = picture.crop((left, top, left + WIDTH, top + HEIGHT))"""
EXACT = "picture = picture.resize((WIDTH, HEIGHT), RESAMPLE)"


def onnx_usage(encoder: DualEncoder, place: str, precision: str) -> Usage:
    """How onnxruntime loads a folder; ``place``: where the text model lies in it."""
    limits = [
        f"Graphs are of opset {OPSET}; onnxruntime runs them from 1.23 on. Vectors are not of length 1.",
        "`image.onnx` takes pixels, which are prepared as `preprocessor_config.json` says.",
    ]
    if precision == "int8":
        limits.append("Texts are in int8: vectors differ from those in float32, and a little with the batch.")
    return Usage(
        "onnx",
        "onnxruntime tokenizers pillow",
        _code(read_preparation(encoder)).replace("FOLDER", place),
        tuple(limits),
    )


def write_text(encoder: DualEncoder, leaving: Leaving, folder: Path, precision: str) -> None:
    """Write ``text.onnx`` and ``tokenizer.json``.

    Raises:
        UnknownNameError: another precision.
        ModelError: there is no graph for the base model's tower, or it is too large for one file.
        MissingExtraError: the package ``onnx`` is not installed.
        OSError: the folder cannot be written to.
    """
    model: Any = leaving.model(encoder)
    tower, frame = check_family(encoder).arrange(model), leaving.frame
    facts = {
        **_facts(encoder), "precision": precision, "languages": ",".join(leaving.languages), "eos": str(frame.eos),
        "max_length": str(frame.max_length), **({} if frame.bos is None else {"bos": str(frame.bos)}),
    }  # fmt: skip
    content = build_text_model(tower, leaving.table, frame.eos, precision, facts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.onnx").write_bytes(content)
    (folder / "tokenizer.json").write_text(leaving.tokenizer_file(ready=True), encoding="utf-8")


def write_image(encoder: DualEncoder, folder: Path) -> None:
    """Write ``image.onnx`` and how pictures are prepared; errors as for ``write_text``."""
    facts = {**_facts(encoder), "precision": "float32"}
    (folder / "image.onnx").write_bytes(build_image_model(check_family(encoder).load_whole().cpu(), facts))
    content = json.dumps(read_preparation(encoder), indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(content, encoding="utf-8")


def _facts(encoder: DualEncoder) -> dict[str, str]:
    return {"opset": str(OPSET), "base_fingerprint": encoder.fingerprint}


def read_preparation(encoder: DualEncoder) -> dict[str, Any]:
    """Return how the base model prepares pictures, as ``preprocessor_config.json`` has it."""
    content: dict[str, Any] = json.loads(check_family(encoder).processor.to_json_string())
    return content


def _code(settings: dict[str, Any]) -> str:
    """The example, with the numbers of a base model."""
    size = settings["size"]
    crop = (settings.get("crop_size") if settings.get("do_center_crop") else None) or size
    side = size.get("shortest_edge")
    prepare = EXACT if side is None else SHORTEST
    values = {
        "SIDE": side, "WIDTH": crop.get("width", side), "HEIGHT": crop.get("height", side),
        "RESAMPLE": settings["resample"], "MEAN": settings["image_mean"], "STD": settings["image_std"],
    }  # fmt: skip
    code = CODE.replace("PREPARE", prepare)
    for name, value in values.items():
        code = code.replace(name, str(value))
    return code
