"""The picture that fits a text best, with onnxruntime and tokenizers alone, from `babelclip export --to onnx`.

python examples/foreign/with_onnx.py FOLDER/LANGUAGE TEXT PICTURE ...
"""

import json
import sys
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from PIL import Image
from tokenizers import Tokenizer

folder, text, *files = Path(sys.argv[1]), *sys.argv[2:]
ids = [Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids]
(vector,) = InferenceSession(folder / "text.onnx").run(None, {"input_ids": np.array(ids)})[0]
image, how = folder.parent / "image.onnx", json.loads((folder.parent / "preprocessor_config.json").read_text())
side, mean, deviation = how["size"]["shortest_edge"], how["image_mean"], how["image_std"]


def prepare(picture: Image.Image) -> np.ndarray:
    """Scale the shorter side, cut out the middle, and normalise."""
    w, h = picture.size
    picture = picture.resize((max(side, int(side * w / h)), max(side, int(side * h / w))), how["resample"])
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    pixels = np.asarray(picture.crop((left, top, left + side, top + side))) / 255
    return ((pixels - mean) / deviation).transpose(2, 0, 1).astype(np.float32)


pixels = np.stack([prepare(Image.open(file).convert("RGB")) for file in files])
vectors = InferenceSession(image).run(None, {"pixel_values": pixels})[0]
scores = (vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)).tolist()
print(f"{max(scores):.6f} {files[scores.index(max(scores))]}")
