"""``babelclip evaluate``: retrieval scores of one language."""

from __future__ import annotations

import json
from pathlib import Path

from babelclip.cli.console import console, note, progress_bars, quieten, tell_incomplete
from babelclip.cli.learn import Columns, Runtime, print_scores
from babelclip.continual import load
from babelclip.data import Corpus, Examples, Teacher
from babelclip.errors import SettingError
from babelclip.evaluation import chance_scores
from babelclip.languages import NATIVE
from babelclip.packs import is_polyglot, load_polyglot
from babelclip.packs.container import is_pack


def run_evaluate(
    language: str, data: Path, *, model: str, base: str | None, plug: bool, columns: Columns, as_json: bool,
    runtime: Runtime,
) -> None:  # fmt: skip
    """Read, encode, count ranks, print.

    Args:
        language: tag of the language.
        data: captions whose pictures are the gallery.
        model: folder of packs, pack, base model, or folder of a shared lexicon.
        base: where the base model lies now.
        plug: let ``base`` be another one of the same shape.
        columns: where things stand in the file.
        as_json: print one JSON object instead of a table.
        runtime: where to run and what to keep.
    """
    quieten()
    corpus = columns.read(data, language)
    if is_polyglot(Path(model)) or is_pack(Path(model)):
        if plug:
            raise SettingError("--plug-in is for shared lexicons", fix="Give the base model of the packs as --base.")
        polyglot = load_polyglot(model, base=base, device=runtime.device, frames=runtime.frames)
        examples = _prepare(Teacher(polyglot.encoder, runtime.cache), corpus)
        known, tag = polyglot.languages, examples.language
        found = {"score": polyglot.evaluate(examples, language=tag if tag in known else NATIVE)}
        if polyglot.routable:
            found["routed"] = polyglot.evaluate(examples)
    else:
        student = load(model, base=base, plug=plug, device=runtime.device, cache=runtime.cache, frames=runtime.frames)
        examples = _prepare(student.teacher, corpus)
        known, found = [NATIVE, *student.languages], {"score": student.evaluate(examples)}
    learnt = examples.language in known
    if not learnt:
        note(f"{model} has not learnt {examples.language!r}; it knows {', '.join(known)}")
    if as_json:
        chance = chance_scores(examples.owner, len(examples.files))
        print_json = {
            "model": model, "language": examples.language, "data": data.name, "scores": found["score"],
            "chance": chance, "learnt": learnt,
        }  # fmt: skip
        if "routed" in found:
            print_json["routed"] = found["routed"]
        console.print_json(json.dumps(print_json))
        return
    print_scores(examples, found)


def _prepare(teacher: Teacher, corpus: Corpus) -> Examples:
    """Encode what is new."""
    with progress_bars() as bars:
        examples = teacher.prepare(corpus, bars.bar("looking at pictures"))
    tell_incomplete(teacher.encoder.incomplete)
    return examples
