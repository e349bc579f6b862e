"""The definition of what a cell computes: its graph, evaluated one operation at a time.

Slow and plain. The operations come in as a table, so the same few lines are the NumPy oracle that
every other executor is tested against and the forward pass of `csbrnn.nn` in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from csbrnn.cells.cell import Cell

__all__ = ["NUMPY_OPERATIONS", "Operations", "cell_step", "split_parts"]

#: Operation name -> function of arrays (or tensors) of shape (..., length).
Operations = Mapping[str, Callable[..., Any]]


def _sigmoid(v: Any) -> Any:
    # exp of a non-positive number on both sides: no overflow for any finite v.
    e = np.exp(-np.abs(v))
    return np.where(v >= 0, 1 / (1 + e), e / (1 + e)).astype(v.dtype)


#: NumPy's versions; a product takes a matrix (rows, columns) and vectors (..., columns).
NUMPY_OPERATIONS: Operations = {
    "neg": np.negative,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0),
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "product": lambda matrix, v: v @ matrix.T,
}


def split_parts(cell: Cell, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Cuts stacked parameters into the parts which the equations name.

    Args:
        cell: The cell.
        parameters: Parameter name -> array; vectors may be missing, which means zero.

    Returns:
        Part name -> view of its rows; a missing vector's parts are the scalar 0.
    """
    parts: dict[str, Any] = {}
    for parameter in cell.parameters:
        stacked = parameters.get(parameter.name)
        if stacked is None and not parameter.is_matrix:
            parts |= dict.fromkeys(parameter.parts, 0.0)
            continue
        if stacked is None:
            raise KeyError(parameter.name)
        rows = stacked.shape[0] // len(parameter.parts)
        for k, part in enumerate(parameter.parts):
            parts[part] = stacked[k * rows : (k + 1) * rows]
    return parts


def cell_step(
    cell: Cell,
    parts: Mapping[str, Any],
    x: Any,
    states: Mapping[str, Any],
    operations: Operations = NUMPY_OPERATIONS,
    *,
    products: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One step of a cell.

    Args:
        cell: The cell.
        parts: Part name -> matrix (rows, columns) or vector; from `split_parts`.
        x: The step's input. Shape: (..., input).
        states: State name -> value before the step. Shape: (..., dimension of the state).
        operations: How to compute each operation.
        products: Matrix name -> its product with ``x`` where it is already known.

    Returns:
        State name -> value after the step.
    """
    values: list[Any] = []
    for node in cell.graph.nodes:
        args = [values[a] for a in node.args]
        match node.op:
            case "input":
                value = x
            case "state":
                value = states[node.name]
            case "vector":
                value = parts[node.name]
            case "constant":
                value = node.value
            case "product":
                of_input = cell.graph.nodes[node.args[0]].op == "input"
                if products is not None and of_input and node.name in products:
                    value = products[node.name]
                else:
                    value = operations["product"](parts[node.name], args[0])
            case op:
                value = operations[op](*args)
        values.append(value)
    return {state: values[node] for state, node in cell.graph.next_states.items()}
