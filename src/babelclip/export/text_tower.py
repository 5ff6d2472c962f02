"""The frozen text tower of a base model as an ONNX graph.

The graph begins at token rows that are looked up already and not at token ids: it belongs to the base model, and a pack
is installed without a new one. Its inputs are those of ``ArrangedTower``, all sizes but the width free:

    rows       (N, width) float32   a row for each node of the batch (``encoders.layout``)
    positions  (N,) int64           its position in the text
    node_of    (B, L) int64         node at each place of each text; behind the end, that of the end
    places     (N,) int64           where a node stands first, counted through (B, L) row by row
    ends       (B,) int64           node that each text is pooled at
    visible    (B, L) bool          true up to the end
    vectors    (B, dim) float32     the output, not normalised

A caller that does not look for texts that begin alike makes every token a node of its own. As in the arranged towers,
matrix products run on nodes, attention alone on texts, and the last layer at the ends only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from babelclip.errors import MissingExtraError, ModelError, UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from babelclip.encoders.base import TextTower
    from babelclip.encoders.insert import TowerBuild, TowerShape

PRECISIONS = ("float32", "int8")
OPSET = 23  # the first with Attention; onnxruntime runs it from 1.23 on
IR_VERSION = 11
LARGEST = 2**31  # bytes; protobuf reads no longer messages
INT8_LIMIT = 63  # 7 of 8 bits: a processor without VNNI adds two products in 16 bits, which 127 would overflow


def build_text_tower(tower: TextTower, precision: str = "float32") -> bytes:
    """Return an ONNX model that maps token rows to vectors as a tower does.

    Args:
        tower: of a base model.
        precision: ``float32``, or ``int8``: all matrices in 7-bit whole numbers with a scale for each output; what is
            multiplied with them is rounded to 8 bits with one scale a batch, so that a vector depends a little on the
            texts that are encoded with it.

    Raises:
        UnknownNameError: another precision.
        ModelError: the graph has no such activation, or is too large for one file.
        MissingExtraError: the package ``onnx`` is not installed.
    """
    graph = Graph(tower, precision)
    if graph.size >= LARGEST:
        raise ModelError(
            f"the text tower has {graph.size / 1e9:.1f} GB in {precision}, an ONNX file at most {LARGEST / 1e9:.1f}",
            fix="Take int8, or serve this base model without ONNX.",
        )
    graph.write()
    floats, whole = graph.kinds.FLOAT, graph.kinds.INT64
    inputs: dict[str, tuple[int, Sequence[int | str]]] = {
        "rows": (floats, ["N", tower.shape.width]), "positions": (whole, ["N"]), "node_of": (whole, ["B", "L"]),
        "places": (whole, ["N"]), "ends": (whole, ["B"]), "visible": (graph.kinds.BOOL, ["B", "L"]),
    }  # fmt: skip
    return graph.to_bytes("text_tower", inputs)


class Tower(Protocol):
    """What a graph needs of a tower, of texts or of pictures; see ``encoders.base.TextTower``."""

    shape: TowerShape
    build: TowerBuild
    activation: str
    epsilon: float

    def weights(self) -> dict[str, Tensor]:
        """Return all weights by name."""


class Graph:
    """A graph that is being written; every method that makes a value returns its name."""

    def __init__(self, tower: Tower, precision: str) -> None:
        """Begin with the weights of a tower.

        Raises:
            UnknownNameError: another precision.
            ModelError: there is no such activation.
            MissingExtraError: the package ``onnx`` is not installed.
        """
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
        if tower.activation not in ACTIVATIONS:
            raise ModelError(
                f"no ONNX graph has been written for the activation {tower.activation!r}, known are "
                f"{', '.join(sorted(ACTIVATIONS))}",
                fix="Serve this base model without ONNX.",
            )
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError("onnx", "serve", "Exporting a tower as ONNX") from error
        self._onnx, self._int8 = onnx, precision == "int8"
        self._shape, self._build = tower.shape, tower.build
        self.kinds = onnx.TensorProto
        self._weights = {name: tensor.cpu().numpy() for name, tensor in tower.weights().items()}
        self._activate, self._epsilon = ACTIVATIONS[tower.activation], tower.epsilon
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    @property
    def size(self) -> int:
        """Bytes of all weights, as they will be stored."""
        return sum(
            one.size * (1 if self._int8 and one.ndim == 2 and name != "positions" else 4)
            for name, one in self._weights.items()
        )

    def write(self) -> None:
        """Write the whole tower."""
        positions = self.node("Gather", self.constant(self._weights["positions"]), "positions")
        hidden = self.node("Add", "rows", positions)
        if self._build.norms_last:
            hidden = self._norm(hidden, "entry_norm")
        last = self._shape.layers - 1
        seen = () if self._build.causal else (self._seen_by_all(),)
        for layer in range(last):
            hidden = self._block(f"{layer}", hidden, seen)
        self.node("Identity", self._head(self._last_block(f"{last}", hidden)), name="vectors")

    def to_bytes(
        self, name: str, inputs: Mapping[str, tuple[int, Sequence[int | str]]], facts: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the finished model, whose output is ``vectors`` (B, dim) float32.

        Args:
            name: of the graph.
            inputs: type and shape by name.
            facts: for the model's metadata.
        """
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, name, [helper.make_tensor_value_info(key, *one) for key, one in inputs.items()],
            [helper.make_tensor_value_info("vectors", self.kinds.FLOAT, ["B", self._shape.dim])], self._constants,
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="babelclip"
        )
        if facts:
            helper.set_model_props(model, dict(facts))
        content: bytes = model.SerializeToString()
        return content

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: int | float | str | list[int]) -> str:
        """Add an operator with one output."""
        return self._nodes_of(kind, inputs, [name or f"v{len(self._nodes)}"], attributes)[0]

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant."""
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def _nodes_of(
        self, kind: str, inputs: tuple[str, ...], outputs: list[str], attributes: dict[str, Any]
    ) -> list[str]:
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def _parts(self, value: str, count: int) -> list[str]:
        """Split the last axis evenly."""
        names = [f"v{len(self._nodes)}_{part}" for part in range(count)]
        return self._nodes_of("Split", (value,), names, {"axis": -1, "num_outputs": count})

    def _block(self, layer: str, hidden: str, seen: tuple[str, ...]) -> str:
        """One layer, all nodes: (N, width) to (N, width); ``seen`` is what places see where that is not causal."""
        fused = self._linear(self._before(layer, hidden), f"{layer}.attention_in")
        parts = self._parts(self.node("Gather", fused, "node_of"), 3)
        mixed = self.node("Attention", *parts, *seen, is_causal=int(self._build.causal), **self._heads())
        mixed = self.node("Gather", self._flat(mixed), "places")
        return self._after(layer, hidden, self._linear(mixed, f"{layer}.attention_out"))

    def _last_block(self, layer: str, hidden: str) -> str:
        """The last layer at the ends: (N, width) to (B, width)."""
        width, name = self._shape.width, f"{layer}.attention_in"
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        states = self._before(layer, hidden)
        asking = self._operand(self.node("Gather", states, "ends"))
        query = self.node(
            "Unsqueeze", self._product(asking, weight[:width], bias[:width]), self.constant(np.array([1]))
        )
        fused = self._product(self._operand(states), weight[width:], bias[width:])
        key, value = self._parts(self.node("Gather", fused, "node_of"), 2)
        mixed = self._flat(self.node("Attention", query, key, value, self._seen(), **self._heads()))
        pooled = self.node("Gather", hidden, "ends")
        return self._after(layer, pooled, self._linear(mixed, f"{layer}.attention_out"))

    def _seen(self) -> str:
        """Which places are seen by one that looks: (B, 1, 1, L)."""
        return self.node("Unsqueeze", "visible", self.constant(np.array([1, 2])))

    def _seen_by_all(self) -> str:
        """The same for each place that looks: (B, 1, L, L); onnxruntime does not repeat it by itself."""
        length = self.node("Slice", self.node("Shape", "visible"), *(self.constant(np.array([at])) for at in (1, 2)))
        one = self.constant(np.array([1]))
        return self.node("Expand", self._seen(), self.node("Concat", one, one, length, one, axis=0))

    def _before(self, layer: str, hidden: str) -> str:
        """States to those that queries, keys and values are made of."""
        return hidden if self._build.norms_last else self._norm(hidden, f"{layer}.norm1")

    def _after(self, layer: str, hidden: str, mixed: str) -> str:
        """What entered a block, and what its attention made of it, to what leaves it."""
        hidden = self.node("Add", hidden, mixed)
        if self._build.norms_last:
            hidden = self._norm(hidden, f"{layer}.norm1")
            return self._norm(self.node("Add", hidden, self._mlp(layer, hidden)), f"{layer}.norm2")
        return self.node("Add", hidden, self._mlp(layer, self._norm(hidden, f"{layer}.norm2")))

    def _mlp(self, layer: str, hidden: str) -> str:
        inner = self._linear(hidden, f"{layer}.mlp_in")
        return self._linear(self._activate(self, inner), f"{layer}.mlp_out")

    def _head(self, pooled: str) -> str:
        """(B, width) to (B, dim)."""
        if "final_norm.weight" in self._weights:
            pooled = self._norm(pooled, "final_norm")
        if "dense.weight" in self._weights:
            pooled = self._linear(pooled, "dense")
            pooled = self.node("Tanh", pooled) if self._build.bends else pooled
        return self._product(self._operand(pooled), self._weights["projection"], self._weights.get("projection_bias"))

    def _heads(self) -> dict[str, Any]:
        return {"q_num_heads": self._shape.heads, "kv_num_heads": self._shape.heads}

    def _flat(self, value: str) -> str:
        """Texts to places: (B, L, width) to (B * L, width)."""
        return self.node("Reshape", value, self.constant(np.array([-1, self._shape.width])))

    def _norm(self, value: str, name: str) -> str:
        affine = (self.constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.node("LayerNormalization", value, *affine, axis=-1, epsilon=self._epsilon)

    def _linear(self, value: str, name: str) -> str:
        return self._product(self._operand(value), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _operand(self, value: str) -> tuple[str, ...]:
        """What ``_product`` multiplies: the value itself, or its whole numbers, their scale and their zero."""
        if not self._int8:
            return (value,)
        names = [f"v{len(self._nodes)}_{part}" for part in ("whole", "scale", "zero")]
        return tuple(self._nodes_of("DynamicQuantizeLinear", (value,), names, {}))

    def _product(self, operand: tuple[str, ...], weight: NDArray[Any], bias: NDArray[Any] | None) -> str:
        """(N, in) by the weight (out, in) and bias (out,) of a linear layer."""
        if not self._int8:
            constants = [self.constant(one) for one in (weight, bias) if one is not None]
            return self.node("Gemm", *operand, *constants, transB=1)
        value, scale, zero = operand
        scales = np.maximum(np.abs(weight).max(axis=1), np.float32(1e-30)) / np.float32(INT8_LIMIT)
        whole = self.constant(np.ascontiguousarray(np.rint(weight / scales[:, None]).astype(np.int8).T))
        product = self.node("MatMulInteger", value, whole, zero)
        product = self.node("Cast", product, to=self.kinds.FLOAT)
        product = self.node("Mul", product, self.node("Mul", scale, self.constant(scales)))
        return product if bias is None else self.node("Add", product, self.constant(bias))


def _quick_gelu(graph: Graph, value: str) -> str:
    factor = graph.constant(np.array(1.702, np.float32))
    return graph.node("Mul", value, graph.node("Sigmoid", graph.node("Mul", value, factor)))


def _silu(graph: Graph, value: str) -> str:
    return graph.node("Mul", value, graph.node("Sigmoid", value))


def _relu(graph: Graph, value: str) -> str:
    return graph.node("Relu", value)


def _gelu(graph: Graph, value: str) -> str:
    return graph.node("Gelu", value)


def _gelu_tanh(graph: Graph, value: str) -> str:
    return graph.node("Gelu", value, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "quick_gelu": _quick_gelu, "gelu": _gelu, "gelu_new": _gelu_tanh, "gelu_pytorch_tanh": _gelu_tanh, "relu": _relu,
    "silu": _silu,
}  # fmt: skip
