"""`to_onnx`: a packed model as an ONNX graph, with its states as inputs and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from csbrnn import cells
from csbrnn import model as packed
from csbrnn.cells import Direction, Stack
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import Matrix
from csbrnn.optional import needed_for

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "to_onnx"]

#: 13 brought Softmax over one axis and Split with sizes as input; nothing newer is needed, and
#: every run time of the last years has it.
OPSET = 13
#: The IR version that came with opset 13; newer ones shut out older run times.
_IR_VERSION = 7

_ACTIVATIONS = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
}
_COMBINE = {"add": "Add", "multiply": "Mul"}
#: Cell -> (operator, ours -> ONNX's order of gates, attributes). ONNX stacks an LSTM's gates as
#: i o f c where PyTorch has i f g o, and a GRU's as z r h where PyTorch has r z n.
_OPERATORS: dict[cells.Cell, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    cells.LSTM: ("LSTM", (0, 3, 1, 2), {}),
    cells.LSTM_PEEPHOLE: ("LSTM", (0, 3, 1, 2), {}),
    cells.GRU: ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    cells.GRU_RESET_BEFORE: ("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    cells.RNN_TANH: ("RNN", (0,), {"activations": ["Tanh"]}),
    cells.RNN_RELU: ("RNN", (0,), {"activations": ["Relu"]}),
}
#: An LSTM's peepholes: ours i f o, ONNX's i o f.
_PEEPHOLES = (0, 2, 1)


def to_onnx(model: packed.PackedModel, path: str | Path | None = None) -> onnx.ModelProto:
    """Writes a packed model as dense fp32 ONNX.

    The graph's input is "input", its output "output"; the states of each recurrent layer enter as
    "<layer>.<state>" and leave as "<layer>.<state>.next".

    Args:
        model: The packed model.
        path: Where to save it; nowhere if left out.

    Returns:
        The ONNX model, checked.

    Shape:
        input: (seq_len, batch, size) features, or (seq_len, batch) int64 tokens.
        output: (seq_len, batch, output_size).
        states: (layers * directions, batch, length).

    Raises:
        UnsupportedModelError: ONNX has no operator for a cell, or the model is not valid.
        MissingDependencyError: The package onnx is not installed.
    """
    with needed_for("writing ONNX", "onnx"):
        import onnx
    packed.verify(model)
    reasons = [
        f"layer {layer.name}: ONNX has no operator for the cell {layer.stack.cell.name!r}; it has "
        f"{', '.join(sorted(cell.name for cell in _OPERATORS))}"
        for layer in model.layers
        if isinstance(layer, packed.Recurrent) and layer.stack.cell not in _OPERATORS
    ]
    if reasons:
        raise UnsupportedModelError("can't write the model as ONNX", reasons)
    proto: onnx.ModelProto = _Writer(onnx).write(model)
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        onnx.save(proto, str(path))
    return proto


class _Writer:
    """Collects the nodes, weights, inputs and outputs of one graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def write(self, model: packed.PackedModel) -> Any:
        helper, types = self._onnx.helper, self._onnx.TensorProto
        axes: list[str | int] = ["seq_len", "batch"]
        if isinstance(model.input, packed.Features):
            self._declare(self._inputs, packed.INPUT, [*axes, model.input.size])
        else:
            tokens = helper.make_tensor_value_info(packed.INPUT, types.INT64, axes)
            self._inputs.append(tokens)
        self._declare(self._outputs, "output", [*axes, model.output_size])
        for layer in model.layers:
            self._layer(layer)
        self._add("Identity", [_value(model.output)], "output")
        graph = helper.make_graph(
            self._nodes,
            "csbrnn",
            self._inputs,
            self._outputs,
            list(self._initializers.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="csbrnn"
        )

    def _layer(self, layer: packed.Layer) -> None:
        sources, result = [_value(name) for name in layer.inputs], _value(layer.name)
        match layer:
            case packed.Embedding():
                table = self._constant(f"{layer.name}/weight", layer.weight.to_dense())
                self._add("Gather", [table, *sources], result)
            case packed.Linear():
                weight = self._constant(f"{layer.name}/weight", layer.weight.to_dense().T)
                product = result if layer.bias is None else f"{layer.name}/product"
                self._add("MatMul", [*sources, weight], product)
                if layer.bias is not None:
                    bias = self._constant(f"{layer.name}/bias", layer.bias)
                    self._add("Add", [product, bias], result)
            case packed.Activation():
                operator, attributes = _ACTIVATIONS[layer.function]
                self._add(operator, sources, result, **attributes)
            case packed.Combine(function="concatenate"):
                self._add("Concat", sources, result, axis=-1)
            case packed.Combine():
                self._fold(_COMBINE[layer.function], sources, result)
            case packed.Recurrent():
                self._recurrent(layer, sources[0], result)
            case _:
                raise AssertionError(f"a layer of kind {layer.KIND} has no ONNX form")

    def _fold(self, operator: str, sources: list[str], result: str) -> None:
        """An operator of two operands over two or more."""
        total = sources[0]
        for k, source in enumerate(sources[1:], start=2):
            partial = result if k == len(sources) else f"{result}/{k}"
            self._add(operator, [total, source], partial)
            total = partial

    def _recurrent(self, layer: packed.Recurrent, x: str, result: str) -> None:
        """One operator a layer of the stack, both directions in it."""
        stack, count = layer.stack, layer.stack.num_layers
        before = {state: self._state_in(layer, state) for state in stack.cell.states}
        after: dict[str, list[str]] = {state: [] for state in stack.cell.states}
        directions = list(stack.directions())
        for k in range(count):
            place = f"{layer.name}/{k}"
            operator, order, attributes = _OPERATORS[stack.cell]
            own = directions[k * stack.num_directions : (k + 1) * stack.num_directions]
            weights = [
                self._constant(f"{place}/{name}", values) if values is not None else ""
                for name, values in _stacked(layer, own, order).items()
            ]
            states = [pieces[k] for pieces in before.values()]
            peepholes = _peepholes(layer, own)
            if peepholes is not None:
                states.append(self._constant(f"{place}/P", peepholes))
            for state in after:
                after[state].append(f"{place}/{state}")
            self._add(
                operator,
                [x, *weights, "", *states],
                f"{place}/Y",
                *(names[-1] for names in after.values()),
                hidden_size=stack.hidden_size,
                direction="bidirectional" if stack.bidirectional else "forward",
                **_per_direction(attributes, stack),
            )
            x = result if k == count - 1 else f"{place}/y"
            self._join_directions(f"{place}/Y", x, stack.num_directions)
        for state, names in after.items():
            self._state_out(layer, state, names)

    def _join_directions(self, source: str, result: str, directions: int) -> None:
        """From (seq_len, directions, batch, size) to (seq_len, batch, directions * size)."""
        if directions == 1:
            self._add("Squeeze", [source, self._integers("axis 1", [1])], result)
        else:
            self._add("Transpose", [source], f"{result}/t", perm=[0, 2, 1, 3])
            self._add("Reshape", [f"{result}/t", self._integers("join", [0, 0, -1])], result)

    def _state_in(self, layer: packed.Recurrent, state: str) -> list[str]:
        """Declares a state of all layers; returns the name of each layer's piece."""
        stack, name = layer.stack, f"{layer.name}.{state}"
        count, length = stack.state_shapes()[state]
        self._declare(self._inputs, name, [count, "batch", length])
        if stack.num_layers == 1:
            return [name]
        pieces = [f"{layer.name}/{k}/{state}/before" for k in range(stack.num_layers)]
        sizes = self._integers(
            f"{stack.num_layers} x {stack.num_directions}",
            [stack.num_directions] * stack.num_layers,
        )
        self._add("Split", [name, sizes], *pieces, axis=0)
        return pieces

    def _state_out(self, layer: packed.Recurrent, state: str, names: list[str]) -> None:
        count, length = layer.stack.state_shapes()[state]
        name = f"{layer.name}.{state}.next"
        self._declare(self._outputs, name, [count, "batch", length])
        self._add("Concat", names, name, axis=0)

    def _declare(self, values: list[Any], name: str, shape: list[Any]) -> None:
        kind = self._onnx.TensorProto.FLOAT
        values.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))

    def _add(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> None:
        self._nodes.append(
            self._onnx.helper.make_node(operator, inputs, list(outputs), **attributes)
        )

    def _integers(self, name: str, values: list[int]) -> str:
        return self._constant(f"/{name}", np.array(values, np.int64))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._initializers:
            array = np.ascontiguousarray(values)
            self._initializers[name] = self._onnx.numpy_helper.from_array(array, name)
        return name


def _value(layer: str) -> str:
    # Layers may be called "output"; a "/" keeps their values apart from the graph's own names.
    return layer if layer == packed.INPUT else f"{layer}/y"


def _stacked(
    layer: packed.Recurrent, directions: list[Direction], order: tuple[int, ...]
) -> dict[str, NDArray[Any] | None]:
    """ONNX's W, R and B of one layer: one entry a direction, gates in ONNX's order."""

    def gather(name: str) -> NDArray[Any]:
        return np.stack([_reordered(layer, name, d, order) for d in directions])

    biased = any(name.startswith("bias") for name in layer.parameters)
    return {
        "W": gather("weight_ih"),
        "R": gather("weight_hh"),
        "B": np.concatenate([gather("bias_ih"), gather("bias_hh")], axis=1) if biased else None,
    }


def _peepholes(layer: packed.Recurrent, directions: list[Direction]) -> NDArray[Any] | None:
    if layer.stack.cell != cells.LSTM_PEEPHOLE:
        return None
    return np.stack([_reordered(layer, "weight_c", d, _PEEPHOLES) for d in directions])


def _reordered(
    layer: packed.Recurrent, name: str, direction: Direction, order: tuple[int, ...]
) -> NDArray[Any]:
    """A parameter with its stacked parts in another order; zero where the layer has none."""
    value = layer.parameters.get(name + direction.suffix)
    if value is None:
        return np.zeros(len(order) * direction.sizes["hidden"], np.float32)
    array: NDArray[Any] = value.to_dense() if isinstance(value, Matrix) else value
    parts = array.reshape(len(order), -1, *array.shape[1:])
    return parts[list(order)].reshape(array.shape)


def _per_direction(attributes: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """Attributes of one operator: lists have one entry a direction."""
    return {
        key: value * stack.num_directions if isinstance(value, list) else value
        for key, value in attributes.items()
    }
