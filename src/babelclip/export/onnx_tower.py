"""The fast path for texts on a CPU: a polyglot whose text tower is run by onnxruntime.

    fast = with_onnx(load_polyglot("packs"))          # from here on as any other polyglot
    fast.encode_texts(["a red square", "ein Feld"])

    CACHE/onnx/FINGERPRINT/text-FORMAT-PRECISION-HASH.onnx      HASH: of the file; what does not fit it is made again

Texts whose language brings modules (acquirers, LoRA, ...) and pictures are still the base model's own affair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from babelclip.data.cache import Cache, user_cache
from babelclip.data.features import keep
from babelclip.errors import MissingExtraError, SettingError
from babelclip.export.text_tower import build_text_tower
from babelclip.files import sha256

if TYPE_CHECKING:
    from babelclip.encoders import DualEncoder
    from babelclip.encoders.layout import Layout
    from babelclip.packs import Polyglot

FORMAT = 1
"""Of the graph; raised whenever ``build_text_tower`` writes another one."""
INPUTS = ("positions", "places", "ends")


def with_onnx(
    polyglot: Polyglot, *, precision: str = "float32", threads: int | None = None, cache: Cache | None = None
) -> Polyglot:
    """Return the same polyglot, whose texts go through onnxruntime; also after ``install`` and ``remove``.

    In float32 every unit vector stays within 1e-4 of the base model's tower, English too (about 1e-6 in practice). In
    int8 vectors differ more (``bench/onnx_texts.py`` says what that costs). What learns from a polyglot uses the base
    model's own tower as before.

    Args:
        polyglot: with any packs.
        precision: ``float32`` or ``int8``; see ``build_text_tower``.
        threads: of one call; by default as many as torch takes.
        cache: where the graph is kept; by default the user's own.

    Raises:
        MissingExtraError: the package ``onnxruntime`` or ``onnx`` is not installed.
        UnknownNameError: another precision.
        SettingError: less than one thread.
        ModelError: the base model's tower cannot be a graph.
        BabelclipError: the cache cannot be written to.
    """
    return polyglot.with_tower(OnnxTower(polyglot.encoder, precision=precision, threads=threads, cache=cache))


class OnnxTower:
    """The text tower of a base model, run by onnxruntime on the CPU; calls from many threads may overlap."""

    def __init__(
        self,
        encoder: DualEncoder,
        *,
        precision: str = "float32",
        threads: int | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Find the graph in the cache or build it; arguments and errors as for ``with_onnx``."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "serve", "Running a text tower as ONNX") from error
        threads = torch.get_num_threads() if threads is None else threads
        if threads < 1:
            raise SettingError(f"{threads} threads", fix="Take 1 or more.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False  # it is for batches of one size
        folder = (user_cache() if cache is None else cache).folder
        model: bytes | str
        if folder is None:
            model = build_text_tower(encoder.text_tower, precision)
        else:
            name = f"text-{FORMAT}-{precision}"
            place = folder / "onnx" / encoder.fingerprint
            model = str(_kept(place, name, lambda: build_text_tower(encoder.text_tower, precision)))
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: Tensor, layout: Layout) -> Tensor:
        """Rows of a batch's nodes (N, width) to vectors of its texts (B, dim), on the CPU, not normalised."""
        (band,) = layout.bands
        inputs = {name: getattr(layout, name).cpu().numpy() for name in INPUTS}
        inputs["rows"] = rows.detach().cpu().numpy()
        inputs["node_of"] = layout.node_of.view(band.visible.shape).cpu().numpy()
        inputs["visible"] = band.visible.cpu().numpy()
        (vectors,) = self._session.run(None, inputs)
        return torch.from_numpy(vectors)


def _kept(folder: Path, name: str, build: Callable[[], bytes]) -> Path:
    """A file of the cache that is as it was written; built where there is none, or where it is damaged."""
    for file in sorted(folder.glob(f"{name}-*.onnx")):
        if file.stem == f"{name}-{sha256(file)[:16]}":
            return file
        file.unlink(missing_ok=True)
    content = build()
    file = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    keep(file, content)
    return file
