"""How much of the forgetting is tokenisation drift alone: final scores with today's tokenizer and with snapshots.

    python bench/drift.py configs/table-ablation.toml --folder folder=report/data     # after `make demo`

Streams of plain training (or of other methods that need no language) are run as in the plan. Afterwards the same
weights read each language's test texts twice: cut as the last language's tokenizer cuts them, which is what the plan
measures, and as they were cut when the language was learnt. What F loses by that is the share of drift; rows that were
overwritten stay overwritten.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from plans import open_plan, plan_parser

from babelclip.benchmarks.plan import Plan, order_languages
from babelclip.benchmarks.prepare import Prepared
from babelclip.continual import run_stream
from babelclip.evaluation import retrieval_scores
from babelclip.evaluation.transfer import first_forgetting, forgetting
from babelclip.training.allocator import keep_freed_memory

METRIC = "img_r10"


def measure(prepared: Prepared, plan: Plan, method: str, seed: int) -> dict[str, Any]:
    """Run a stream and score its languages with both tokenizers."""
    order = order_languages(plan.orders[0], prepared.languages)
    stages = [prepared.stages[tag] for tag in order]
    stream = run_stream(prepared.student, stages, method=method, settings=replace(plan.task_settings(), seed=seed))
    scores = stream.runs[0].scores[METRIC]
    languages = {}
    for stage, measured in zip(stages, scores[-1], strict=True):
        test = stage.galleries[0].examples
        newest, then = (stream.student.lexicon.encode(test.texts, tag) for tag in (None, stage.language))
        found = [
            retrieval_scores(
                stream.student.encode_texts(test.texts, language=stage.language, snapshot=snapshot),
                test.images[:], test.owner, folds=stage.galleries[0].folds,
            )[METRIC]
            for snapshot in (False, True)
        ]  # fmt: skip
        if abs(found[0] - measured) > 0.2:
            raise RuntimeError(f"{stage.language}: {found[0]} with the newest tokenizer, {measured} in the stream")
        cut_anew = 100 * sum(a != b for a, b in zip(newest, then, strict=True)) / len(newest)
        languages[stage.language] = {"newest": measured, "snapshot": found[1], "cut_anew": cut_anew}
    without = [*scores[:-1], [one["snapshot"] for one in languages.values()]]
    return {
        "method": stream.runs[0].method, "seed": seed, "metric": METRIC, "languages": languages,
        "F": forgetting(scores), "Fen": first_forgetting(scores),
        "F_without_drift": forgetting(without), "Fen_without_drift": first_forgetting(without),
    }  # fmt: skip


if __name__ == "__main__":
    parser = plan_parser(__doc__)
    parser.add_argument("--method", default="cll")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="a JSON file; figures of other plans in it stay")
    options = parser.parse_args()
    keep_freed_memory()
    plan, prepared = open_plan(options)
    found = []
    for seed in options.seeds:
        found.append(measure(prepared, plan, options.method, seed))
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
        options.out.write_text(json.dumps(known | {options.plan.stem: found}, indent=1) + "\n", encoding="utf-8")
