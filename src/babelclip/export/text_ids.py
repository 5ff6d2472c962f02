"""One language's text tower as an ONNX graph that begins at token ids: its rows are part of the graph.

    input_ids  (B, L) int64      start, pieces, end; behind the end anything that is an id, such as the end again, or
                                 padding up to the whole context where the tower reads it
    vectors    (B, dim) float32  the output, not normalised

Every place is a node of the graph of ``text_tower``, padding too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from babelclip.errors import ModelError
from babelclip.export import text_tower
from babelclip.export.text_tower import Graph

if TYPE_CHECKING:
    from torch import Tensor

    from babelclip.export.text_tower import Tower


def build_text_model(
    tower: Tower, table: Tensor, eos: int, precision: str = "float32", facts: Mapping[str, str] | None = None
) -> bytes:
    """Return an ONNX model that maps token ids to vectors.

    Args:
        tower: the text tower.
        table: (V, width) row of each id.
        eos: id of the end-of-text token.
        precision: ``float32``, or ``int8``: matrices as in ``build_text_tower``, rows in 8 bits with a scale each.
        facts: for the model's metadata.

    Raises:
        UnknownNameError: another precision.
        ModelError: there is no such activation, or all is too large for one file.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    graph = _IdGraph(tower, precision)
    rows = table.cpu().numpy()
    check_size(graph.size + rows.size * (1 if precision == "int8" else 4), "text tower", precision)
    graph.begin(rows, eos)
    graph.write()
    return graph.to_bytes("text", {"input_ids": (graph.kinds.INT64, ["B", "L"])}, facts)


def check_size(size: int, what: str, precision: str) -> None:
    """Refuse what does not fit into one file.

    Raises:
        ModelError: it is too large.
    """
    if size >= text_tower.LARGEST:
        smaller = "Take --precision int8, or " if what == "text tower" and precision != "int8" else ""
        way = f"{smaller}export to transformers or sentence-transformers."
        raise ModelError(
            f"the {what} has {size / 1e9:.1f} GB in {precision}, an ONNX file at most {text_tower.LARGEST / 1e9:.1f}",
            fix=way[0].upper() + way[1:],
        )


class _IdGraph(Graph):
    """Makes the inputs of the text tower from token ids."""

    def begin(self, table: np.ndarray, eos: int) -> None:
        """Write what stands before the tower."""
        zero, one = (self.constant(np.array(number, np.int64)) for number in (0, 1))
        flat = self.constant(np.array([-1], np.int64))
        shape = self.node("Shape", "input_ids")
        texts, length = self.node("Gather", shape, zero), self.node("Gather", shape, one)
        self.node("Range", zero, self.node("Size", "input_ids"), one, name="places")
        self.node("Reshape", "places", shape, name="node_of")
        self.node("Mod", "places", length, name="positions")
        first = self.node("Mul", self.node("Range", zero, texts, one), length)
        if self._build.pools == "last":
            self.node("Equal", "input_ids", "input_ids", name="visible")
            self.node("Add", first, self.node("Sub", length, one), name="ends")
        else:
            self._ends(eos, length, first)
        self._rows(table, self.node("Reshape", "input_ids", flat))

    def _ends(self, eos: int, length: str, first: str) -> None:
        """What is visible goes to the first end of a text; there, or at its ``first`` place, it is pooled."""
        zero, one = (self.constant(np.array(number, np.int64)) for number in (0, 1))
        ended = self.node("Equal", "input_ids", self.constant(np.array(eos, np.int64)))
        ended = self.node("Cast", ended, to=self.kinds.INT32)
        end = self.node("ArgMax", ended, axis=1, keepdims=1, select_last_index=0)
        self.node("LessOrEqual", self.node("Range", zero, length, one), end, name="visible")
        place = zero if self._build.pools == "first" else self.node("Reshape", end, self.constant(np.array([-1])))
        self.node("Add", first, place, name="ends")

    def _rows(self, table: np.ndarray, ids: str) -> None:
        """Look up rows."""
        if not self._int8:
            self.node("Gather", self.constant(table), ids, name="rows")
            return
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.float32(1e-30)) / np.float32(127)
        whole = self.node("Gather", self.constant(np.rint(table / scales).astype(np.int8)), ids)
        whole = self.node("Cast", whole, to=self.kinds.FLOAT)
        self.node("Mul", whole, self.node("Gather", self.constant(scales), ids), name="rows")
