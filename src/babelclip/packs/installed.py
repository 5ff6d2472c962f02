"""A polyglot on disk: a folder that names its base model and holds one ``.babelpack`` file a language.

    polyglot.json      format, name and fingerprint of the base model; written once, never changed
    sw.babelpack       an installed language; named as its tag

Installing writes one file, removing deletes it, so that nothing else can change and no trace is left.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from babelclip.data.examples import base_lexicon
from babelclip.encoders import DEFAULT_MODEL, FRAMES, DualEncoder, load_encoder
from babelclip.encoders.names import POLYGLOT, name_anywhere
from babelclip.errors import FormatError, ModelError, SettingError, UnknownNameError
from babelclip.files import may_not_read, remove_temporaries, write_whole
from babelclip.languages import NATIVE, normalise_tag
from babelclip.lexicon import Lexicon
from babelclip.lexicon.store import LEXICON
from babelclip.packs.card import PackCard
from babelclip.packs.container import SUFFIX, is_pack, zip_files
from babelclip.packs.pack import Pack
from babelclip.packs.polyglot import Polyglot
from babelclip.packs.store import load_card, load_pack, pack_files

FORMAT = 1


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    fingerprint: str


class _PolyglotFile(BaseModel):
    """The content of ``polyglot.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int
    base: _Base


def is_polyglot(path: Path) -> bool:
    """Whether a path is a folder of packs."""
    return (path / POLYGLOT).is_file()


def load_polyglot(
    model: Path | str = DEFAULT_MODEL, *, base: Path | str | None = None, device: str | None = None,
    frames: int = FRAMES,
) -> Polyglot:  # fmt: skip
    """Load a base model with the packs that are installed beside it.

    Args:
        model: a folder of packs, one pack, or a base model: ``pictoclip``, a model's folder, a hub id.
        base: where the base model of packs lies now, if it has moved.
        device: ``cpu``, ``cuda``, ...; by default a GPU where there is one.
        frames: how many frames stand for a video, at most.

    Raises:
        ModelError: the base model cannot be loaded.
        FormatError: a pack is damaged, changed, or for another base model.
    """
    path = Path(model)
    if is_polyglot(path):
        own = _read(path).base
        encoder = _load_base(base or own.name, path, device=device, frames=frames)
        if encoder.fingerprint != own.fingerprint:
            raise FormatError(
                f"it is for {own.name!r} with fingerprint {own.fingerprint[:12]}, but the base model is "
                f"{encoder.name!r} with {encoder.fingerprint[:12]}",
                file=path, fix="Choose another folder, or give the base model that it is for.",
            )  # fmt: skip
        lexicon = base_lexicon(encoder)
        return Polyglot(encoder, lexicon, [_load(file, encoder, lexicon) for file in _files(path)])
    if is_pack(path):
        encoder = _load_base(base or load_card(path).base.name, path, device=device, frames=frames)
        lexicon = base_lexicon(encoder)
        return Polyglot(encoder, lexicon, [load_pack(path, encoder, lexicon)])
    encoder = load_encoder(base or model, device=device, frames=frames)
    return Polyglot(encoder, base_lexicon(encoder))


def base_of(folder: Path | str) -> str:
    """Return the name of the base model of a folder of packs.

    Raises:
        FormatError: it is no folder of packs.
    """
    return _read(Path(folder)).base.name


def pack_files_of(path: Path | str) -> list[Path]:
    """Return the packs that a path stands for: those of a folder of packs, or itself."""
    return _files(Path(path)) if is_polyglot(Path(path)) else [Path(path)]


def list_installed(folder: Path | str) -> dict[str, PackCard]:
    """Return what the installed packs say of themselves, by tag; every file is compared with its sha256.

    Raises:
        FormatError: it is no folder of packs, or one is damaged.
    """
    _read(Path(folder))
    return {file.stem: _check_tag(load_card(file), file) for file in _files(Path(folder))}


def install_pack(folder: Path | str, pack: Pack, encoder: DualEncoder, *, replace: bool = False) -> Path:
    """Put a pack into a folder, which is made where there is none; one file is written, whole or not at all.

    Args:
        folder: of packs.
        pack: as ``load_pack`` returned it: checked.
        encoder: its base model.
        replace: in the place of an installed pack of the same language.

    Returns:
        The file.

    Raises:
        SettingError: the language is installed, or the folder holds something else.
        FormatError: the folder is for another base model.
        BabelclipError: the place cannot be written to.
    """
    folder = Path(folder)
    if not is_polyglot(folder):
        check_place(folder, pack.language)
        begin_folder(folder, encoder)
    remove_temporaries(folder)
    own = _read(folder).base
    if own.fingerprint != pack.card.base.fingerprint:
        raise FormatError(
            f"the pack {pack.language!r} is for {pack.card.base.name!r} with fingerprint "
            f"{pack.card.base.fingerprint[:12]}, but this folder is for {own.name!r} with {own.fingerprint[:12]}",
            file=folder, fix="Choose another folder, or learn the language for this base model.",
        )  # fmt: skip
    if not replace:
        check_new(folder, [pack.language])
    file = folder / f"{pack.language}{SUFFIX}"
    write_whole(file, zip_files(pack_files(pack)))
    return file


def check_new(folder: Path, languages: Sequence[str]) -> None:
    """Refuse languages that are installed in a folder.

    Args:
        folder: of packs, or to become one.
        languages: their tags.

    Raises:
        SettingError: some are there; names them all.
    """
    if there := [tag for tag in languages if (folder / f"{tag}{SUFFIX}").exists()]:
        raise SettingError(
            f"{', '.join(map(repr, there))} is installed in {folder}",
            fix="Say --replace (replace=True), or remove it first.",
        )


def begin_folder(folder: Path, encoder: DualEncoder) -> None:
    """Make a folder of packs that has none yet: it names its base model; one that is there stays as it is.

    Raises:
        BabelclipError: the place cannot be written to.
    """
    if not is_polyglot(folder):
        base = _Base(name=name_anywhere(encoder.name), fingerprint=encoder.fingerprint)
        content = _PolyglotFile(format=FORMAT, base=base)
        write_whole(folder / POLYGLOT, json.dumps(content.model_dump(), ensure_ascii=False, indent=1) + "\n")


def check_place(folder: Path, language: str, keep: Collection[Path] = ()) -> None:
    """Refuse a folder with anything in it but packs, or what learning this very language leaves behind.

    Args:
        folder: of packs, or to become one.
        language: tag of the language.
        keep: what else may lie in it, such as a cache.

    Raises:
        SettingError: it holds something else.
    """
    if is_polyglot(folder) or not folder.exists():
        return
    if (folder / LEXICON).is_file():
        raise SettingError(
            f"{folder} is a lexicon that languages share, and no folder of packs",
            fix=f"Go on with it: --base {folder} and a new --out; or choose a new folder for packs.",
        )
    left = (f"{language}.", ".")
    if not folder.is_dir() or any(not entry.name.startswith(left) and entry not in keep for entry in folder.iterdir()):
        raise SettingError(f"{folder} exists and is no folder of packs", fix="Choose a new or an empty folder.")


def remove_pack(folder: Path | str, language: str) -> None:
    """Take a language out of a folder; nothing of it stays.

    Raises:
        FormatError: it is no folder of packs.
        SettingError: it is English, the base model's own.
        UnknownNameError: the language is not installed there.
    """
    _read(Path(folder))
    files: Mapping[str, Path] = {file.stem: file for file in _files(Path(folder))}
    tag = normalise_tag(language)
    if tag == NATIVE:
        raise SettingError(
            f"{NATIVE!r} is the base model's own language and cannot be removed",
            file=folder, fix=f"Name an installed one: {', '.join(files) or '(none)'}.",
        )  # fmt: skip
    if tag not in files:
        raise UnknownNameError("installed language", tag, files, likely=(), file=folder)
    files[tag].unlink()
    (Path(folder) / f"{tag}.log.jsonl").unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"[!.]*{SUFFIX}"))


def _read(folder: Path) -> _PolyglotFile:
    file = folder / POLYGLOT
    try:
        content = _PolyglotFile.model_validate_json(file.read_bytes())
    except PermissionError as error:
        raise may_not_read(file) from error
    except OSError as error:
        raise FormatError(
            f"no {POLYGLOT} in this folder", file=folder, fix="Make one: babelclip pack install PACK --into FOLDER."
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise FormatError(
            problem, file=file, fix="The file is damaged: install the packs into a new folder."
        ) from error
    if content.format != FORMAT:
        raise FormatError(
            f"format {content.format}, this babelclip reads {FORMAT}", file=file, fix="Use a matching babelclip."
        )
    return content


def _load(file: Path, encoder: DualEncoder, base: Lexicon) -> Pack:
    pack = load_pack(file, encoder, base)
    _check_tag(pack.card, file)
    return pack


def _check_tag(card: PackCard, file: Path) -> PackCard:
    """A file is named as its language: nothing else may take its place."""
    if card.language != file.stem:
        raise FormatError(
            f"the pack is for {card.language!r}", file=file, fix=f"Rename the file to {card.language}{SUFFIX}."
        )
    return card


def _load_base(base: Path | str, place: Path, *, device: str | None, frames: int) -> DualEncoder:
    try:
        return load_encoder(base, device=device, frames=frames)
    except ModelError as error:
        raise ModelError(
            f"the base model of {str(place)!r}, {str(base)!r}, cannot be loaded: {error.what}",
            fix="Say where it lies now: base=... in Python, --base on the command line.",
        ) from error
