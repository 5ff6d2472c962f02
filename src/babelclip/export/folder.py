"""Write what was learnt as a folder that another tool loads by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from babelclip.errors import SettingError, UnknownNameError
from babelclip.export import clip_folder, onnx_folder, open_clip_folder
from babelclip.export.card import Usage, write_card
from babelclip.export.facts import write_facts
from babelclip.export.leaving import check_family, leave_packs, leave_shared
from babelclip.export.text_tower import PRECISIONS
from babelclip.files import new_folder
from babelclip.languages import NATIVE
from babelclip.packs import Polyglot

if TYPE_CHECKING:
    from babelclip.continual import Student
    from babelclip.encoders import DualEncoder
    from babelclip.export.leaving import Leaving

TARGETS = ("transformers", "sentence-transformers", "open_clip", "onnx")
WRITERS = {
    "transformers": (clip_folder.write_transformers, clip_folder.transformers_usage),
    "sentence-transformers": (clip_folder.write_sentence_transformers, clip_folder.sentence_usage),
    "open_clip": (open_clip_folder.write_open_clip, open_clip_folder.open_clip_usage),
}
README = "README.md"


def export_model(
    model: Polyglot | Student, out: Path | str, *, to: str, languages: Sequence[str] | None = None,
    precision: str = "float32",
) -> dict[str, Path]:  # fmt: skip
    """Write what was learnt in the format of another tool, with a README.md that says how to load it.

    Of packs every language becomes a folder of its own, ``out/TAG``; a shared lexicon becomes ``out`` itself.

    Args:
        model: a base model with packs, or a student whose languages share a lexicon.
        out: a new folder, or an empty one; it is written whole or not at all.
        to: a name of ``TARGETS``.
        languages: their tags; by default all. Of a shared lexicon see ``leave_shared``.
        precision: of texts in ``onnx``: ``float32``, or ``int8`` (``build_text_model``).

    Returns:
        The folder of each language.

    Raises:
        UnknownNameError: there is no such target or precision, or the model has no such language.
        SettingError: the folder holds something, or a language has what no other tool can run.
        ModelError: the target has no place for the base model's towers, or they are too large for one file each.
        MissingExtraError: the package ``onnx`` is not installed.
        BabelclipError: the disk is full or the place cannot be written to.
    """
    out = Path(out)
    _check(out, to, precision)
    check_family(model.encoder)
    found = leave_packs(model, languages) if isinstance(model, Polyglot) else {"": leave_shared(model, languages)}
    with new_folder(out) as place:
        try:
            if to == "onnx":
                _write_onnx(model.encoder, found, place, precision)
            else:
                _write_each(model.encoder, found, place, to)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return {tag: out / folder for folder, one in found.items() for tag in one.languages}


def _check(out: Path, to: str, precision: str) -> None:
    """Refuse what cannot work before anything is loaded or written."""
    if to not in TARGETS:
        raise UnknownNameError("export target", to, TARGETS)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if precision != "float32" and to != "onnx":
        raise SettingError(f"{to} has no precision {precision!r}", fix="Leave --precision away, or take --to onnx.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")


def _write_each(encoder: DualEncoder, found: dict[str, Leaving], place: Path, to: str) -> None:
    """Folders that hold everything, each with its card; and a card for all of them."""
    write, usage = WRITERS[to]
    for folder, leaving in found.items():
        (place / folder).mkdir(exist_ok=True)
        write(encoder, leaving, place / folder)
        _write_card(encoder, {".": leaving}, usage(encoder, "."), place / folder, to)
    if "" not in found:
        _write_card(encoder, found, usage(encoder, _example(found)), place, to)


def _write_onnx(encoder: DualEncoder, found: dict[str, Leaving], place: Path, precision: str) -> None:
    """Texts by language, pictures once."""
    for folder, leaving in found.items():
        onnx_folder.write_text(encoder, leaving, place / folder, precision)
    onnx_folder.write_image(encoder, place)
    folder = _example(found)
    usage = onnx_folder.onnx_usage(encoder, f"{folder}/" if folder else "", precision)
    _write_card(encoder, found, usage, place, "onnx")


def _example(found: dict[str, Leaving]) -> str:
    """The folder that the example loads: the first one that was learnt, if any."""
    return next((folder for folder in found if folder != NATIVE), NATIVE)


def _write_card(encoder: DualEncoder, found: dict[str, Leaving], usage: Usage, place: Path, to: str) -> None:
    """README.md for people, export.json for babelclip."""
    leavings = list(found.values())
    (place / README).write_text(write_card(encoder, leavings, usage), encoding="utf-8")
    folders = {tag: folder or "." for folder, one in found.items() for tag in one.languages}
    write_facts(encoder, leavings, to, folders, place)
