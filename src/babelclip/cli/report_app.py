"""``babelclip report ...``: what its verbs take. The work is in ``cli/report.py``, which is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

report_app = typer.Typer(
    help="Pages for people: how well a language pack knows a language.", no_args_is_help=True, rich_markup_mode=None
)


@report_app.command("language", short_help="Write one page for people who speak a language.")
def report_language(
    language: Annotated[str, typer.Argument(help="BCP-47 tag of an installed language, such as sw or pt-BR.")],
    model: Annotated[str, typer.Option(help="Folder of packs, or one pack.")],
    data: Annotated[
        Path, typer.Option(help="Held-out captions: .tsv, .csv or .jsonl (or .gz); columns image, en, LANGUAGE.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write, .html; one that stands there is replaced.")],
    base: Annotated[str | None, typer.Option(help="Where the base model of the packs lies now.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that picture paths start at; else that of the captions.")
    ] = None,
    image_vectors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Vectors of the pictures instead; the page then shows their ids."),
    ] = None,
    image_column: Annotated[str, typer.Option(help="Column with the picture's path.")] = "image",
    english_column: Annotated[str, typer.Option(help="Column with the English text.")] = "en",
    text_column: Annotated[
        str | None, typer.Option(help="Column with the text in LANGUAGE; else named as the tag.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default a GPU where there is one.")] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Keeps vectors between runs; else $BABELCLIP_CACHE; 'off' for none."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames that stand for a video.")] = 12,
) -> None:
    """Write one HTML page for people who speak a language: how well searches go, where they fail, how to help."""
    from babelclip.cli.learn import Columns, Runtime
    from babelclip.cli.report import run_language
    from babelclip.data import user_cache

    run_language(
        language, data, out, model=model, base=base,
        columns=Columns(image_column, english_column, text_column, images, image_vectors),
        runtime=Runtime(device, user_cache(cache), frames=frames),
    )  # fmt: skip
