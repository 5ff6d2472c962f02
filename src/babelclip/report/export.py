"""Scores in the JSON that the field's benchmark tool for CLIP models writes, so that scripts for its tables work.

One object a language of each finished stream: ``dataset``, ``model``, ``pretrained``, ``task``, ``language`` and
``metrics`` with ``image_retrieval_recall@k`` (our img_r@k) and ``text_retrieval_recall@k`` (our txt_r@k), from 0 to 1.
Means over folds have no place there and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from babelclip.evaluation import CUTS, Results

TASK = "zeroshot_retrieval"


def clip_benchmark_rows(results: Results) -> list[dict[str, Any]]:
    """Return one object for each language of each run: the scores after the last task.

    ``pretrained`` tells runs apart: method, seed and number of languages; the order by number where there are several,
    and the settings where nothing else differs.
    """
    orders = [list(one) for one in dict.fromkeys(tuple(run.order) for run in results.runs)]
    alike: dict[tuple[str, str], list[str]] = {}
    rows = []
    for run in results.runs:
        if is_folded(run.gallery):
            continue
        name = f"babelclip-{run.method}-seed{run.seed}-{len(run.order)}languages"
        name += f"-order{orders.index(run.order) + 1}" * (len(orders) > 1)
        others = alike.setdefault((name, run.gallery), [])
        others.append(name)
        name += f"-settings{len(others)}" * (len(others) > 1)
        for j, language in enumerate(run.order):
            scores = {metric: matrix[-1][j] for metric, matrix in run.scores.items()}
            rows.append(row_of(scores, run.gallery, results.base.name, name, language))
    return rows


def row_of(scores: Mapping[str, float], dataset: str, model: str, pretrained: str, language: str) -> dict[str, Any]:
    """Return one object; ``scores``: in percent, ``img_r*`` and ``txt_r*`` among them."""
    metrics = {}
    for k in CUTS:
        metrics[f"image_retrieval_recall@{k}"] = scores[f"img_r{k}"] / 100
        metrics[f"text_retrieval_recall@{k}"] = scores[f"txt_r{k}"] / 100
    return {
        "dataset": dataset, "model": model, "pretrained": pretrained, "task": TASK, "metrics": metrics,
        "language": language,
    }  # fmt: skip


def is_folded(gallery: str) -> bool:
    """Whether a gallery's scores are means over folds, as its name says."""
    return bool(re.search(r" \d+ folds\b", gallery))


def clip_benchmark_json(results: Results) -> str:
    """Return the rows as JSON lines: one object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in clip_benchmark_rows(results))
