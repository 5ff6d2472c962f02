"""What goes to a hub: the files of an exported folder or of packs, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelclip.encoders.headers import PICKLES
from babelclip.encoders.model_config import OPEN_CLIP_CONFIG
from babelclip.encoders.names import POLYGLOT
from babelclip.errors import FormatError, SettingError
from babelclip.export.facts import FACTS, read_facts_of
from babelclip.lexicon.store import LEXICON
from babelclip.packs import PackCard, is_polyglot, list_installed, load_card
from babelclip.packs.container import SUFFIX, is_pack, read_files, zip_files

README = "README.md"
KINDS = (".json", ".safetensors", ".onnx", ".txt", ".md", ".model")
"""Endings of files that an exported folder may have."""


@dataclass(frozen=True)
class Cargo:
    """What goes to a hub.

    Attributes:
        kind: the tool that an exported folder is for, or ``pack``.
        files: name in the repository -> the file, or its content.
        base: name of the base model, as others know it.
        fingerprint: of the base model.
        folders: tag -> where that language lies: a folder, a pack's file, or ``.``.
        cards: what packs say of themselves.
        shared: whether languages share one vocabulary.
        body: the README.md of an exported folder, without its front matter; empty of packs.
    """

    kind: str
    files: Mapping[str, Path | bytes]
    base: str
    fingerprint: str
    folders: Mapping[str, str]
    cards: tuple[PackCard, ...]
    shared: bool = False
    body: str = ""

    @property
    def languages(self) -> list[str]:
        """All tags."""
        return list(self.folders)

    @property
    def whole(self) -> bool:
        """Whether the repository's top is what a tool loads, and not a folder in it."""
        return set(self.folders.values()) == {"."}


def gather(folder: Path, repository: str) -> Cargo:
    """Find out what a folder or file is, check it, and list what goes to a hub.

    Args:
        folder: an exported folder, a folder of packs, a pack's folder or file.
        repository: where it shall go; open_clip finds its tokenizer by that name.

    Raises:
        SettingError: it is none of these, or holds what must not leave.
        FormatError: it is damaged.
    """
    if is_polyglot(folder):
        return _packs(folder)
    if is_pack(folder):
        card = load_card(folder)
        return _of_packs({f"{card.language}{SUFFIX}": zip_files(read_files(folder))}, [card])
    if (folder / LEXICON).is_file():
        raise SettingError(
            f"{folder} is a lexicon that languages share, and no tool loads it by itself",
            fix="Export it first: babelclip export --model FOLDER --to transformers (or pack) --out OUT.",
        )
    if not (folder / FACTS).is_file():
        whole = folder.resolve().parent
        if folder.is_dir() and (whole / FACTS).is_file():
            raise SettingError(
                f"{folder} is a part of the exported folder {whole}, and nothing by itself (no {FACTS})",
                fix=f"Give the whole folder: {whole}.",
            )
        raise SettingError(
            f"{folder} is no exported folder (no {FACTS}), no folder of packs and no pack",
            fix="Give what `babelclip export`, `learn` or `pack` wrote.",
        )
    return _exported(folder, repository)


def _packs(folder: Path) -> Cargo:
    """Installed packs; the folder's own file says where the base model lies here, which is nobody's business."""
    cards = list_installed(folder)
    if not cards:
        raise SettingError(f"no language is installed in {folder}", fix="Install or learn one first.")
    made = _of_packs({f"{tag}{SUFFIX}": folder / f"{tag}{SUFFIX}" for tag in cards}, list(cards.values()))
    content = json.loads((folder / POLYGLOT).read_bytes())
    content["base"]["name"] = made.base
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    return Cargo(
        made.kind, {**made.files, POLYGLOT: text.encode()}, made.base, made.fingerprint, made.folders, made.cards
    )


def _of_packs(files: Mapping[str, Path | bytes], cards: list[PackCard]) -> Cargo:
    if len({card.base.fingerprint for card in cards}) > 1:
        raise FormatError("its packs are for several base models", fix="Push those of each base model by themselves.")
    folders = {card.language: f"{card.language}{SUFFIX}" for card in cards}
    return Cargo("pack", files, cards[0].base.name, cards[0].base.fingerprint, folders, tuple(cards))


def _exported(folder: Path, repository: str) -> Cargo:
    facts = read_facts_of(folder)
    files: dict[str, Path | bytes] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() and not file.is_symlink():
            continue
        if file.is_symlink() or file.suffix not in KINDS or file.name.startswith("."):
            pickled = ": a pickle is never uploaded" if file.suffix in PICKLES else ""
            raise SettingError(
                f"{name} is nothing that `babelclip export` writes{pickled}",
                fix="Remove it, or export to a new folder.",
            )
        files[name] = file
    if README not in files:
        raise SettingError(f"there is no {README} in {folder}", fix="Export again with this babelclip.")
    body = (folder / README).read_text(encoding="utf-8")
    if body.startswith("---\n"):
        body = body.split("---\n", 2)[-1].lstrip()
    if OPEN_CLIP_CONFIG in files:
        config: dict[str, Any] = json.loads((folder / OPEN_CLIP_CONFIG).read_bytes())
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = repository  # of a hub open_clip asks for this name
        files[OPEN_CLIP_CONFIG] = (json.dumps(config, indent=2) + "\n").encode()
    return Cargo(
        facts.to, files, facts.base["name"], facts.base["fingerprint"], facts.folders, tuple(facts.cards),
        facts.shared, body,
    )  # fmt: skip
