"""``babelclip export``: what was learnt, as a folder for another tool, as packs, or as its scores."""

from __future__ import annotations

from pathlib import Path

from babelclip.cli.console import console, note, program, quieten
from babelclip.continual import Student, load
from babelclip.data import Cache
from babelclip.errors import SettingError, UnknownNameError
from babelclip.export import PACK, SCORES, TARGETS, export_model, export_packs, export_scores
from babelclip.lexicon.store import LEXICON
from babelclip.packs import Polyglot, load_polyglot


def run_export(
    model: str, out: Path, *, to: str, languages: str | None, precision: str | None, rows: str | None,
    base: str | None, device: str | None,
) -> None:  # fmt: skip
    """Load, write, and say what was written.

    Args:
        model: folder of packs, pack, base model, or folder of a shared lexicon; of scores what was measured.
        out: new folder.
        to: a name of ``TARGETS``, ``PACK`` or ``SCORES``.
        languages: tags, separated by commas; None for all.
        precision: of texts in ONNX.
        rows: of packs.
        base: where the base model lies now.
        device: where to load it.

    Raises:
        UnknownNameError: there is no such target.
        SettingError: an option is for another target.
    """
    quieten()
    if to not in (known := (*TARGETS, PACK, SCORES)):
        raise UnknownNameError("export target", to, known)
    for name, value, place in (("--precision", precision, "onnx"), ("--rows", rows, PACK)):
        if value is not None and to != place and (name, value) != ("--precision", "float32"):
            raise SettingError(f"{name} is for --to {place}, not for {to}", fix="Leave it away.")
    tags = None if languages is None else [tag.strip() for tag in languages.split(",") if tag.strip()]
    if to == SCORES:
        _say_scores(export_scores(model, out, languages=tags), out)
        return
    shared = (Path(model) / LEXICON).is_file()
    loaded: Student | Polyglot = (
        load(model, base=base, device=device, cache=Cache(None)) if shared
        else load_polyglot(model, base=base, device=device)
    )  # fmt: skip
    if to == PACK:
        _say_packs(export_packs(loaded, out, languages=tags, rows=rows), out, shared=shared)
        return
    found = export_model(loaded, out, to=to, languages=tags, precision=precision or "float32")
    if shared and tags:
        left = [tag for tag in loaded.languages if tag not in found]
        if left:
            note(f"not exported: {', '.join(left)}")
    for tag, folder in found.items():
        console.print(f"{tag}: {folder}")
    console.print(f"Written for {to}; {out / 'README.md'} says how to load it.")


def _say_packs(found: dict[str, Path], out: Path, *, shared: bool) -> None:
    for tag, file in found.items():
        console.print(f"{tag}: {file}, {file.stat().st_size / 1e6:.2f} MB")
    if shared:
        note("their languages cannot be recognised; pack build --data learns that from the training captions")
    first = next(iter(found.values()))
    console.print(f"Written to {out}. Next:\n  {program()} pack install {first} --into FOLDER")


def _say_scores(files: list[Path], out: Path) -> None:
    for file in files:
        console.print(file.name)
    console.print(f"{len(files)} files in {out}; its README.md says which numbers they are.")
