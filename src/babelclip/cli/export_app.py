"""``babelclip export``: what it takes. The work is in ``cli/export.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    to: Annotated[
        str, typer.Option(help="transformers, sentence-transformers, open_clip, onnx, pack or clip-benchmark.")
    ],
    out: Annotated[Path, typer.Option(help="New folder; of packs, each language is a folder in it.")],
    model: Annotated[
        str,
        typer.Option(
            help="Packs (a folder or one), pictoclip, a model's folder, a hub id, or a shared lexicon; with --to "
            "clip-benchmark: results.json or its folder, or what evaluate --json printed."
        ),
    ] = "pictoclip",
    languages: Annotated[
        str | None,
        typer.Option(help="Tags, separated by commas.  [default: all; of packs en too, except --to pack]"),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of texts, with --to onnx: float32 or int8.  [default: float32]")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Of packs, with --to pack: float32, float16 or int8.  [default: as they are]")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model lies, if it has moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None,
) -> None:
    """Write learnt languages for other tools, as folders that they load without babelclip; as packs; or scores."""
    from babelclip.cli.export import run_export

    run_export(model, out, to=to, languages=languages, precision=precision, rows=rows, base=base, device=device)
