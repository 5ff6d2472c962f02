"""Watch retrieval in several languages while sentence-transformers trains an exported model.

python examples/sentence_transformers_evaluator.py FOLDER DATA LANGUAGE ...

FOLDER is what `babelclip export --to sentence-transformers` wrote (of packs: one of its folders); DATA has
LANGUAGE.test.tsv and pictures. The names of scores: docs/benchmark.md.
In training: SentenceTransformerTrainer(..., evaluator=CaptionEvaluator(captions)), with eval_strategy="steps".
"""

# %% Imports
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.evaluation import SentenceEvaluator

from babelclip import read_captions
from babelclip.data import Corpus
from babelclip.evaluation import retrieval_scores


# %% The evaluator. sentence-transformers calls it with the model at every evaluation, and keeps what it returns.
class CaptionEvaluator(SentenceEvaluator):
    """Babelclip's scores of each language, and their mean; what is reported is ``mean_r_mean``, in percent."""

    def __init__(self, captions: Mapping[str, Corpus]) -> None:
        """Take the held-out captions of each language."""
        super().__init__()
        self.captions, self.primary_metric = dict(captions), "mean_r_mean"

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return all scores as LANGUAGE_METRIC, and append them to captions.jsonl in ``output_path``."""
        found: dict[str, float] = {}
        for language, corpus in self.captions.items():
            files = list(dict.fromkeys(one.image for one in corpus.captions))
            owner = torch.tensor([files.index(one.image) for one in corpus.captions])
            texts = self.encode(model, [one.text for one in corpus.captions])
            pictures = self.encode(model, [Image.open(file).convert("RGB") for file in files])
            scores = retrieval_scores(texts, pictures, owner)
            found |= {f"{language}_{metric}": score for metric, score in scores.items()}
        found["mean_r_mean"] = fmean(found[f"{language}_r_mean"] for language in self.captions)
        if output_path is not None:
            Path(output_path).mkdir(parents=True, exist_ok=True)
            with (Path(output_path) / "captions.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"epoch": epoch, "steps": steps, **found}) + "\n")
        return found

    def encode(self, model: SentenceTransformer, inputs: list[Any]) -> torch.Tensor:
        """Return (N, dim) vectors on the CPU."""
        vectors: torch.Tensor = model.encode(inputs, convert_to_tensor=True, show_progress_bar=False)
        return vectors.cpu().float()


# %% Once, without training.
if __name__ == "__main__":
    folder, data, *tags = sys.argv[1:]
    evaluator = CaptionEvaluator({tag: read_captions(Path(data) / f"{tag}.test.tsv", tag) for tag in tags})
    every = evaluator(SentenceTransformer(folder, device="cpu"))
    for tag in tags:
        shown = (f"{metric} {every[f'{tag}_{metric}']:.2f}" for metric in ("img_r1", "img_r10", "r_mean"))
        print(f"{tag}: {', '.join(shown)}")
    print(f"mean: {every['mean_r_mean']:.2f}")
