"""``babelclip pull`` and ``push``: what they take. The work is in ``cli/hub.py``, which is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pull(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A hub id, owner/name or owner/name@revision; or a folder to check."),
    ],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.  [default: the hub's branch]")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New folder for a copy; packs need one.  [default: the cache]")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use what is cached, and say what is missing.")] = False,
    base: Annotated[str | None, typer.Option(help="Base model to compare packs with.")] = None,
) -> None:
    """Fetch a base model or packs from a hub: safetensors and small files only, never pickles, never code."""
    from babelclip.cli.hub import run_pull

    run_pull(model, revision=revision, out=out, offline=offline, base=base)
