"""``babelclip index``, ``search`` and ``serve``: what they take. The work is in ``cli/search.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE", help="The index: a folder, or postgresql://...; else $BABELCLIP_INDEX, else one for this user."
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")]
Folders = Annotated[
    list[Path] | None, typer.Option("--in", metavar="FOLDER", help="Only files in this folder; repeatable.")
]
Since = Annotated[str | None, typer.Option(metavar="DATE", help="Taken on that day or later, such as 2024-05-01.")]
Before = Annotated[str | None, typer.Option(metavar="DATE", help="Taken before that day.")]
Kind = Annotated[str | None, typer.Option(help="picture or video.")]


def index(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders of pictures and videos.")],
    store: Store = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Packs (a folder), pictoclip, a model's folder, or a hub id.  [default: that of the index, else "
            "pictoclip]"
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Vectors of the pictures: .npy, ids in FILE.ids.txt or image_ids.txt."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Moments of a video, at most.  [default: 16]")] = None,
    most_pixels: Annotated[int | None, typer.Option(min=1, help="Of a picture.  [default: 250 million]")] = None,
    most_mb: Annotated[int | None, typer.Option(min=1, help="Of a picture's file.  [default: 256]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that open files.  [default: one a core]")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and follow what changes in the folders.")] = False,
    list_skipped: Annotated[
        bool, typer.Option("--list-skipped", help="List every skipped file, not a summary.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    device: Device = None,
) -> None:
    """Look at pictures and videos once; run again, follow what is new, changed, moved or deleted."""
    from babelclip.cli.index import run_index
    from babelclip.cli.place import Place

    bytes_ = most_mb * 2**20 if most_mb else None
    run_index(
        folders, Place(store, model, device), vectors=vectors, workers=workers, watch=watch,
        limits={"frames": frames, "picture_pixels": most_pixels, "picture_bytes": bytes_}, list_skipped=list_skipped,
        as_json=json,
    )  # fmt: skip


def search(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="What to look for, in any installed language.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Tag of its language; by default it is found out.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Look for pictures like this one; repeatable.")
    ] = None,
    minus: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What should not be on them; repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of results.")] = 10,
    folders: Folders = None,
    since: Since = None,
    before: Before = None,
    kind: Kind = None,
    store: Store = None,
    model: Annotated[
        str | None, typer.Option(help="Packs (a folder) or the base model.  [default: that of the index]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    thumbnails: Annotated[
        bool | None, typer.Option(help="Draw thumbnails.  [default: where the terminal can]", show_default=False)
    ] = None,
    device: Device = None,
) -> None:
    """Find indexed pictures and moments of videos by text, by picture, or by both."""
    from babelclip.cli.place import Place
    from babelclip.cli.search import run_search
    from babelclip.search.filters import make_filter
    from babelclip.search.query import Query

    where = make_filter([str(folder) for folder in folders or []], since, before, kind)
    query = Query(" ".join(words or []), language, tuple(minus or []), tuple(image or []), k=k, where=where)
    run_search(query, Place(store, model, device), as_json=json, thumbnails=thumbnails)


def serve(
    store: Store = None,
    model: Annotated[
        str | None, typer.Option(help="Packs (a folder) or the base model.  [default: that of the index]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback a token is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 8470,
    token: Annotated[
        str | None,
        typer.Option(envvar="BABELCLIP_TOKEN", help="Wanted of every request; beyond loopback one is made if none is."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the text tower.  [default: one a core]")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Of the text tower: float32 or int8 in ONNX, or torch.  [default: float32, on a CPU]"),
    ] = None,
    device: Device = None,
) -> None:
    """Answer searches over HTTP, with a page for the browser; packs can be installed while it runs."""
    from babelclip.cli.place import Place
    from babelclip.cli.serve import run_serve

    place = Place(store, model, device)
    run_serve(place, host=host, port=port, token=token, threads=threads, precision=precision)
