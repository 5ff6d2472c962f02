"""The frozen world: base models behind one interface. A new family is one file and one line in ``FAMILIES``.

Names are imported when they are asked for: who only looks for pictures and videos needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babelclip.config import DEFAULT_MODEL
    from babelclip.encoders.base import DualEncoder
    from babelclip.encoders.load import FAMILIES, load_encoder
    from babelclip.encoders.pictures import open_picture
    from babelclip.encoders.tower import encode_tokens
    from babelclip.encoders.videos import FRAMES, Frames, is_video, sample_frames

_HOME = {
    "DEFAULT_MODEL": "babelclip.config",
    "FAMILIES": "babelclip.encoders.load",
    "FRAMES": "babelclip.encoders.videos",
    "DualEncoder": "babelclip.encoders.base",
    "Frames": "babelclip.encoders.videos",
    "encode_tokens": "babelclip.encoders.tower",
    "is_video": "babelclip.encoders.videos",
    "load_encoder": "babelclip.encoders.load",
    "open_picture": "babelclip.encoders.pictures",
    "sample_frames": "babelclip.encoders.videos",
}
__all__ = [
    "DEFAULT_MODEL",
    "FAMILIES",
    "FRAMES",
    "DualEncoder",
    "Frames",
    "encode_tokens",
    "is_video",
    "load_encoder",
    "open_picture",
    "sample_frames",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'babelclip.encoders' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)
