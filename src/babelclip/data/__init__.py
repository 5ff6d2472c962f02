"""Captions in, checked; teacher vectors beside them; what is computed once is kept."""

from babelclip.data.batch import Batch
from babelclip.data.cache import Cache, user_cache
from babelclip.data.captions import read_captions
from babelclip.data.examples import Examples, Teacher
from babelclip.data.features import Features
from babelclip.data.gather import Caption, Corpus, Gatherer, Images
from babelclip.data.joined import join_examples
from babelclip.data.vectors import ImageVectors, read_image_vectors

__all__ = [
    "Batch", "Cache", "Caption", "Corpus", "Examples", "Features", "Gatherer", "ImageVectors", "Images", "Teacher",
    "join_examples", "read_captions", "read_image_vectors", "user_cache",
]  # fmt: skip
