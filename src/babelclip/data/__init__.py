"""Captions in, checked; teacher vectors beside them; what is computed once is kept."""

from babelclip.data.cache import Cache, user_cache
from babelclip.data.captions import Caption, Corpus, read_captions
from babelclip.data.examples import Examples, Teacher
from babelclip.data.features import Features

__all__ = ["Cache", "Caption", "Corpus", "Examples", "Features", "Teacher", "read_captions", "user_cache"]
