"""`onnx_model`: a case as ONNX, the way a user in earnest would export it to be run step by step.

Each layer's state is an input and an output of its own, so nothing is split and joined on the way;
and where asked, LSTM and GRU are written out as matrix products, which every tool can quantize.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.cases import Case
from csbrnn.bench.contender import UnavailableError, require_package
from csbrnn.errors import UnsupportedModelError

__all__ = ["onnx_model"]


def onnx_model(case: Case, *, step_graph: bool = False) -> Any:
    """Writes a case's dense model as ONNX.

    Inputs and outputs after the first are states, in one order; that of an input ``"a"`` is
    ``"a.next"``.

    Args:
        case: What to write.
        step_graph: Write LSTM and GRU out as matrix products; the graph then takes one time step.

    Raises:
        UnavailableError: onnx is not installed, ONNX has no operator for a cell, or a cell can't be
            written out.
    """
    onnx = require_package("onnx")
    from csbrnn.nn import to_onnx

    try:
        model = to_onnx(case.dense)
    except UnsupportedModelError as error:
        raise UnavailableError(str(error)) from None
    _separate_states(onnx, model.graph)
    if step_graph:
        for entry in (*model.graph.input, *model.graph.output):
            for dim in entry.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_value = 1
        _StepGraph(onnx, model.graph).write()
    onnx.checker.check_model(model, full_check=True)
    return model


def _separate_states(onnx: Any, graph: Any) -> None:
    """Makes pieces of states the graph's own inputs and outputs, instead of `Split` and `Concat`.

    Inputs that a `Split` alone reads, and outputs that a `Concat` of the same many gives.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    splits = {n.input[0]: n for n in graph.node if n.op_type == "Split"}
    joins = {n.output[0]: n for n in graph.node if n.op_type == "Concat"}
    inputs, outputs = [graph.input[0]], [graph.output[0]]
    for state in list(graph.input)[1:]:
        after = next(entry for entry in graph.output if entry.name == f"{state.name}.next")
        split, join = splits.get(state.name), joins.get(after.name)
        if split is None or join is None or readers[state.name] > 1:
            inputs.append(state)
            outputs.append(after)
            continue
        for k, (before, result) in enumerate(zip(split.output, join.input, strict=True)):
            names = (f"{state.name}.{k}", f"{state.name}.{k}.next")
            _rename(graph, before, names[0])
            _rename(graph, result, names[1])
            for name, entries in zip(names, (inputs, outputs), strict=True):
                piece = onnx.ValueInfoProto()
                piece.CopyFrom(state)
                piece.name = name
                first = piece.type.tensor_type.shape.dim[0]
                first.dim_value //= len(split.output)
                entries.append(piece)
        graph.node.remove(split)
        graph.node.remove(join)
    for entries, found in ((graph.input, inputs), (graph.output, outputs)):
        copies = []
        for entry in found:
            copies.append(onnx.ValueInfoProto())
            copies[-1].CopyFrom(entry)
        del entries[:]
        entries.extend(copies)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                if name == old:
                    names[k] = new


class _StepGraph:
    """Replaces LSTM and GRU by what they compute at one time step."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx, self._graph = onnx, graph
        self._weights = {
            entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer
        }
        self._nodes: list[Any] = []
        self._place = ""

    def write(self) -> None:
        written = {"LSTM": self._lstm, "GRU": self._gru}
        for node in self._graph.node:
            if node.op_type == "RNN" or (node.op_type == "LSTM" and len(node.input) > 7):
                raise UnavailableError("an Elman RNN or peephole LSTM is not written out")
            if node.op_type in written:
                self._place = node.output[0]
                written[node.op_type](node)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input}
        unused = [entry for entry in self._graph.initializer if entry.name not in used]
        for entry in unused:
            self._graph.initializer.remove(entry)
        nodes = []
        for node in self._nodes:  # the graph's own would be lost with what they replace
            nodes.append(self._onnx.NodeProto())
            nodes[-1].CopyFrom(node)
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def _lstm(self, node: Any) -> None:
        """ONNX's order of gates: i o f c. One product with x and h joined."""
        W, R, B = self._parameters(node)
        x, h, c = node.input[0], node.input[5], node.input[6]
        joined = self._add("Concat", [x, h], axis=-1)
        gates = self._affine(joined, np.concatenate((W, R), axis=1), B[0] + B[1])
        size = len(W) // 4
        iof, g = self._split(gates, [3 * size, size])
        i, o, f = self._split(self._add("Sigmoid", [iof]), [size] * 3)
        kept = self._add("Mul", [f, c])
        new = self._add("Mul", [i, self._add("Tanh", [g])])
        memory = self._add("Add", [kept, new], result=node.output[2])
        h = self._add("Mul", [o, self._add("Tanh", [memory])], result=node.output[1])
        self._outputs(node, h)

    def _gru(self, node: Any) -> None:
        """ONNX's order of gates: z r h."""
        linear_before_reset = any(a.name == "linear_before_reset" and a.i for a in node.attribute)
        if not linear_before_reset:
            raise UnavailableError("a GRU that resets before the product is not written out")
        W, R, B = self._parameters(node)
        x, h, size = node.input[0], node.input[5], len(W) // 3
        zr_x, n_x = self._split(self._affine(x, W, B[0]), [2 * size, size])
        zr_h, n_h = self._split(self._affine(h, R, B[1]), [2 * size, size])
        gates = self._add("Sigmoid", [self._add("Add", [zr_x, zr_h])])
        z, r = self._split(gates, [size, size])
        n = self._add("Tanh", [self._add("Add", [n_x, self._add("Mul", [r, n_h])])])
        # (1 - z) n + z h = n + z (h - n)
        moved = self._add("Mul", [z, self._add("Sub", [h, n])])
        h = self._add("Add", [n, moved], result=node.output[1])
        self._outputs(node, h)

    def _parameters(self, node: Any) -> tuple[NDArray[Any], NDArray[Any], Any]:
        W, R = (self._weights[node.input[k]] for k in (1, 2))
        if len(W) != 1:
            raise UnavailableError("a bidirectional network is not written out")
        rows = W.shape[1]
        zeros = np.zeros((2, rows), np.float32)
        B = self._weights[node.input[3]].reshape(2, rows) if node.input[3] else zeros
        return W[0], R[0], B

    def _outputs(self, node: Any, h: str) -> None:
        """The sequence of one step: (1, 1, size) to (1, directions, 1, size)."""
        self._add("Unsqueeze", [h, self._constant(np.array([1], np.int64))], result=node.output[0])

    def _affine(self, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        product = self._add("MatMul", [x, self._constant(weight.T)])
        return self._add("Add", [product, self._constant(bias)])

    def _split(self, source: str, sizes: Sequence[int]) -> list[str]:
        names = [f"{source}:{k}" for k in range(len(sizes))]
        sizes_name = self._constant(np.array(sizes, np.int64))
        self._nodes.append(
            self._onnx.helper.make_node("Split", [source, sizes_name], names, axis=-1)
        )
        return names

    def _add(self, operator: str, inputs: list[str], result: str = "", **attributes: Any) -> str:
        name = result or f"{self._place}/{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(operator, inputs, [name], name=name, **attributes)
        )
        return name

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"{self._place}/constant {len(self._graph.initializer)}"
        array = np.ascontiguousarray(values)
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(array, name))
        return name
