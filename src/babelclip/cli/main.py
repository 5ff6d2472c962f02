"""The command ``babelclip``. Nothing heavy is imported before a verb runs, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from babelclip import __version__
from babelclip.cli.export_app import export
from babelclip.cli.hub_app import pull, push
from babelclip.cli.inspect_app import inspect
from babelclip.cli.pack_app import pack_app
from babelclip.cli.report_app import report_app
from babelclip.cli.search_app import index, search, serve
from babelclip.errors import BabelclipError, SettingError

app = typer.Typer(
    help="Teach a CLIP new languages, one after another, without forgetting the ones it knows.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip

data_app = typer.Typer(
    help="Named data sets: list, describe and check them.", no_args_is_help=True, rich_markup_mode=None
)
bench_app = typer.Typer(
    help="Benchmark runs: methods, orders and seeds over a stream of languages, and their reports.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench", short_help="Compare methods, orders and seeds; report what was found.")
app.add_typer(pack_app, name="pack", short_help="Language packs: install, list, show, remove, verify.")
app.add_typer(report_app, name="report", short_help="A page for people: how well a pack knows a language.")

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting (docs/methods.md); repeatable."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default a GPU where there is one.")]
Language = Annotated[str, typer.Option(help="BCP-47 tag of the language, such as sw or pt-BR.")]
Languages = Annotated[
    str, typer.Option("--language", help="BCP-47 tag of the language, such as sw or pt-BR; or several: de,fr,zh.")
]
Captions = Annotated[Path, typer.Option(help="Captions: .tsv, .csv or .jsonl (or .gz); columns image, en, LANGUAGE.")]
Model = Annotated[
    str,
    typer.Option(help="Packs (a folder or one), pictoclip, a model's folder, a hub id, or a shared lexicon."),
]
Images = Annotated[Path | None, typer.Option(help="Folder that picture paths start at; else that of the captions.")]
ImageColumn = Annotated[str, typer.Option(help="Column with the picture's path.")]
EnglishColumn = Annotated[str, typer.Option(help="Column with the English text.")]
ImageVectors = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Vectors of the pictures instead: .npy, ids in FILE.ids.txt or image_ids.txt."),
]
CacheFolder = Annotated[
    str | None,
    typer.Option("--cache", metavar="FOLDER", help="Keeps vectors and tokens between runs; else $BABELCLIP_CACHE, else "
                 "~/.cache/babelclip; 'off' for none."),
]  # fmt: skip
CacheDtype = Annotated[str, typer.Option(help="Of vectors in the cache: float32, or float16 for half the space.")]
WordsOf = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Words of a multilingual language model, folder or hub id (docs/mla.md)."),
]
WordsWidth = Annotated[int | None, typer.Option(min=1, help="Random rows of this width instead of its embeddings.")]
Frames = Annotated[int, typer.Option(min=1, help="Frames that stand for a video.")]
TextColumn = Annotated[str | None, typer.Option(help="Column with the text in LANGUAGE; else named as the tag.")]


INTERRUPTED = 130
"""Exit code after Ctrl-C."""
GO_ON = ("demo", "learn", "tune", "index", "bench run")
"""Commands that, given again, go on where they were interrupted."""


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


@app.command(short_help="Teach eight languages in minutes, and show what it kept.")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the data and the model.")] = Path("report"),
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with this many seeds: 0, 1, 2, ...")] = 1,
    languages: Annotated[
        str | None, typer.Option(help="Order of the languages, such as en,it,ko; by default eight of four scripts.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Methods to compare, separated by commas (docs/methods.md).")
    ] = "cll,cll+teir,packs-routed",
    changes: Changes = None,
    device: Device = None,
) -> None:
    """Teach the built-in English model languages of four scripts, and show what it kept and what it forgot."""
    from babelclip.cli.demo import run_demo
    from babelclip.methods import split_names

    run_demo(
        out, seeds=range(seeds), languages=languages.split(",") if languages else None,
        methods=split_names(methods, ","), changes=changes or [], device=device,
    )  # fmt: skip


@app.command(short_help="Teach a model a language from your own captions.")
def learn(
    language: Languages,
    data: Annotated[
        Path, typer.Option(help="Captions: .tsv, .csv or .jsonl (or .gz); columns image, en, LANGUAGE; {} for the tag.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of packs to install it in, or a new .babelpack file; --shared: a new folder."),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            help="pictoclip, a model's folder, a hub id, or a folder of a shared lexicon to go on with.  "
            "[default: that of --out, else pictoclip]"
        ),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Grow one lexicon for all languages (the papers' setting), not a pack.")
    ] = False,
    lexicon: WordsOf = None,
    lexicon_width: WordsWidth = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Methods joined by '+', such as mla+teir (docs/methods.md).  [default: cll; --shared: cll+counts]"
        ),
    ] = None,
    rows: Annotated[str, typer.Option(help="How a pack stores its rows: float32, float16 or int8.")] = "float16",
    start: Annotated[
        str | None,
        typer.Option(help="Where a pack's rows start: random, base, pairs or packs (docs/warm.md).  [default: random]"),
    ] = None,
    licence: Annotated[str, typer.Option(help="What a pack says of its licence.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the pack in the place of an installed one of the language.")
    ] = False,
    test: Annotated[Path | None, typer.Option(help="Held-out captions to measure before and after.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Captions to choose the best epoch with.")] = None,
    images: Images = None,
    image_vectors: ImageVectors = None,
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
    again: Annotated[bool, typer.Option("--again", help="Go on with languages that the model has learnt.")] = False,
    changes: Changes = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what a pack will cost and may reach, and stop; nothing is written.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --plan: print it as JSON.")] = False,
    device: Device = None,
    cache: CacheFolder = None,
    cache_dtype: CacheDtype = "float32",
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard curves.")] = None,
    frames: Frames = 12,
) -> None:
    """Teach a model one language from your own captions; interrupted, the same command goes on where it was."""
    from babelclip.cli.learn import Columns, Runtime, run_learn
    from babelclip.cli.teaching import Start
    from babelclip.data import user_cache

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "vocab_size": vocab_size,
             "seed": seed}  # fmt: skip
    begin = Start(base, lexicon, lexicon_width, again, shared, rows, licence, replace, start)
    columns = Columns(image_column, english_column, text_column, images, image_vectors)
    changed = [*(f"{name}={value}" for name, value in given.items() if value is not None), *(changes or [])]
    if json and not plan:
        raise SettingError("--json is for --plan, and learning prints no JSON", fix="Add --plan, or leave --json away.")
    if plan:
        from babelclip.cli.plan import run_plan

        run_plan(
            language, out, data, start=begin, method=method, columns=columns, device=device, frames=frames,
            changes=changed, as_json=json,
        )  # fmt: skip
        return
    run_learn(
        language, out, start=begin, method=method, files={"train": data, "test": test, "validation": validation},
        columns=columns, runtime=Runtime(device, user_cache(cache, dtype=cache_dtype), tensorboard, frames),
        changes=changed,
    )  # fmt: skip


@app.command(short_help="Measure retrieval in one language, beside chance.")
def evaluate(
    language: Language,
    data: Captions,
    model: Model = "pictoclip",
    base: Annotated[str | None, typer.Option(help="Where the base model of a learnt folder lies now.")] = None,
    plug_in: Annotated[
        bool, typer.Option("--plug-in", help="Plug what was learnt into --base, a model tuned from its own.")
    ] = False,
    images: Images = None,
    image_vectors: ImageVectors = None,
    image_column: ImageColumn = "image",
    english_column: EnglishColumn = "en",
    text_column: TextColumn = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    device: Device = None,
    cache: CacheFolder = None,
    cache_dtype: CacheDtype = "float32",
    frames: Frames = 12,
) -> None:
    """Measure retrieval in one language, text to image and image to text, beside the chance level."""
    from babelclip.cli.evaluate import run_evaluate
    from babelclip.cli.learn import Columns, Runtime
    from babelclip.data import user_cache

    columns = Columns(image_column, english_column, text_column, images, image_vectors)
    runtime = Runtime(device, user_cache(cache, dtype=cache_dtype), frames=frames)
    run_evaluate(language, data, model=model, base=base, plug=plug_in, columns=columns, as_json=json, runtime=runtime)


@app.command(short_help="Train a whole base model on English captions.")
def tune(
    data: Annotated[Path, typer.Option(help="English captions: .tsv, .csv or .jsonl (or .gz); columns image, en.")],
    out: Annotated[Path, typer.Option(help="New folder to write the tuned model to.")],
    base: Annotated[str, typer.Option(help="pictoclip, a CLIPModel folder, or a hub id.")] = "pictoclip",
    test: Annotated[Path | None, typer.Option(help="Held-out captions to measure before and after.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Captions to choose the best epoch with.")] = None,
    images: Images = None,
    image_column: ImageColumn = "image",
    english_column: EnglishColumn = "en",
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.  [default: 5]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Captions in a step.  [default: 128]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.  [default: 3e-6]")] = None,
    seed: Annotated[int, typer.Option(help="Fixes the order of the captions.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting (docs/tune.md); repeatable."),
    ] = None,
    device: Device = None,
    cache: CacheFolder = None,
) -> None:
    """Train a whole base model on English captions (MLA's FT-En); interrupted, the same command goes on."""
    from babelclip.cli.learn import Columns, Runtime
    from babelclip.cli.tune import run_tune
    from babelclip.data import user_cache

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    text_column = None if english_column == "en" else english_column
    run_tune(
        data, out, base=base, test=test, validation=validation,
        columns=Columns(image_column, english_column, text_column, images),
        runtime=Runtime(device, user_cache(cache)),
        changes=[*(f"{name}={value}" for name, value in given.items() if value is not None), *(changes or [])],
    )  # fmt: skip


app.command(short_help="Look at pictures and videos, to search them.")(index)
app.command(short_help="Find pictures and videos by text, by picture, or both.")(search)
app.command(short_help="Search in the browser and over HTTP.")(serve)
app.command(short_help="Tell what a model is, and which methods can teach it.")(inspect)
app.command(short_help="Write learnt languages for other tools.")(export)
app.command(short_help="Fetch a base model or packs from a hub.")(pull)
app.command(short_help="Show what would go to a hub; with --yes, upload it.")(push)


@data_app.command("list")
def data_list() -> None:
    """List the named data sets."""
    from babelclip.cli.data import run_list

    run_list()


@data_app.command("show", short_help="Tell everything about a data set.")
def data_show(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Tell everything about a data set: licence, citation, how to get it, which files are expected."""
    from babelclip.cli.data import run_show

    run_show(name)


@data_app.command("check", short_help="Say what is missing or malformed, and count.")
def data_check(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    folder: Annotated[Path, typer.Argument(help="Its folder.")],
    images: Annotated[Path | None, typer.Option(help="Folder of its pictures, if they lie elsewhere.")] = None,
    image_vectors: ImageVectors = None,
) -> None:
    """Read everything: say what is missing or malformed, and count pictures and captions of each language."""
    from babelclip.cli.data import run_check

    run_check(name, folder, images=images, image_vectors=image_vectors)


@bench_app.command("run", short_help="Run methods x orders x seeds over a stream.")
def bench_run(
    out: Annotated[Path, typer.Option(help="Folder for results; an interrupted run goes on in it.")],
    config: Annotated[
        Path | None, typer.Option(help="A plan (docs/benchmark.md); options below replace parts.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="pictoclip, a model's folder, or a hub id.  [default: that of the plan, else pictoclip]"),
    ] = None,
    lexicon: WordsOf = None,
    lexicon_width: WordsWidth = None,
    train: Annotated[str | None, typer.Option(metavar="NAME[:SPLIT]", help="Data set to learn from.")] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="NAME[:SPLIT]", help="Data set to measure on; repeatable.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Tags, separated by commas; by default all there are.")] = None,
    orders: Annotated[str | None, typer.Option(help="as-given, order222, seed7; separated by commas.")] = None,
    methods: Annotated[str | None, typer.Option(help="Such as cll,er(memory=500)+teir (docs/methods.md).")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.")] = None,
    changes: Changes = None,
    data_root: Annotated[Path, typer.Option(help="A data set lies in its folder NAME in here.")] = Path("data"),
    folder: Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Or where it lies; repeatable.")] = None,
    images: Annotated[list[str] | None, typer.Option(metavar="NAME=DIR", help="Where its pictures lie.")] = None,
    image_vectors: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Vectors of its pictures, .npy with ids.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Streams side by side, with an equal share of the cores.")] = 1,
    full_evaluation: Annotated[
        bool, typer.Option("--full-evaluation", help="Encode all test texts after every task.")
    ] = False,
    device: Device = None,
    cache: CacheFolder = None,
) -> None:
    """Run methods x orders x seeds over a stream of languages; interrupted, the same command goes on."""
    from babelclip.cli.bench import Options, run_run

    run_run(
        out, config,
        Options(base, lexicon, lexicon_width, train, test, languages, orders, methods, seeds, changes or [],
                full_evaluation),
        data_root=data_root, folders=folder or [], images=images or [], image_vectors=image_vectors or [],
        jobs=jobs, device=device, cache=cache,
    )  # fmt: skip


@bench_app.command("report", short_help="Write tables, figures and one page of a run.")
def bench_report(
    results: Annotated[Path, typer.Argument(help="Folder of a run, or its results.json.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; by default report/ beside the results.")
    ] = None,
    metric: Annotated[str, typer.Option(help="Metric of figures and language tables.")] = "img_r10",
    compare: Annotated[Path | None, typer.Option(help="Another run to compare with.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Put the papers' figures beside.")] = False,
) -> None:
    """Write tables (terminal, Markdown, CSV), figures, one page, and JSON for the field's benchmark tool."""
    from babelclip.cli.bench import run_report

    run_report(results, out, metric=metric, compare=compare, published=published)


def main() -> None:
    """Run the command line; a mistake that the user can mend ends with one clear message and exit code 1."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED and " ".join(sys.argv[1:3]).startswith(GO_ON) and "--plan" not in sys.argv:
            typer.echo("interrupted; the same command goes on", err=True)
        raise
    except BabelclipError as error:
        _end(error)
    except OSError as error:
        if error.errno is None:  # not the system's, but of a library that calls its own so
            raise
        fix = "Mend its rights, free some space or choose another place."
        _end(BabelclipError(error.strerror or str(error), file=error.filename, fix=fix))


def _end(error: BabelclipError) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    sys.exit(1)
