"""Exports of a folder of packs: size, time, how near their vectors come, and what int8 loses.

    python bench/exports.py FOLDER --data report/data --out bench/results/exports.json

FOLDER holds packs, such as those of `babelclip learn --language de --data report/data/de.train.tsv --out FOLDER` after
`make demo`.

Vectors are compared as directions with those of ``Polyglot.encode_texts``, on the held-out texts of each language; the
gallery is their pictures, which the base model encodes. Everything is loaded as the README.md of an export says.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel

from babelclip.data import Cache, Teacher, read_captions
from babelclip.evaluation import retrieval_scores
from babelclip.export import export_model
from babelclip.files import write_whole
from babelclip.packs import load_polyglot

SCORES = ("img_r1", "img_r10", "txt_r10", "r_mean")
BATCH = 64
Encode = Callable[[Sequence[str]], Tensor]


def by_transformers(folder: Path) -> Encode:
    """Texts through an exported ``CLIPModel``."""
    model: Any = CLIPModel.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def encode(texts: Sequence[str]) -> Tensor:
        with torch.inference_mode():
            inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            vectors: Tensor = model.get_text_features(**inputs).pooler_output
        return vectors

    return encode


def by_onnx(folder: Path) -> Encode:
    """Texts through an exported graph."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(folder / "text.onnx")
    tokenizer.encode_special_tokens = True

    def encode(texts: Sequence[str]) -> Tensor:
        ids = np.array([one.ids for one in tokenizer.encode_batch(list(texts))])
        return torch.from_numpy(session.run(None, {"input_ids": ids})[0])

    return encode


TARGETS = {
    "transformers": (by_transformers, {"to": "transformers"}),
    "onnx float32": (by_onnx, {"to": "onnx"}),
    "onnx int8": (by_onnx, {"to": "onnx", "precision": "int8"}),
}


def bench(packs: Path, data: Path) -> list[dict[str, Any]]:
    """Every language in every target."""
    polyglot = load_polyglot(packs, device="cpu")
    teacher, found = Teacher(polyglot.encoder, Cache(None)), []
    for tag in polyglot.languages:
        examples = teacher.prepare(read_captions(data / f"{tag}.test.tsv", tag))
        images, exact = examples.images[:], polyglot.encode_texts(examples.texts, language=tag)
        scores = retrieval_scores(exact, images, examples.owner)
        found.append({"language": tag, "target": "babelclip", "scores": {name: scores[name] for name in SCORES}})
        for target, (load, options) in TARGETS.items():
            with tempfile.TemporaryDirectory() as place:
                started = time.perf_counter()
                out = Path(place) / "out"
                folder = export_model(polyglot, out, languages=[tag], **options)[tag]
                seconds = time.perf_counter() - started
                size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
                encode = load(folder)
                parts = [encode(examples.texts[k : k + BATCH]) for k in range(0, len(examples.texts), BATCH)]
            vectors = torch.cat(parts)
            scores = retrieval_scores(vectors, images, examples.owner)
            found.append({
                "language": tag, "target": target, "scores": {name: scores[name] for name in SCORES},
                "largest_difference": float((normalize(vectors) - normalize(exact)).abs().max()),
                "lowest_cosine": float(torch.cosine_similarity(vectors.double(), exact.double()).min()),
                "mb": size / 1e6, "seconds": seconds,
            })  # fmt: skip
    return found


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    results = bench(options.packs, options.data)
    console = Console()
    names = list(dict.fromkeys(each["target"] for each in results))
    for name in names:
        mine = [one for one in results if one["target"] == name]
        mean = {key: sum(one["scores"][key] for one in mine) / len(mine) for key in SCORES}
        summary: dict[str, object] = {"target": name, "languages": len(mine), "mean_scores": mean}
        if name != "babelclip":
            summary |= {
                "largest_difference": max(one["largest_difference"] for one in mine),
                "lowest_cosine": min(one["lowest_cosine"] for one in mine),
                "mb": max(one["mb"] for one in mine), "seconds": max(one["seconds"] for one in mine),
            }  # fmt: skip
        console.print_json(json.dumps(summary))
    if options.out is not None:
        versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
        write_whole(options.out, json.dumps({**versions, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
