"""Scores in the JSON that the field's benchmark tool for CLIP models writes, so that scripts for its tables work.

One object a language of each finished stream: ``dataset``, ``model``, ``pretrained``, ``task``, ``language`` and
``metrics`` with ``image_retrieval_recall@k`` (our img_r@k) and ``text_retrieval_recall@k`` (our txt_r@k), from 0 to 1.
"""

from __future__ import annotations

import json
from typing import Any

from babelclip.evaluation import CUTS, Results


def clip_benchmark_rows(results: Results) -> list[dict[str, Any]]:
    """Return one object for each language of each run: the scores after the last task."""
    rows = []
    for run in results.runs:
        for j, language in enumerate(run.order):
            metrics = {}
            for k in CUTS:
                metrics[f"image_retrieval_recall@{k}"] = run.scores[f"img_r{k}"][-1][j] / 100
                metrics[f"text_retrieval_recall@{k}"] = run.scores[f"txt_r{k}"][-1][j] / 100
            rows.append(
                {
                    "dataset": run.gallery, "model": results.base.name,
                    "pretrained": f"babelclip-{run.method}-seed{run.seed}-{len(run.order)}languages",
                    "task": "zeroshot_retrieval", "metrics": metrics, "language": language,
                }
            )  # fmt: skip
    return rows


def clip_benchmark_json(results: Results) -> str:
    """Return the rows as JSON lines: one object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in clip_benchmark_rows(results))
