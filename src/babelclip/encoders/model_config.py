"""The config of a dual encoder: of ``transformers``, with its defaults filled in, or of open_clip."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelclip.encoders.families import OPEN_CLIP
from babelclip.encoders.open_clip_traits import tower_of, unmapped
from babelclip.errors import ModelError

CONFIG, OPEN_CLIP_CONFIG = "config.json", "open_clip_config.json"


class Part:
    """One half of a config."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Keep the values by name."""
        self.values = values

    def __call__(self, *names: str) -> Any:
        """Return the first value that is there; None where none is."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)


@dataclass(frozen=True)
class Config:
    """What config.json says.

    Attributes:
        family: its ``model_type``, or ``open_clip``.
        architecture: the class that wrote it; empty where it does not say.
        dim: size of the shared space; None where it does not say.
        text, image: what it says of the towers.
        unmapped: of open_clip's, what in it is no CLIP of transformers.
    """

    family: str
    architecture: str
    dim: int | None
    text: Part
    image: Part
    unmapped: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, name: str) -> Config:
        """Read config.json, with what ``transformers`` fills in, or open_clip's config.

        Raises:
            ModelError: there is none, it is damaged, of no dual encoder, or of a model that is code of its own.
        """
        if (folder / CONFIG).is_file():
            content = read_json(folder / CONFIG)
            if "model_type" in content:
                return cls._of_transformers(content, folder, name)
        if (folder / OPEN_CLIP_CONFIG).is_file():
            try:
                whole = read_json(folder / OPEN_CLIP_CONFIG)
                content = whole["model_cfg"]
                odd, halves = tuple(unmapped(whole)), ("text_cfg", "vision_cfg")
                text, image = (Part(dict(content[half]) if odd else tower_of(content, half)) for half in halves)
                return cls(OPEN_CLIP, "", content.get("embed_dim"), text, image, odd)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ModelError(
                    f"the config lacks its model_cfg with text_cfg and vision_cfg ({error})",
                    file=folder / OPEN_CLIP_CONFIG, fix="Get the file again.",
                ) from error  # fmt: skip
        held = ", ".join(sorted(file.name for file in folder.iterdir())[:5]) or "nothing"
        found = "its config.json names no model_type" if (folder / CONFIG).is_file() else f"there is no {CONFIG}"
        raise ModelError(
            f"{name} is no model folder: {found}; it holds {held}",
            fix="Give a folder as save_pretrained writes it: config.json, model.safetensors, tokenizer.json, "
            "preprocessor_config.json.",
        )

    @classmethod
    def _of_transformers(cls, content: dict[str, Any], folder: Path, name: str) -> Config:
        from transformers import CONFIG_MAPPING, __version__

        family = str(content["model_type"])
        if family not in CONFIG_MAPPING:
            if "auto_map" in content:
                code = re.findall(r"[\w./-]+(?=\.\w+')", str(content["auto_map"]))
                raise ModelError(
                    f"{name} ({family}) is code of its own ({', '.join(sorted(set(code))) or 'auto_map'}), and "
                    "babelclip runs no code that comes with a model",
                    fix="Choose a model whose family transformers itself has, such as a CLIPModel.",
                )
            raise ModelError(
                f"{name} has the model_type {family!r}, which transformers {__version__} does not know",
                file=folder / CONFIG, fix="Use a newer transformers, or choose another model.",
            )  # fmt: skip
        try:
            config = CONFIG_MAPPING[family].from_dict(content).to_dict()
        except Exception as error:  # validators of transformers raise kinds of their own
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"the config cannot be read ({reason})", file=folder / CONFIG, fix="Get the file again."
            ) from error
        halves = [config.get("text_config"), config.get("vision_config")]
        if not all(isinstance(half, dict) for half in halves):
            raise ModelError(
                f"{name} is of the family {family}, which is no pair of a text tower and an image tower",
                fix="Give a dual encoder, such as a CLIPModel.",
            )
        text, image = Part(halves[0] or {}), Part(halves[1] or {})
        dim = config.get("projection_dim") or text("projection_size", "projection_dim")
        return cls(family, ", ".join(content.get("architectures") or ()), dim, text, image)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: it is damaged.
    """
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(f"the file is damaged ({error})", file=file, fix="Get it again.") from error
