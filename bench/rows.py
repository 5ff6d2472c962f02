"""Which rows cost an earlier language its score: after a second language, move single rows back and measure again.

    python bench/rows.py configs/table-methods-flickr8k.toml --data-root DATA --base MODEL \
        --image-vectors flickr8k-multi=MODEL/image_embeds.npy --methods cll,cll+teir,counts   # 3.5 minutes on 2 cores
    python bench/rows.py configs/table-methods.toml --folder folder=report/data

The first two languages of a plan. Rows stand in the order of how often the first language's test texts use them times
how far they moved.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from plans import open_plan, plan_parser
from torch import Tensor

from babelclip.benchmarks.prepare import Prepared
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
    parser = plan_parser(__doc__)
    parser.add_argument("--methods", default="cll,cll+teir,counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    plan, prepared = open_plan(options, languages=2)
    for method in options.methods.split(","):
        measure(prepared, replace(plan.task_settings(), seed=options.seed), method, options.rows)


if __name__ == "__main__":
    main()
