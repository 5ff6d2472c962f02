"""babelclip teaches a CLIP new languages, one after another, without forgetting the ones it knows.

import babelclip
model = babelclip.load("pictoclip")                 # or a model's folder, or a hub id
model.learn("de", "captions.tsv")                   # columns: image, en, de
vectors = model.encode_texts(["ein roter Apfel"])
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and where they live; imported when they are asked for, so that `import babelclip` needs no torch.
_HOME = {
    "Answer": "babelclip.search.query",
    "BabelclipError": "babelclip.errors",
    "Filter": "babelclip.search.items",
    "Hit": "babelclip.search.items",
    "Pack": "babelclip.packs",
    "Polyglot": "babelclip.packs",
    "Query": "babelclip.search.query",
    "Searcher": "babelclip.search.query",
    "Student": "babelclip.continual",
    "TaskSettings": "babelclip.config",
    "index_folders": "babelclip.search.index",
    "learn_pack": "babelclip.packs",
    "load": "babelclip.continual",
    "load_pack": "babelclip.packs",
    "open_store": "babelclip.search.open",
    "save_pack": "babelclip.packs",
    "read_captions": "babelclip.data",
    "read_results": "babelclip.evaluation",
}
__all__ = [
    "Answer", "BabelclipError", "Filter", "Hit", "Pack", "Polyglot", "Query", "Searcher", "Student", "TaskSettings",
    "__version__", "index_folders", "learn_pack", "load", "load_pack", "open_store", "read_captions", "read_results",
    "save_pack",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'babelclip' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)
