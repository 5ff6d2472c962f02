"""Which rows cost an earlier language its score: after a second language, move single rows back and measure again.

    python bench/rows.py configs/table-methods-flickr8k.toml --data-root DATA --base MODEL \
        --image-vectors flickr8k-multi=MODEL/image_embeds.npy --methods cll,cll+teir,counts   # 3.5 minutes on 2 cores
    python bench/rows.py configs/table-methods.toml --folder folder=report/data

The first two languages of a plan. Rows stand in the order of how often the first language's test texts use them times
how far they moved.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.plan import read_plan
from babelclip.benchmarks.prepare import Prepared, Where, prepare
from babelclip.config import TaskSettings
from babelclip.continual import Student
from babelclip.data import Examples
from babelclip.methods import compose
from babelclip.training.allocator import keep_freed_memory

METRIC = "img_r10"
TOGETHER = 25


def measure(prepared: Prepared, settings: TaskSettings, method: str, count: int) -> None:
    """Learn two languages, print which rows moved and what that costs the first."""
    first, second = (prepared.stages[tag] for tag in prepared.languages)
    student = Student(prepared.student.encoder, prepared.student.learnt, prepared.student.teacher)
    stack, test = compose(method), first.galleries[0].examples
    student.learn(first.language, first.train, method=stack, settings=settings)
    before, own = student.lexicon.table, student.evaluate(test)[METRIC]
    student.learn(second.language, second.train, method=stack, settings=settings)
    moved = (student.lexicon.table[: len(before)] - before).norm(dim=1)
    uses, *taught = (_uses(student, texts) for texts in (test.texts, first.train.texts, second.train.texts))
    order = (uses[: len(before)] * moved).argsort(descending=True)
    scores = [_with_rows(student, before, rows, test) for rows in (order[:0], order, order[:TOGETHER])]
    print(
        f"{method}: {METRIC} of {first.language} {own:.1f}, {scores[0]:.1f} after {second.language}; "
        f"{scores[1]:.1f} with all rows moved back, {scores[2]:.1f} with {TOGETHER} of them"
    )
    tokenizer = student.lexicon.tokenizer()
    for row in order[:count]:
        alone = _with_rows(student, before, row[None], test)
        print(
            f"  {tokenizer.id_to_token(int(row))!r} alone moved back: {alone:.1f}; "
            f"used {int(taught[0][row]):,} times in training texts of {first.language}, {int(taught[1][row]):,} "
            f"times in those of {second.language}; moved {float(moved[row]):.2f}, "
            f"was {float(before[row].norm()):.2f} long"
        )


def _uses(student: Student, texts: list[str]) -> Tensor:
    """(V,) how often texts use each row."""
    ids = [i for text in student.lexicon.encode(texts) for i in text]
    return torch.tensor(ids).bincount(minlength=len(student.lexicon.table))


def _with_rows(student: Student, before: Tensor, rows: Tensor, test: Examples) -> float:
    """Score a test with some rows as they were."""
    table = student.lexicon.table.clone()
    table[rows] = before[rows]
    learnt = replace(student.learnt, lexicon=replace(student.lexicon, table=table))
    return student.evaluate(test, learnt=learnt)[METRIC]


def main() -> None:
    """Read the arguments, prepare and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--base")
    parser.add_argument("--folder", default="", help="NAME=DIR")
    parser.add_argument("--image-vectors", default="", help="NAME=FILE")
    parser.add_argument("--methods", default="cll,cll+teir,counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=3)
    options = parser.parse_args()
    plan = read_plan(options.plan, {"base": options.base} if options.base else {})
    plan = plan.model_copy(update={"languages": plan.languages[:2]})
    folders, vectors = (
        {name: Path(place) for name, _, place in [given.partition("=")] if name}
        for given in (options.folder, options.image_vectors)
    )
    keep_freed_memory()
    prepared = prepare(plan, Where(options.data_root, folders=folders, image_vectors=vectors, device="cpu"), DATASETS)
    for method in options.methods.split(","):
        measure(prepared, replace(plan.task_settings(), seed=options.seed), method, options.rows)


if __name__ == "__main__":
    main()
