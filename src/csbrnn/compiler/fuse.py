"""Recognises the element-wise part of an LSTM and of a GRU, for which targets have a fast path.

The match is on what is computed, not on names: any cell whose equations come to the same operations
on gates stacked in the same order is found, a projected LSTM's gates and a user's cell included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from csbrnn.compiler.program import (
    Elementwise,
    GRUGates,
    Instruction,
    LSTMGates,
    MicroOp,
    Program,
    Slice,
    Vector,
)

__all__ = ["fuse_gates"]

#: An operation and its operands, a number, or the name of a loaded slice.
Pattern: TypeAlias = "tuple[str | Pattern, ...] | float | str"

_LSTM_CELL: Pattern = (
    "add",
    ("mul", ("sigmoid", "f"), "c"),
    ("mul", ("sigmoid", "i"), ("tanh", "g")),
)
_LSTM_HIDDEN: Pattern = ("mul", ("sigmoid", "o"), ("tanh", _LSTM_CELL))
_GRU_HIDDEN: Pattern = (
    "add",
    (
        "mul",
        ("sub", 1.0, ("sigmoid", "z")),
        ("tanh", ("add", "n_input", ("mul", ("sigmoid", "r"), "n_hidden"))),
    ),
    ("mul", ("sigmoid", "z"), "h"),
)


def fuse_gates(program: Program) -> Program:
    """The program with `LSTMGates` and `GRUGates` in place of equal `Elementwise` instructions."""
    passes = tuple(
        replace(
            part,
            instructions=tuple(_fused(i, program.vectors) for i in part.instructions),
        )
        for part in program.passes
    )
    return replace(program, passes=passes)


def _fused(instruction: Instruction, vectors: Mapping[str, Vector]) -> Instruction:
    if not isinstance(instruction, Elementwise):
        return instruction
    return _lstm(instruction, vectors) or _gru(instruction, vectors) or instruction


def _lstm(code: Elementwise, vectors: Mapping[str, Vector]) -> LSTMGates | None:
    stores = _stores(code)
    if len(stores) != 2:
        return None
    for (c_value, c_place), (h_value, h_place) in (stores, stores[::-1]):
        for loads in _matches(code, _LSTM_CELL, c_value, {}):
            for found in _matches(code, _LSTM_HIDDEN, h_value, loads):
                gates = _stacked([found[gate] for gate in "ifgo"], vectors)
                if gates and found["c"] == c_place:
                    return LSTMGates(gates, c_place, h_place, code.length)
    return None


def _gru(code: Elementwise, vectors: Mapping[str, Vector]) -> GRUGates | None:
    stores = _stores(code)
    if len(stores) != 1:
        return None
    ((value, place),) = stores
    for found in _matches(code, _GRU_HIDDEN, value, {}):
        gates = _stacked([found["r"], found["z"]], vectors)
        inner = _stacked([found["n_input"]], vectors)
        hidden = _stacked([found["n_hidden"]], vectors)
        if gates and inner and hidden and found["h"] == place:
            return GRUGates(gates, inner, hidden, place, code.length)
    return None


def _stores(code: Elementwise) -> list[tuple[int, Slice]]:
    return [(o.args[0], o.slice) for o in code.operations if o.op == "store" and o.slice]


def _stacked(parts: list[Slice], vectors: Mapping[str, Vector]) -> str | None:
    """The scratch vector that consists of these slices in this order, if there is one."""
    vector = vectors[parts[0].vector]
    expected = [Slice(vector.name, k * parts[0].length, parts[0].length) for k in range(len(parts))]
    fits = parts == expected and vector.length == len(parts) * parts[0].length
    return vector.name if fits and vector.kind == "scratch" else None


def _matches(
    code: Elementwise, pattern: Pattern, position: int, found: dict[str, Slice]
) -> Iterator[dict[str, Slice]]:
    """Every way in which the value at ``position`` is ``pattern``, given slices already found."""
    operation = code.operations[position]
    match pattern:
        case str():
            place = operation.slice
            if operation.op == "load" and place and found.get(pattern, place) == place:
                yield found | {pattern: place}
        case float():
            if operation == MicroOp("constant", value=pattern):
                yield found
        case (op, *operands) if op == operation.op:
            orders = [operation.args]
            if op in ("add", "mul"):
                orders.append(operation.args[::-1])
            for args in orders:
                yield from _match_all(code, tuple(zip(operands, args, strict=True)), found)


def _match_all(
    code: Elementwise, pairs: tuple[tuple[Pattern, int], ...], found: dict[str, Slice]
) -> Iterator[dict[str, Slice]]:
    if not pairs:
        yield found
        return
    (pattern, position), *rest = pairs
    for more in _matches(code, pattern, position, found):
        yield from _match_all(code, tuple(rest), more)
