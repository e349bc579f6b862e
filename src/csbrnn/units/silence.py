"""Which units of a recurrent cell stay zero for ever, given which weights are zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from csbrnn.cells import Cell, Node

__all__ = ["Marks", "silent_states"]

Marks = NDArray[np.bool_]
"""One mark for each unit: (units,)."""

_ZERO_AT_ZERO = ("neg", "tanh", "relu", "abs")


def silent_states(
    cell: Cell, parts: Mapping[str, NDArray[np.float32]], x: Marks, sizes: Mapping[str, int]
) -> dict[str, Marks]:
    """Finds the units of each state that are zero after every step that began with zero states.

    The largest set that the equations keep at zero: units may be silent because those that they
    read are. An element-wise function counts as zero where its operands alone make it so.

    Args:
        cell: The cell.
        parts: Part of a parameter -> its values; matrices (rows, columns), vectors (rows,).
            Vectors that are left out are zero.
        x: Which features of the input are always zero.
        sizes: Dimension -> length.

    Returns:
        State -> marks of its silent units.
    """
    silent = {s: np.ones(sizes[d], bool) for s, d in cell.states.items()}
    present = {name: values != 0 for name, values in parts.items()}
    while True:
        marks: list[Marks] = []
        for node in cell.graph.nodes:
            marks.append(_mark(node, marks, silent, present, x, sizes))
        after = {
            s: silent[s] & np.broadcast_to(marks[position], silent[s].shape)
            for s, position in cell.graph.next_states.items()
        }
        if all(np.array_equal(after[s], silent[s]) for s in silent):
            return silent
        silent = after


def _mark(
    node: Node,
    marks: list[Marks],
    silent: Mapping[str, Marks],
    present: Mapping[str, Marks],
    x: Marks,
    sizes: Mapping[str, int],
) -> Marks:
    operands = [marks[position] for position in node.args]
    match node.op:
        case "input":
            return x
        case "state":
            return silent[node.name]
        case "vector":
            values = present.get(node.name)
            return np.ones(sizes[node.dimension], bool) if values is None else ~values
        case "constant":
            return np.array([node.value == 0])
        case "product":
            active = np.broadcast_to(~operands[0], (present[node.name].shape[1],))
            return np.logical_not(present[node.name][:, active].any(1))
        case "mul":
            return operands[0] | operands[1]
        case "div":
            return operands[0] & ~operands[1]
        case "add" | "sub" | "maximum" | "minimum":
            return operands[0] & operands[1]
        case op if op in _ZERO_AT_ZERO:
            return operands[0]
        case _:
            # sigmoid, exp, log: not zero at zero.
            return np.zeros_like(operands[0])
