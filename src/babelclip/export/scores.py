"""What was measured, as the result files of CLIP_benchmark: one JSON file a language, data set and model.

Its ``image_retrieval_recall@k`` is the share of texts whose picture is among the first k: ``img_r@k``. Its
``text_retrieval_recall@k`` is the share of pictures with one of their texts among the first k: ``txt_r@k`` of the
protocol ``caption``. Both are shares from 0 to 1, over one whole gallery. Nothing else that is measured here has a name
there: ``txt_group_r@k``, ``r_mean``, ``ar``, median ranks, means over folds, and all figures of transfer stay out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelclip.errors import FormatError, SettingError
from babelclip.evaluation import CUTS, read_results
from babelclip.export.leaving import pick_tags
from babelclip.files import new_folder
from babelclip.report.export import TASK, clip_benchmark_rows, is_folded, row_of

SCORES = "clip-benchmark"
README = """# Scores in the format of CLIP_benchmark

Written by babelclip from {source}; `clip_benchmark build *.json` makes one table of these files.

| here | in babelclip | what it is |
|---|---|---|
| `image_retrieval_recall@k` | `img_r@k` / 100 | share of texts whose picture is among the first k of the gallery |
| `text_retrieval_recall@k` | `txt_r@k` / 100 | share of pictures with an own text among the first k of all |

k is 1, 5 and 10 (CLIP_benchmark's own default is 5 alone: `--recall_k 1 5 10`). Of a stream of languages these are the
scores after the last task. Equal similarities stand in random order here, and the expectation is given; CLIP_benchmark
takes them as they come. Data sets have babelclip's names: compare only where captions and pictures are the same.
`-unlearnt` in a name: the model had not learnt that language.

Left out, because CLIP_benchmark has no such number: `txt_group_r@k` (protocol `group`), `r_mean`, `ar`, median ranks,
AA, F, Fen, BWT, FWT, intervals{folds}.
"""


def export_scores(source: Path | str, out: Path | str, *, languages: Sequence[str] | None = None) -> list[Path]:
    """Write one file a language, data set and model, with a README.md that says which numbers they are.

    Args:
        source: ``results.json`` of ``babelclip bench run`` or ``demo``, its folder, or what ``babelclip evaluate
            --json`` printed, as a file.
        out: a new folder, or an empty one; it is written whole or not at all.
        languages: tags; by default all.

    Raises:
        FormatError: it is none of these, or damaged.
        UnknownNameError: a language has no scores there.
        SettingError: the folder holds something, or nothing corresponds.
        BabelclipError: the disk is full or the place cannot be written to.
    """
    source, out = Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")
    rows, folded = _rows(source / "results.json" if source.is_dir() else source)
    if not rows:
        why = f": means over folds ({', '.join(folded)}) are no numbers of CLIP_benchmark" if folded else ""
        raise SettingError(f"there is no score to write{why}", fix="Give scores over one whole gallery.")
    tags = pick_tags(languages, sorted({row["language"] for row in rows}), "measured language")
    files = {_name(row): json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row["language"] in tags}
    with new_folder(out) as place:
        for name, content in files.items():
            (place / name).write_text(content, encoding="utf-8")
        folds = f", and the data sets that were measured in folds: {', '.join(folded)}" if folded else ""
        (place / "README.md").write_text(README.format(source=source.name, folds=folds), encoding="utf-8")
    return [out / name for name in files]


def _rows(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All objects of a file, and the galleries that have none."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise FormatError(f"the scores cannot be read ({reason})", file=file, fix="Correct the path.") from error
    except ValueError as error:
        raise FormatError(f"not JSON: {error}", file=file, fix="Run again what wrote it.") from error
    if isinstance(content, dict) and "runs" in content:
        results = read_results(file)
        galleries = sorted({run.gallery for run in results.runs if is_folded(run.gallery)})
        return clip_benchmark_rows(results), galleries
    try:
        return _evaluated(content), []
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"neither a results file nor what `babelclip evaluate --json` prints (no {error})", file=file,
            fix="Give results.json of bench run, or the output of evaluate --json as a file.",
        ) from error  # fmt: skip


def _evaluated(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Of one model on one file of captions: told its language, and, where it can, finding it out."""
    made, unlearnt = [], "" if content.get("learnt", True) else "-unlearnt"
    for key, pretrained in (("scores", "babelclip"), ("routed", "babelclip-routed")):
        if key in content or key == "scores":
            scores = {f"{name}_r{k}": float(content[key][f"{name}_r{k}"]) for name in ("img", "txt") for k in CUTS}
            model = re.split(r"[/\\]", str(content["model"]).rstrip("/\\"))[-1]
            made.append(row_of(scores, str(content["data"]), model, pretrained + unlearnt, str(content["language"])))
    return made


def _name(row: dict[str, Any]) -> str:
    """As CLIP_benchmark's manual names such files."""
    parts = [row["dataset"], row["pretrained"], row["model"], row["language"], TASK]
    return "_".join(re.sub(r"[^\w.+=-]+", "-", str(part)).strip("-") for part in parts) + ".json"
