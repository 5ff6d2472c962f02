"""What the demo leaves behind to go on with: a shared lexicon, packs, and an index of the drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from babelclip.benchmarks import openmoji
from babelclip.cli.console import Bars, note, program
from babelclip.continual import Student
from babelclip.errors import MissingExtraError
from babelclip.packs import Polyglot, install_pack
from babelclip.packs.installed import begin_folder
from babelclip.search.index import index_folders
from babelclip.search.open import open_store


def keep(out: Path, learnt: Mapping[str, Student | Polyglot], order: Sequence[str], bars: Bars) -> list[str]:
    """Write the models of the last methods of each kind and index the drawings.

    Args:
        out: the demo's folder.
        learnt: what each method has learnt, in their order.
        order: languages.
        bars: progress.

    Returns:
        Commands that work as they stand, the most interesting first.
    """
    shared = [model for model in learnt.values() if isinstance(model, Student)]
    packs = [model for model in learnt.values() if isinstance(model, Polyglot)]
    commands = []
    if packs:
        _write_packs(packs[-1], out / "packs")
        commands += _index(out, packs[-1], bars)
        commands += _evaluate_and_learn(out / "packs", out, order, f"--out {out / 'packs'}")
    if shared:
        shared[-1].save(out / "model")
        if not packs:
            commands += _evaluate_and_learn(
                out / "model", out, order, f"--base {out / 'model'} --out {out / 'model'}-new"
            )
    return [*commands, f"{program()} --help"]


def _write_packs(polyglot: Polyglot, folder: Path) -> None:
    begin_folder(folder, polyglot.encoder)
    for pack in polyglot.packs.values():
        install_pack(folder, pack, polyglot.encoder, replace=True)


def _index(out: Path, polyglot: Polyglot, bars: Bars) -> list[str]:
    """Index all drawings; returns the command that opens the page on them."""
    place = out / "index"
    try:
        store = open_store(str(place))
        index_folders(
            [out / "data" / "images"], store, lambda: polyglot.encoder, model=str((out / "packs").resolve()),
            progress=lambda _: bars.bar("indexing the drawings"), note=note,
        )  # fmt: skip
        store.close()
    except MissingExtraError as error:
        note(f"the drawings are not indexed: {error}")
        return []
    return [f"{program()} serve --store {place}"]


def _evaluate_and_learn(model: Path, out: Path, order: Sequence[str], more: str) -> list[str]:
    """Measure the last language again, and learn one more."""
    last = order[-1]
    commands = [f"{program()} evaluate --model {model} --language {last} --data {out}/data/{last}.test.tsv"]
    other = next((language for language in ("it", *openmoji.LANGUAGES) if language not in order), None)
    if other is not None:
        data = f"--data {out}/data/{other}.train.tsv --test {out}/data/{other}.test.tsv"
        commands.append(f"{program()} learn --language {other} {data} {more}")
    return commands
