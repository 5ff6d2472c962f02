"""``babelclip pack ...``: what its verbs take. The work is in ``cli/pack.py``, which is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

pack_app = typer.Typer(
    help="Language packs: one file a language, installed beside a base model in any order.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip

PackFile = Annotated[Path, typer.Argument(metavar="PACK", help="A .babelpack file, or a pack's folder.")]
Packs = Annotated[list[Path], typer.Argument(metavar="PACK", help="Packs, or folders of packs.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of packs.")]
Base = Annotated[str | None, typer.Option(help="Where the base model lies, if it has moved or is a folder.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")]


@pack_app.command("build")
def pack_build(
    model: Annotated[Path, typer.Option(help="Folder of a shared lexicon, written by learn --shared.")],
    language: Annotated[str, typer.Option(help="Which of its languages.")],
    out: Annotated[Path, typer.Option(help="New .babelpack file or folder.")],
    data: Annotated[
        Path | None, typer.Option(help="Its training captions, so that its language can be recognised.")
    ] = None,
    rows: Annotated[str, typer.Option(help="How rows are stored: float32, float16 or int8.")] = "float16",
    licence: Annotated[str, typer.Option(help="What the pack says of its licence.")] = "",
    base: Base = None,
    device: Device = None,
) -> None:
    """Take one language out of a shared lexicon and write it as a pack."""
    from babelclip.cli.pack import run_build

    run_build(model, language, out, data=data, rows=rows, licence=licence, base=base, device=device)


@pack_app.command("install", short_help="Check packs and install them.")
def pack_install(
    packs: Packs,
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of packs; made where there is none.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an installed pack of the same language.")
    ] = False,
    base: Base = None,
    device: Device = None,
) -> None:
    """Check packs and install them; nothing that is installed changes, and neither does English."""
    from babelclip.cli.pack import run_install

    run_install(packs, into, replace=replace, base=base, device=device)


@pack_app.command("list")
def pack_list(folder: Folder) -> None:
    """List the languages that are installed in a folder."""
    from babelclip.cli.pack import run_list

    run_list(folder)


@pack_app.command("merge", short_help="Put packs together into a new folder.")
def pack_merge(
    packs: Packs,
    out: Annotated[Path, typer.Option(help="New folder of packs.")],
    base: Base = None,
    device: Device = None,
) -> None:
    """Put the languages of several folders and packs together into a new folder."""
    from babelclip.cli.pack import run_install

    run_install(packs, out, new=True, base=base, device=device)


@pack_app.command("remove", short_help="Take a language out of a folder.")
def pack_remove(folder: Folder, language: Annotated[str, typer.Argument(help="Tag of the language.")]) -> None:
    """Take a language out of a folder; nothing of it stays, and nothing else changes."""
    from babelclip.cli.pack import run_remove

    run_remove(folder, language)


@pack_app.command("show", short_help="Tell what a pack says of itself.")
def pack_show(pack: PackFile, json: Annotated[bool, typer.Option("--json", help="Print pack.json.")] = False) -> None:
    """Tell what a pack says of itself: language, base model, data, scores, licence, size."""
    from babelclip.cli.pack import run_show

    run_show(pack, as_json=json)


@pack_app.command("verify", short_help="Check everything, bit for bit.")
def pack_verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A pack, or a folder of packs.")],
    base: Base = None,
    device: Device = None,
) -> None:
    """Check everything: hashes, base model, contents, and that no vector of another language changes by a bit."""
    from babelclip.cli.pack import run_verify

    run_verify(path, base=base, device=device)
