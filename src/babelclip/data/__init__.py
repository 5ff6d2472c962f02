"""Captions in, checked; teacher vectors beside them."""

from babelclip.data.captions import Caption, Corpus, read_captions
from babelclip.data.examples import Examples, Teacher

__all__ = ["Caption", "Corpus", "Examples", "Teacher", "read_captions"]
