"""Where results that never change are kept between runs: tokens of texts, vectors of the frozen base model.

    $BABELCLIP_CACHE, else $XDG_CACHE_HOME/babelclip, else ~/.cache/babelclip; BABELCLIP_CACHE=off keeps nothing
    tokens/KEY.safetensors               key: sha256 over tokenizer and texts
    features/FINGERPRINT/DTYPE/          key: content of the picture or text; see ``FeatureStore``. Names of pictures'
                                         shards tell how they were read (``encoders.looking.READER``)
    onnx/FINGERPRINT/                    text towers as ONNX graphs; see ``export.onnx_tower``

The folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from babelclip.data.features import FeatureStore, keep
from babelclip.encoders.looking import READER
from babelclip.errors import FormatError, UnknownNameError
from babelclip.lexicon import Tokens, tokenise

DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Cache:
    """A folder of things that are computed once, or, with ``folder=None``, the memory of this process."""

    def __init__(self, folder: Path | str | None, *, dtype: str = "float32") -> None:
        """Use a folder; it is made when something is stored.

        Args:
            folder: the folder, or None.
            dtype: of stored vectors: ``float32``, or ``float16`` for half the space.

        Raises:
            UnknownNameError: another dtype.
        """
        if dtype not in DTYPES:
            raise UnknownNameError("dtype of the cache", dtype, DTYPES)
        self.folder = None if folder is None else Path(folder)
        self._dtype = dtype

    def features(self, fingerprint: str, kind: str) -> FeatureStore:
        """Open the vectors of a base model; ``kind`` is ``images`` or ``texts``.

        Raises:
            FormatError: a file is damaged.
        """
        folder = None if self.folder is None else self.folder / "features" / fingerprint[:16] / self._dtype
        name = f"{kind}{READER}" if kind == "images" else kind
        return FeatureStore(folder, name, dtype=DTYPES[self._dtype])

    def tokens(self, tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
        """Cut texts, or map what was cut before into memory.

        Raises:
            FormatError: the stored file is damaged.
        """
        if self.folder is None:
            return tokenise(tokenizer, texts)
        digest = hashlib.sha256(tokenizer.to_str().encode())
        for text in texts:
            encoded = text.encode()
            digest.update(b"%d " % len(encoded) + encoded)
        file = self.folder / "tokens" / f"{digest.hexdigest()}.safetensors"
        if not file.is_file():
            made = tokenise(tokenizer, texts)
            keep(file, save({"ids": made.ids, "offsets": made.offsets}, {"sha256": _sha256(made)}))
            return made
        fix = "Delete the file; the texts will be tokenised again."
        try:
            with safe_open(file, "pt") as opened:
                expected = (opened.metadata() or {})["sha256"]
            tensors = load_file(file)
            found = Tokens(tensors["ids"], tensors["offsets"])
        except (SafetensorError, KeyError) as error:
            raise FormatError(f"damaged ({error})", file=file, fix=fix) from error
        if _sha256(found) != expected:
            raise FormatError(f"damaged: sha256 is {_sha256(found)[:12]}, expected {expected[:12]}", file=file, fix=fix)
        return found


def _sha256(tokens: Tokens) -> str:
    digest = hashlib.sha256(tokens.ids.numpy().data)
    digest.update(tokens.offsets.numpy().data)
    return digest.hexdigest()


def user_cache(folder: str | None = None, *, dtype: str = "float32") -> Cache:
    """Return the cache in a folder, or else the user's own, which environment variables move; see the module.

    Args:
        folder: the folder, or ``off`` for none; None: as the environment says.
        dtype: see ``Cache``.
    """
    place = folder or os.environ.get("BABELCLIP_CACHE", "")
    if place == "off":
        return Cache(None, dtype=dtype)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Cache(Path(place) if place else base / "babelclip", dtype=dtype)
