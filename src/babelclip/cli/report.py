"""The work of ``babelclip report ...``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from babelclip.cli.console import console, progress_bars, quieten, tell_incomplete
from babelclip.cli.learn import Columns, Runtime
from babelclip.data import Teacher
from babelclip.errors import SettingError
from babelclip.packs import is_polyglot, load_polyglot
from babelclip.packs.container import is_pack
from babelclip.report.language.page import Source, check_language, check_out, write_language_page


def run_language(
    language: str, data: Path, out: Path, *, model: str, base: str | None, columns: Columns, runtime: Runtime
) -> None:
    """Read, measure, write a page.

    Args:
        language: tag of an installed language.
        data: held-out captions, whose pictures are the gallery.
        out: the page.
        model: folder of packs, or a pack.
        base: where the base model lies now.
        columns: where things stand in the file.
        runtime: where to run and what to keep.
    """
    quieten()
    check_out(out)
    path = Path(model)
    if not (is_polyglot(path) or is_pack(path)):
        raise SettingError(
            f"--model {model} is neither a folder of packs nor a pack",
            fix="Give what `babelclip learn` wrote, or take a language out of a shared lexicon: babelclip pack build.",
        )
    polyglot = load_polyglot(model, base=base, device=runtime.device, frames=runtime.frames)
    tag = check_language(polyglot, language)
    corpus = columns.read(data, tag)
    teacher = Teacher(polyglot.encoder, runtime.cache)
    with progress_bars() as bars:
        examples = teacher.prepare(corpus, bars.bar("looking at pictures"))
    tell_incomplete(polyglot.encoder.incomplete)
    source = Source(
        model=path.resolve().name, folder=is_polyglot(path), data=data.name, fingerprint=corpus.fingerprint,
        pictures=None if columns.vectors else columns.images or data.parent,
        columns=(columns.image, columns.english, columns.text or tag), options=_named(columns) + runtime.options(),
    )  # fmt: skip
    write_language_page(polyglot, examples, out, source)
    console.print(f"Written to {out}: open it in a browser, or send it to somebody who speaks the language.")


def _named(columns: Columns) -> str:
    """The options of the columns, with the last parts of paths."""
    images, vectors = (None if path is None else Path(path.name) for path in (columns.images, columns.vectors))
    return replace(columns, images=images, vectors=vectors).options()
