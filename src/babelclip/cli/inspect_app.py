"""``babelclip inspect``: what it takes. The work is in ``cli/inspect.py``, which is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="pictoclip, a model's folder, a hub id, a pack, or a folder of packs."),
    ],
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts to cut: one a line, or captions (.tsv, .csv, .jsonl, or .gz)."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="Their language, or the column of captions.  [default: all columns]"),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model of packs lies, if it has moved.")] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure how fast texts are learnt.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None,
) -> None:
    """Tell what a model is, which methods can teach it and why not, what that costs, how it cuts texts."""
    from babelclip.cli.inspect import run_inspect

    run_inspect(
        model, base=base, texts=texts, language=language, measure=measure, device=device, as_json=json
    )  # fmt: skip
