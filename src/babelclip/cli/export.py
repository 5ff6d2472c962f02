"""``babelclip export``: what was learnt, as a folder for another tool."""

from __future__ import annotations

from pathlib import Path

from babelclip.cli.console import console, note, quieten
from babelclip.continual import load
from babelclip.data import Cache
from babelclip.export import export_model
from babelclip.lexicon.store import LEXICON
from babelclip.packs import load_polyglot


def run_export(
    model: str, out: Path, *, to: str, languages: str | None, precision: str, base: str | None, device: str | None
) -> None:
    """Load, write, and say what was written.

    Args:
        model: folder of packs, pack, base model, or folder of a shared lexicon.
        out: new folder.
        to: a name of ``TARGETS``.
        languages: tags, separated by commas; None for all.
        precision: of texts in ONNX.
        base: where the base model lies now.
        device: where to load it.
    """
    quieten()
    shared = (Path(model) / LEXICON).is_file()
    loaded = (
        load(model, base=base, device=device, cache=Cache(None)) if shared
        else load_polyglot(model, base=base, device=device)
    )  # fmt: skip
    tags = None if languages is None else [tag.strip() for tag in languages.split(",") if tag.strip()]
    found = export_model(loaded, out, to=to, languages=tags, precision=precision)
    if shared and tags:
        left = [tag for tag in loaded.languages if tag not in found]
        if left:
            note(f"not exported: {', '.join(left)}")
    for tag, folder in found.items():
        console.print(f"{tag}: {folder}", markup=False)
    console.print(f"Written for {to}; {out / 'README.md'} says how to load it.", markup=False)
