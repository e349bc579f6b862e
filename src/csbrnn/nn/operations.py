"""The operations of a cell's equations in PyTorch, with the matrix products batched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from csbrnn.cells import Cell, Operations

__all__ = ["TORCH_OPERATIONS", "input_products", "stepping_parts"]


def _tensor(value: Tensor | float) -> Tensor:
    # Constants reach functions as Python numbers. A 0-dimensional tensor never decides the dtype
    # of a result, so float64 loses nothing and changes nothing.
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor | float], Tensor]:
    return lambda v: function(_tensor(v))


@dataclass(eq=False)
class _Stacked:
    """Weight rows that multiply one operand, so that one product serves all of their parts."""

    weight: Tensor
    operand: Tensor | None = None
    result: Tensor = field(default_factory=lambda: torch.empty(0))

    def product(self, operand: Tensor) -> Tensor:
        if operand is not self.operand:
            self.operand, self.result = operand, functional.linear(operand, self.weight)
        return self.result


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a `_Stacked` weight that are one part."""

    stacked: _Stacked
    start: int
    length: int

    def product(self, operand: Tensor) -> Tensor:
        return self.stacked.product(operand).narrow(-1, self.start, self.length)


#: PyTorch's versions of `csbrnn.cells.NUMPY_OPERATIONS`; matrices come from `stepping_parts`.
TORCH_OPERATIONS: Operations = {
    "neg": operator.neg,
    "sigmoid": _unary(torch.sigmoid),
    "tanh": _unary(torch.tanh),
    "relu": _unary(torch.relu),
    "exp": _unary(torch.exp),
    "log": _unary(torch.log),
    "abs": operator.abs,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda a, b: torch.div(_tensor(a), b),
    "maximum": lambda a, b: torch.maximum(_tensor(a), _tensor(b)),
    "minimum": lambda a, b: torch.minimum(_tensor(a), _tensor(b)),
    "product": lambda rows, v: rows.product(v),
}


def stepping_parts(cell: Cell, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    """Cuts parameters into parts for `csbrnn.cells.cell_step` with `TORCH_OPERATIONS`.

    Parts of one parameter that multiply the same vector share one product: an LSTM's step does
    one for its four gates. Products with ``x`` are left to `input_products`.

    Args:
        cell: The cell.
        parameters: Parameter name -> tensor; vectors may be missing, which means zero.

    Returns:
        Part name -> vector, the scalar 0, or rows to multiply by. Good for one forward pass.
    """
    parts: dict[str, Any] = {}
    operands: dict[str, set[int]] = {}
    for node in cell.graph.nodes:
        if node.op == "product":
            operands.setdefault(node.name, set()).update(node.args)
    for parameter in cell.parameters:
        stacked = parameters.get(parameter.name)
        if stacked is None:
            parts |= dict.fromkeys(parameter.parts, 0.0)
            continue
        length = len(stacked) // len(parameter.parts)
        cut = zip(parameter.parts, torch.split(stacked, length), strict=True)
        if not parameter.is_matrix:
            parts |= dict(cut)
            continue
        groups: dict[frozenset[int], list[tuple[str, Tensor]]] = {}
        for part, rows in cut:
            groups.setdefault(frozenset(operands.get(part, ())), []).append((part, rows))
        for group in groups.values():
            whole = len(group) == len(parameter.parts)
            shared = _Stacked(stacked if whole else torch.cat([rows for _, rows in group]))
            for k, (part, _) in enumerate(group):
                parts[part] = _Rows(shared, k * length, length)
    return parts


def input_products(cell: Cell, parameters: Mapping[str, Tensor], xs: Tensor) -> dict[str, Tensor]:
    """The products with the input of every step at once, one matrix product a parameter.

    Args:
        cell: The cell.
        parameters: Parameter name -> tensor.
        xs: The inputs of all steps. Shape: (seq_len, ..., input).

    Returns:
        Matrix name -> product with ``x``, for the matrices that multiply it.
            Shape: (seq_len, ..., rows).
    """
    nodes = cell.graph.nodes
    fed = {n.name for n in nodes if n.op == "product" and nodes[n.args[0]].op == "input"}
    products: dict[str, Tensor] = {}
    for parameter in cell.matrices:
        if fed.isdisjoint(parameter.parts):
            continue
        pieces = functional.linear(xs, parameters[parameter.name]).chunk(
            len(parameter.parts), dim=-1
        )
        products |= {p: v for p, v in zip(parameter.parts, pieces, strict=True) if p in fed}
    return products
