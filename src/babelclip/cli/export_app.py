"""``babelclip export``: what it takes. The work is in ``cli/export.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    to: Annotated[str, typer.Option(help="transformers, sentence-transformers, open_clip or onnx.")],
    out: Annotated[Path, typer.Option(help="New folder; of packs, each language is a folder in it.")],
    model: Annotated[
        str,
        typer.Option(help="Packs (a folder or one), pictoclip, a CLIPModel folder, a hub id, or a shared lexicon."),
    ] = "pictoclip",
    languages: Annotated[str | None, typer.Option(help="Tags, separated by commas.  [default: all, en too]")] = None,
    precision: Annotated[str, typer.Option(help="Of texts, with --to onnx: float32 or int8.")] = "float32",
    base: Annotated[str | None, typer.Option(help="Where the base model lies, if it has moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None,
) -> None:
    """Write learnt languages as a folder that another tool loads without babelclip."""
    from babelclip.cli.export import run_export

    run_export(model, out, to=to, languages=languages, precision=precision, base=base, device=device)
