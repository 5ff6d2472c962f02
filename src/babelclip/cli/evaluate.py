"""``babelclip evaluate``: retrieval scores of one language."""

from __future__ import annotations

import json
from pathlib import Path

from babelclip.cli.console import console, progress_bars, quieten, tell_incomplete
from babelclip.cli.learn import Columns, Runtime, print_scores
from babelclip.continual import load
from babelclip.evaluation import chance_scores


def run_evaluate(
    language: str, data: Path, *, model: str, base: str | None, plug: bool, columns: Columns, as_json: bool,
    runtime: Runtime,
) -> None:  # fmt: skip
    """Read, encode, count ranks, print.

    Args:
        language: tag of the language.
        data: captions whose pictures are the gallery.
        model: base model or learnt folder.
        base: where the base model lies now.
        plug: let ``base`` be another one of the same shape.
        columns: where things stand in the file.
        as_json: print one JSON object instead of a table.
        runtime: where to run and what to keep.
    """
    quieten()
    corpus = columns.read(data, language)
    student = load(model, base=base, plug=plug, device=runtime.device, cache=runtime.cache, frames=runtime.frames)
    with progress_bars() as bars:
        examples = student.teacher.prepare(corpus, bars.bar("looking at pictures"))
    tell_incomplete(student.encoder.incomplete)
    scores = student.evaluate(examples)
    if as_json:
        chance = chance_scores(examples.owner, len(examples.files))
        print_json = {"model": model, "language": examples.language, "scores": scores, "chance": chance}
        console.print_json(json.dumps(print_json))
        return
    if examples.language not in (*student.languages, "en"):
        console.print(f"note: {model} has not learnt {examples.language!r}; it knows {', '.join(student.languages)}")
    print_scores(examples, {"score": scores})
