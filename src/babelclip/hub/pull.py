"""Fetch a base model or packs from a hub; check what lies in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from babelclip.data.examples import base_lexicon
from babelclip.encoders import load_encoder
from babelclip.encoders.families import why_not
from babelclip.encoders.find import find_model
from babelclip.encoders.hub import HubName, cached_folder, fetch_files, fetch_model, list_files, missing_files, reaching
from babelclip.encoders.load import hub_name, local_folder
from babelclip.encoders.names import POLYGLOT
from babelclip.errors import FormatError, ModelError, SettingError
from babelclip.files import new_folder
from babelclip.packs import is_polyglot, list_installed, load_card, load_pack
from babelclip.packs.card import CARD
from babelclip.packs.container import LIMITS, SUFFIX, is_pack
from babelclip.packs.store import count_contents

README = "README.md"


@dataclass(frozen=True)
class Pulled:
    """What was fetched or looked at.

    Attributes:
        folder: where it lies.
        commit: what its revision is; None of a folder.
        files: names and bytes.
        packs: languages, where it is packs.
        checked: whether packs were compared with their base model too, which was on this machine.
        reasons: why languages cannot be taught to a base model; empty where they can.
    """

    folder: Path
    commit: str | None
    files: dict[str, int]
    packs: tuple[str, ...] = ()
    checked: bool = False
    reasons: tuple[str, ...] = ()


def pull(
    model: str, *, revision: str | None = None, out: Path | None = None, offline: bool = False,
    base: str | None = None,
) -> Pulled:  # fmt: skip
    """Fetch a base model into the hub's cache, or packs into a folder; a folder that is given is only checked.

    Args:
        model: a hub id, ``owner/name`` or ``owner/name@revision``; or a folder of a model or of packs, or a pack.
        revision: of the hub's repository: a branch, a tag, or a commit.
        out: new folder that a copy is written to; packs need one.
        offline: use what is cached.
        base: where the base model of packs lies, to compare them with.

    Raises:
        SettingError: an option that does not go with what is asked for, or ``out`` holds something.
        ModelError: there is no such model, no weights in safetensors, or something is missing.
        FormatError: a pack is damaged or changed.
        BabelclipError: the disk is full or ``out`` cannot be written to.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"--out {out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")
    path = Path(model)
    is_packs = is_polyglot(path) or is_pack(path)
    if is_packs or local_folder(model) is not None:
        if revision is not None or out is not None:
            name = "--revision" if revision is not None else "--out"
            raise SettingError(f"{model} is on this machine, and {name} is given", fix="It is only checked; leave it.")
        return _check_packs(path, None, base) if is_packs else _check_model(model, local_folder(model) or path, None)
    asked = _pinned(hub_name(model), revision)
    packs = _packs_of(asked, offline)
    if packs:
        return _pull_packs(asked, packs, out, base, offline)
    folder = fetch_model(asked, offline=offline)
    commit = folder.name
    if out is not None:
        with new_folder(out) as place:
            _copy(folder, place, sorted(_sizes(folder)))
        folder = out
    return _check_model(str(asked), folder, commit)


def _pinned(name: HubName, revision: str | None) -> HubName:
    """A name with the revision that is asked for."""
    if revision is None:
        return name
    if name.revision not in (None, revision):
        raise SettingError(
            f"{name} names the revision {name.revision!r}, --revision says {revision!r}", fix="Give one of them."
        )
    return hub_name(f"{name.repository}@{revision}")


def _check_model(name: str, folder: Path, commit: str | None) -> Pulled:
    """Look at everything but the numbers themselves.

    Raises:
        ModelError: something is missing or damaged.
    """
    missing = missing_files(folder)
    if missing and any((folder / file).exists() for file in ("config.json", "open_clip_config.json")):
        find_model(str(folder))  # knows more of weights: pickled ones, missing parts
        raise ModelError(
            f"{name} is not complete, it lacks {', '.join(missing)}", file=folder,
            fix="Get the missing files from where the model came from.",
        )  # fmt: skip
    found = find_model(str(folder))
    return Pulled(folder, commit, _sizes(folder), reasons=tuple(why_not(found.facts)))


def _packs_of(name: HubName, offline: bool) -> list[str]:
    """The files of a repository that belong to packs; none of a base model."""
    with reaching(name):
        found = list_files(name, offline=offline)
    cached = cached_folder(name) if found is None else None
    held = [] if cached is None else [file.name for file in cached.iterdir()]
    held = held if found is None else found.files
    if CARD in held:
        return [file for file in held if file in LIMITS]
    packs = [file for file in held if file.endswith(SUFFIX) and "/" not in file]
    return [*packs, *(file for file in (POLYGLOT,) if file in held)] if packs else []


def _pull_packs(name: HubName, files: Sequence[str], out: Path | None, base: str | None, offline: bool) -> Pulled:
    """Write packs to a new folder after they were checked; nothing is installed."""
    if out is None:
        languages = ", ".join(file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX)) or "one"
        raise SettingError(f"{name} holds language packs ({languages})", fix="Say where to write them: --out FOLDER.")
    with reaching(name):
        folder = fetch_files(name, files, offline=offline)
    with new_folder(out) as place:
        _copy(folder, place, files)
        found = _check_packs(place, folder.name, base)
    return Pulled(out, found.commit, found.files, found.packs, found.checked)


def _check_packs(path: Path, commit: str | None, base: str | None) -> Pulled:
    """Check packs as the loader does; against their base model only where that is on this machine.

    Raises:
        FormatError: one is damaged or changed, or named as another language.
        ModelError: the base model that is given cannot be loaded.
    """
    if is_polyglot(path):
        list_installed(path)  # what names their base model is checked too
    files = [path] if is_pack(path) else sorted(path.glob(f"[!.]*{SUFFIX}"))
    cards = {file: load_card(file) for file in files}
    for file, card in cards.items():
        count_contents(file)
        if file.suffix == SUFFIX and not is_pack(path) and file.stem != card.language:
            raise FormatError(f"the pack is for {card.language!r}", file=file, fix="Do not install it under this name.")
    encoder = None if base is None else load_encoder(base, device="cpu")
    if encoder is not None:
        lexicon = base_lexicon(encoder)
        for file in files:
            load_pack(file, encoder, lexicon)
    sizes = _sizes(path) if path.is_dir() else {path.name: path.stat().st_size}
    return Pulled(path, commit, sizes, tuple(card.language for card in cards.values()), checked=encoder is not None)


def _copy(folder: Path, place: Path, files: Sequence[str]) -> None:
    """Copy files, links of a cache followed."""
    for file in files:
        shutil.copyfile(folder / file, place / file)


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
