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


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An exported folder, a folder of packs, or a pack.")],
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Where it shall go.")],
    revision: Annotated[str | None, typer.Option(help="Branch; made where there is none.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Upload. Without it nothing leaves this machine.")] = False,
    public: Annotated[bool, typer.Option("--public", help="For all to see.  [default: private]")] = False,
    to_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the same to a new folder instead.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of all of it, such as cc0-1.0.  [default: as packs say]")] = "",
    results: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scores for the card.  [default: results.json in FOLDER]")
    ] = None,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "",
) -> None:
    """Show what would go to a hub, with its card and what that lacks; upload it with --yes."""
    from babelclip.cli.hub import run_push

    run_push(
        folder, repo, revision=revision, yes=yes, public=public, to_folder=to_folder, licence=licence,
        results=results, message=message,
    )  # fmt: skip
