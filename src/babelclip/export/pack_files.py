"""``.babelpack`` files, one a language, of installed packs or of a shared lexicon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from babelclip.data.examples import base_lexicon
from babelclip.errors import NOT_INSTALLED, SettingError, UnknownNameError
from babelclip.export.leaving import pick_tags
from babelclip.files import new_folder
from babelclip.languages import NATIVE, normalise_tag
from babelclip.packs import Pack, Polyglot, make_pack, save_pack
from babelclip.packs.card import ROW_DTYPES
from babelclip.packs.container import SUFFIX
from babelclip.packs.quantise import pack_rows, unpack_rows

if TYPE_CHECKING:
    from babelclip.continual import Student

PACK = "pack"
METHOD = "built from a shared lexicon"


def export_packs(
    model: Polyglot | Student, out: Path | str, *, languages: Sequence[str] | None = None, rows: str | None = None
) -> dict[str, Path]:
    """Write languages as packs, ``out/TAG.babelpack``; an installed pack comes out as it went in, byte for byte.

    Args:
        model: a base model with packs, or a student whose languages share a lexicon.
        out: a new folder, or an empty one; it is written whole or not at all.
        languages: their tags; by default all but English, which is the base model's own.
        rows: how rows are stored: ``float32``, ``float16`` or ``int8``; by default as they are, of a lexicon
            ``float16``. Rows that are stored more coarsely than before lose the scores that were measured with them.

    Returns:
        The file of each language.

    Raises:
        UnknownNameError: there is no such language or way to store rows.
        SettingError: the folder holds something; English is asked for, or nothing is left; rows would be stored more
            finely than they are; or a language's words or modules are shared with others.
        BabelclipError: the disk is full or the place cannot be written to.
    """
    out = Path(out)
    if rows is not None and rows not in ROW_DTYPES:
        raise UnknownNameError("way to store rows", rows, ROW_DTYPES)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")
    packs = _installed(model, languages, rows) if isinstance(model, Polyglot) else _built(model, languages, rows)
    with new_folder(out) as place:
        for pack in packs:
            save_pack(pack, place / f"{pack.language}{SUFFIX}")
    return {pack.language: out / f"{pack.language}{SUFFIX}" for pack in packs}


def _installed(polyglot: Polyglot, languages: Sequence[str] | None, rows: str | None) -> list[Pack]:
    tags = _without_english(languages, list(polyglot.packs), "installed language", NOT_INSTALLED)
    return [_stored_as(polyglot.packs[tag], rows) for tag in tags]


def _built(student: Student, languages: Sequence[str] | None, rows: str | None) -> list[Pack]:
    tags = _without_english(languages, student.lexicon.languages, "learnt language")
    base = base_lexicon(student.encoder)
    return [
        make_pack(student.encoder, base, student.learnt, tag, method=METHOD, rows=rows or "float16") for tag in tags
    ]


def _without_english(languages: Sequence[str] | None, known: Sequence[str], kind: str, more: str = "") -> list[str]:
    if languages is not None and NATIVE in map(normalise_tag, languages) and NATIVE not in known:
        raise SettingError(
            f"{NATIVE!r} is the base model's own, and no pack", fix="Leave it out; every base model brings its English."
        )
    asked = [tag for tag in known if tag != NATIVE] if languages is None else languages
    if not known:
        raise SettingError("no language has been learnt, so there is no pack", fix="Learn one: babelclip learn.")
    return pick_tags(asked, known, kind, more)


def _stored_as(pack: Pack, rows: str | None) -> Pack:
    """The same pack with rows as they are wanted; what its card says of scores stays only where it stays true."""
    now = pack.card.rows
    if rows is None or rows == now:
        return pack
    if ROW_DTYPES.index(rows) < ROW_DTYPES.index(now):
        raise SettingError(
            f"{pack.language!r} has rows as {now}, which lack what {rows} would keep", fix="Leave --rows away."
        )
    note = f"Rows were rounded from {now} to {rows}; scores measured before are left out."
    card = pack.card.model_copy(update={"rows": rows, "metrics": [], "note": " ".join([pack.card.note, note]).strip()})
    return replace(pack, card=card, rows=unpack_rows(pack_rows(pack.rows, rows), rows))
