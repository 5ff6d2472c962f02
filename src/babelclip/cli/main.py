"""The command ``babelclip``. Nothing heavy is imported before a verb runs, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from babelclip import __version__
from babelclip.errors import BabelclipError

app = typer.Typer(
    help="Teach a CLIP new languages, one after another, without forgetting the ones it knows.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting (docs/methods.md); repeatable."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default a GPU where there is one.")]
Language = Annotated[str, typer.Option(help="BCP-47 tag of the language, such as sw or pt-BR.")]
Captions = Annotated[Path, typer.Option(help="Captions: .tsv, .csv or .jsonl (or .gz); columns image, en, LANGUAGE.")]
Model = Annotated[str, typer.Option(help="pictoclip, a CLIPModel folder, a hub id, or a folder written by learn.")]
Images = Annotated[Path | None, typer.Option(help="Folder that picture paths start at; else that of the captions.")]
ImageColumn = Annotated[str, typer.Option(help="Column with the picture's path.")]
EnglishColumn = Annotated[str, typer.Option(help="Column with the English text.")]
CacheFolder = Annotated[
    str | None,
    typer.Option("--cache", metavar="FOLDER", help="Keeps vectors and tokens between runs; else $BABELCLIP_CACHE, else "
                 "~/.cache/babelclip; 'off' for none."),
]  # fmt: skip
CacheDtype = Annotated[str, typer.Option(help="Of vectors in the cache: float32, or float16 for half the space.")]
TextColumn = Annotated[str | None, typer.Option(help="Column with the text in LANGUAGE; else named as the tag.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"babelclip {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Teach a CLIP new languages, one after another, without forgetting the ones it knows."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the data and the model.")] = Path("report"),
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with this many seeds: 0, 1, 2, ...")] = 1,
    languages: Annotated[
        str | None, typer.Option(help="Order of the languages, such as en,it,ko; by default eight of four scripts.")
    ] = None,
    methods: Annotated[str, typer.Option(help="Methods to compare, separated by commas.")] = "cll,cll+teir",
    changes: Changes = None,
    device: Device = None,
) -> None:
    """Teach the built-in English model languages of four scripts, and show what it kept and what it forgot."""
    from babelclip.cli.demo import run_demo

    run_demo(
        out, seeds=range(seeds), languages=languages.split(",") if languages else None,
        methods=methods.split(","), changes=changes or [], device=device,
    )  # fmt: skip


@app.command()
def learn(
    language: Language,
    data: Captions,
    out: Annotated[Path, typer.Option(help="New folder to write what was learnt to.")],
    base: Model = "pictoclip",
    method: Annotated[str, typer.Option(help="Methods joined by '+': cll, teir.")] = "cll+teir",
    test: Annotated[Path | None, typer.Option(help="Held-out captions to measure before and after.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Captions to choose the best epoch with.")] = None,
    images: Images = None,
    image_column: ImageColumn = "image",
    english_column: EnglishColumn = "en",
    text_column: TextColumn = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.  [default: 3]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts in a step.  [default: 128; pictoclip: 32]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.  [default: 5e-5; pictoclip: 3e-3]")] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Tokens to ask for.  [default: 10000; pictoclip: 2000]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes new rows and the order of the texts.")] = 0,
    changes: Changes = None,
    device: Device = None,
    cache: CacheFolder = None,
    cache_dtype: CacheDtype = "float32",
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard curves.")] = None,
) -> None:
    """Teach a model one language from your own captions; interrupted, the same command goes on where it was."""
    from babelclip.cli.learn import Columns, Runtime, run_learn
    from babelclip.data import user_cache

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "vocab_size": vocab_size,
             "seed": seed}  # fmt: skip
    run_learn(
        language, data, out, base=base, method=method, test=test, validation=validation,
        columns=Columns(image_column, english_column, text_column, images),
        runtime=Runtime(device, user_cache(cache, dtype=cache_dtype), tensorboard),
        changes=[*(f"{name}={value}" for name, value in given.items() if value is not None), *(changes or [])],
    )  # fmt: skip


@app.command()
def evaluate(
    language: Language,
    data: Captions,
    model: Model = "pictoclip",
    base: Annotated[str | None, typer.Option(help="Where the base model of a learnt folder lies now.")] = None,
    images: Images = None,
    image_column: ImageColumn = "image",
    english_column: EnglishColumn = "en",
    text_column: TextColumn = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    device: Device = None,
    cache: CacheFolder = None,
    cache_dtype: CacheDtype = "float32",
) -> None:
    """Measure retrieval in one language, text to image and image to text, beside the chance level."""
    from babelclip.cli.evaluate import run_evaluate
    from babelclip.cli.learn import Columns, Runtime
    from babelclip.data import user_cache

    columns = Columns(image_column, english_column, text_column, images)
    runtime = Runtime(device, user_cache(cache, dtype=cache_dtype))
    run_evaluate(language, data, model=model, base=base, columns=columns, as_json=json, runtime=runtime)


def main() -> None:
    """Run the command line; a mistake that the user can mend ends with one clear message and exit code 1."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except BabelclipError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
