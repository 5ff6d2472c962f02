"""What a base model's name stands for: the built-in model, whatever lies in the working folder; a folder; a hub id."""

from __future__ import annotations

from pathlib import Path

from babelclip.config import DEFAULT_MODEL

POLYGLOT = "polyglot.json"
"""The file by which a folder of packs is known."""
ASSETS = Path(__file__).parent.parent / "assets"


def folder_of(name: str | Path) -> Path | None:
    """Return the folder that a model's name stands for; None where there is no such folder."""
    folder = ASSETS / DEFAULT_MODEL if str(name) == DEFAULT_MODEL else Path(name)
    return folder if folder.is_dir() else None


def name_anywhere(name: str | Path) -> str:
    """Return a model's name as it is understood in every working folder: of a folder its whole path."""
    is_path = str(name) != DEFAULT_MODEL and folder_of(name) is not None
    return str(Path(name).resolve()) if is_path else str(name)


def name_for_others(name: str | Path) -> str:
    """Return what others call a model: of a folder its last part, because where it lies is nobody's business."""
    return str(name) if folder_of(name) is None else Path(name).name
