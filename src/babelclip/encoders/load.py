"""Find a base model by name and load it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from babelclip.config import DEFAULT_MODEL
from babelclip.encoders.base import DualEncoder
from babelclip.encoders.bert import AltClipEncoder, ChineseClipEncoder, TwoTowerEncoder
from babelclip.encoders.clip import ClipEncoder, MetaClip2Encoder
from babelclip.encoders.families import OPEN_CLIP
from babelclip.encoders.headers import weight_files
from babelclip.encoders.hub import HubName, fetch_model
from babelclip.encoders.model_config import CONFIG
from babelclip.encoders.names import POLYGLOT, folder_of
from babelclip.encoders.open_clip import OpenClipEncoder, is_open_clip
from babelclip.encoders.siglip import Siglip2Encoder, SiglipEncoder
from babelclip.encoders.videos import FRAMES
from babelclip.errors import ModelError, SettingError
from babelclip.registry import Registry

Loader = Callable[..., DualEncoder]
FAMILIES: Registry[Loader] = Registry(
    "model family",
    {
        "clip": ClipEncoder, "metaclip_2": MetaClip2Encoder, "siglip": SiglipEncoder, "siglip2": Siglip2Encoder,
        "chinese_clip": ChineseClipEncoder, "altclip": AltClipEncoder, "vision-text-dual-encoder": TwoTowerEncoder,
        OPEN_CLIP: OpenClipEncoder,
    },
)  # fmt: skip


def load_encoder(
    name: str | Path = DEFAULT_MODEL, *, device: str | None = None, frames: int = FRAMES
) -> DualEncoder:  # fmt: skip
    """Load a base model.

    Args:
        name: ``pictoclip`` (comes with babelclip), a model's folder, or a hub id such as
            ``openai/clip-vit-large-patch14``; ``owner/name@revision`` pins a branch, a tag or a commit.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; by default a GPU where there is one.
        frames: how many frames stand for a video, at most.

    Raises:
        SettingError: this machine does not have the device, or there are to be no frames.
        ModelError: there is no such model, it is not a dual encoder that we know, or it is damaged.
        UnknownNameError: its family has no loader yet.
    """
    chosen = _find_device(device)
    try:
        source = local_folder(name)
        if source is None:
            source = fetch_model(hub_name(str(name)))
        if (source / POLYGLOT).is_file():
            raise ModelError(
                "it is a folder of packs, and a base model or a shared lexicon is wanted",
                fix="Name the base model itself. Packs are opened by babelclip.Polyglot.load(FOLDER), and by --model "
                "of evaluate, index, search and export.",
            )
        with _naming_damage(source):
            family = OPEN_CLIP if is_open_clip(source) else json.loads((source / CONFIG).read_text())["model_type"]
            if family in FAMILIES:
                weight_files(source)  # says so where there are none, or only pickled ones
            return FAMILIES[family](source, name=str(name), device=chosen, frames=frames)
    except ModelError as error:
        raise ModelError(
            f"cannot load the base model {str(name)!r}: {error.what}", file=error.file, fix=error.fix
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"cannot load the base model {str(name)!r}{offline}: {reason}",
            fix="Give a complete model folder (config.json, model.safetensors, tokenizer.json, "
            "preprocessor_config.json) or a hub id that this machine can reach.",
        ) from error


@contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    """Where something cannot be read in the context, and a JSON file of a folder is damaged, name that file."""
    try:
        yield
    except Exception:  # tokenizers raises bare Exception for a damaged file
        for file in sorted(folder.glob("*.json")):
            try:
                json.loads(file.read_bytes())
            except ValueError as error:
                raise ModelError(f"the file is damaged ({error})", file=file, fix="Get it again.") from error
        raise


def local_folder(name: str | Path) -> Path | None:
    """Return the folder that a model's name stands for; None where it is a hub id.

    Raises:
        ModelError: the name is a path, and there is no such folder.
    """
    folder = folder_of(name)
    if folder is None and HubName.read(str(name)) is None:
        raise ModelError(
            f"there is no folder {str(name)!r}",
            fix=f"Give a folder of a model, a hub id (owner/name, or owner/name@revision), or {DEFAULT_MODEL!r} for "
            "the built-in model.",
        )
    return folder


def hub_name(name: str) -> HubName:
    """Return a hub id taken apart; one that ``local_folder`` found no folder for.

    Raises:
        ModelError: it is no hub id.
    """
    found = HubName.read(name)
    if found is None:
        raise ModelError(f"{name!r} is no hub id", fix="Write owner/name, or owner/name@revision.")
    return found


def _find_device(name: str | None) -> torch.device:
    """Return a device that works; by default a GPU where there is one."""
    try:
        if name is None:
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda":
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun starts one process a GPU
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"there is no device {name!r}", fix="Say cpu, cuda, cuda:1 or mps.") from error
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(f"the device {name!r} cannot be used: {reason}", fix="Try 'cpu'.") from error
    return device
