"""The frozen world: base models behind one interface. A new family is one file and one line in ``FAMILIES``."""

from babelclip.encoders.base import DualEncoder
from babelclip.encoders.load import DEFAULT_MODEL, FAMILIES, load_encoder
from babelclip.encoders.pictures import open_picture
from babelclip.encoders.tower import encode_tokens

__all__ = ["DEFAULT_MODEL", "FAMILIES", "DualEncoder", "encode_tokens", "load_encoder", "open_picture"]
