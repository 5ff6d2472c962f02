"""The frozen world: base models behind one interface. A new family is one file and one line in ``FAMILIES``."""

from babelclip.encoders.base import DualEncoder
from babelclip.encoders.load import DEFAULT_MODEL, FAMILIES, load_encoder
from babelclip.encoders.pictures import open_picture
from babelclip.encoders.tower import encode_tokens
from babelclip.encoders.videos import FRAMES, Frames, is_video, sample_frames

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
