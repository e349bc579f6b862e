"""Executes a program in NumPy, one instruction at a time: the definition of the instruction set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from csbrnn.cells import NUMPY_OPERATIONS
from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    Pass,
    Program,
    Slice,
    Softmax,
)
from csbrnn.errors import ArgumentError
from csbrnn.numerics import int8_product, log_softmax, softmax

__all__ = ["run_program"]

Array = NDArray[Any]
Observer: TypeAlias = Callable[[MatVec, Array], None]
_sigmoid = NUMPY_OPERATIONS["sigmoid"]


def run_program(
    program: Program,
    xs: Array,
    states: Mapping[str, Array] | None = None,
    *,
    dtype: DTypeLike = np.float64,
    quantize_activations: bool = True,
    observe: Observer | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Runs a program over a sequence.

    Products of matrices in int8 are computed in fp32, bit for bit as docs/spec/precision.md has it,
    whatever ``dtype``; everything else in ``dtype``.

    Args:
        program: A verified program.
        xs: The sequence: features, or tokens as integers.
        states: Name in `Program.states` -> value before the sequence; zero if left out.
        dtype: Precision of the computation. With float64, all but int8 is the ideal result.
        quantize_activations: False takes weights in int8 for the numbers they stand for, and rounds
            nothing else: the ideal again.
        observe: Called with each matrix-vector product and its operand, (..., columns).

    Shape:
        xs: (seq_len, ..., width) features, or (seq_len, ...) tokens; the dots are a batch.
        states: (vectors of the state, ..., length)
        returns: (seq_len, ..., width), and the states after the sequence.

    Raises:
        ArgumentError: ``xs`` or ``states`` don't fit the program.
    """
    machine = _Machine(program, np.dtype(dtype), quantize_activations, observe)
    with np.errstate(all="ignore"):
        return machine.run(np.asarray(xs), states)


class _Machine:
    """Vectors and streams as arrays, their last axis being the vector's."""

    def __init__(
        self,
        program: Program,
        dtype: np.dtype[Any],
        quantize_activations: bool,
        observe: Observer | None,
    ) -> None:
        self._program, self._dtype, self._observe = program, dtype, observe
        in_integers = {
            n
            for n, m in program.matrices.items()
            if m.precision.rounds_operand and quantize_activations
        }
        self._matrices = {
            n: m.to_dense().astype(dtype)
            for n, m in program.matrices.items()
            if n not in in_integers
        }
        # Small integers: exact in float64, whose products are the fastest exact ones.
        self._integers = {
            n: program.matrices[n].to_quantized().values.astype(np.float64) for n in in_integers
        }
        self._tables = {n: t.astype(dtype) for n, t in program.tables.items()}
        self._streams: dict[str, Array] = {}
        self._vectors: dict[str, Array] = {}

    def run(self, xs: Array, states: Mapping[str, Array] | None) -> tuple[Array, dict[str, Array]]:
        program = self._program
        xs = self._checked_input(xs)
        steps, *batch = xs.shape[:-1]
        self._streams = {
            name: np.zeros((steps, *batch, stream.width), self._dtype)
            for name, stream in program.streams.items()
        }
        self._streams["input"] = xs
        for name, vector in program.vectors.items():
            self._vectors[name] = np.zeros((*batch, vector.length), self._dtype)
            if vector.kind == "constant":
                self._vectors[name][...] = program.constants[name]
        self._load_states(states, tuple(batch))
        for part in program.passes:
            for t in reversed(range(steps)) if part.reverse else range(steps):
                self._step(part, t)
        return self._streams["output"], {
            name: np.stack([self._vectors[v] for v in vectors])
            for name, vectors in program.states.items()
        }

    def _checked_input(self, xs: Array) -> Array:
        stream = self._program.streams["input"]
        if stream.dtype == "float32":
            if xs.ndim < 2 or xs.shape[-1] != stream.width:
                raise ArgumentError(
                    f"xs must have shape (seq_len, ..., {stream.width}), got {xs.shape}"
                )
            return xs.astype(self._dtype)
        if xs.ndim < 1 or not np.issubdtype(xs.dtype, np.integer):
            raise ArgumentError(
                f"xs must hold integers, of shape (seq_len, ...), got {xs.dtype} of {xs.shape}"
            )
        if xs.size and not 0 <= int(xs.min()) <= int(xs.max()) < stream.bound:
            raise ArgumentError(
                f"tokens must lie in 0..{stream.bound - 1}, got {xs.min()}..{xs.max()}"
            )
        return xs[..., None]

    def _load_states(self, states: Mapping[str, Array] | None, batch: tuple[int, ...]) -> None:
        if states is None:
            return
        expected = {
            name: (len(vectors), *batch, self._program.vectors[vectors[0]].length)
            for name, vectors in self._program.states.items()
        }
        got = {name: np.shape(value) for name, value in states.items()}
        if got != expected:
            raise ArgumentError(f"states must have the shapes {expected}, got {got}")
        for name, vectors in self._program.states.items():
            for vector, value in zip(vectors, states[name], strict=True):
                self._vectors[vector][...] = value

    def _step(self, part: Pass, t: int) -> None:
        for stream, offset, name in part.reads:
            length = self._program.vectors[name].length
            self._vectors[name] = self._streams[stream][t, ..., offset : offset + length]
        for instruction in part.instructions:
            self._execute(instruction)
        for source, stream, offset in part.writes:
            self._streams[stream][t, ..., offset : offset + source.length] = self._get(source)

    def _get(self, part: Slice) -> Array:
        return self._vectors[part.vector][..., part.start : part.start + part.length]

    def _set(self, part: Slice, value: Array) -> None:
        self._vectors[part.vector][..., part.start : part.start + part.length] = value

    def _execute(self, instruction: Instruction) -> None:
        match instruction:
            case Lookup(destination=destination, token=token, table=table):
                self._set(destination, self._tables[table][self._vectors[token][..., 0]])
            case MatVec():
                self._mat_vec(instruction)
            case Elementwise():
                self._element_wise(instruction)
            case LSTMGates():
                self._lstm_gates(instruction)
            case GRUGates():
                self._gru_gates(instruction)
            case Softmax(destination=destination, source=source, log=log):
                v = self._get(source)
                self._set(destination, log_softmax(v) if log else softmax(v))
            case Copy(destination=destination, source=source):
                self._set(destination, self._get(source))

    def _mat_vec(self, code: MatVec) -> None:
        if self._observe is not None:
            self._observe(code, self._get(code.source))
        if code.matrix in self._integers:
            self._integer_mat_vec(code)
            return
        matrix = self._matrices[code.matrix][code.row_start : code.row_stop]
        value = self._get(code.source) @ matrix.T
        if code.bias is not None:
            value = self._vectors[code.bias] + value
        if code.accumulate:
            value = self._vectors[code.destination] + value
        self._vectors[code.destination][...] = value

    def _integer_mat_vec(self, code: MatVec) -> None:
        rows, scales = (
            slice(code.row_start, code.row_stop),
            self._program.matrices[code.matrix].scales,
        )
        assert scales is not None
        product = int8_product(
            self._integers[code.matrix][rows],
            scales[rows],
            self._get(code.source),
            code.activation_scale,
        )
        destination = self._vectors[code.destination]
        if code.accumulate:
            start = destination
        elif code.bias is not None:
            start = self._vectors[code.bias]
        else:
            start = np.zeros_like(destination)
        destination[...] = start.astype(np.float32) + product

    def _element_wise(self, code: Elementwise) -> None:
        values: list[Array] = []
        stores: list[tuple[Slice, Array]] = []
        for operation in code.operations:
            args = [values[a] for a in operation.args]
            match operation.op:
                case "load":
                    assert operation.slice is not None
                    values.append(self._get(operation.slice))
                case "constant":
                    values.append(np.full(code.length, operation.value, self._dtype))
                case "store":
                    assert operation.slice is not None
                    stores.append((operation.slice, args[0]))
                    values.append(args[0])
                case op:
                    values.append(NUMPY_OPERATIONS[op](*args))
        for place, value in stores:
            self._set(place, value.copy())  # a value may be a view of what another store changes

    def _lstm_gates(self, code: LSTMGates) -> None:
        i, f, g, o = np.split(self._vectors[code.gates], 4, axis=-1)
        c = _sigmoid(f) * self._get(code.cell) + _sigmoid(i) * np.tanh(g)
        self._set(code.cell, c)
        self._set(code.hidden, _sigmoid(o) * np.tanh(c))

    def _gru_gates(self, code: GRUGates) -> None:
        r, z = np.split(self._vectors[code.gates], 2, axis=-1)
        candidate = self._vectors[code.input_candidate]
        n = np.tanh(candidate + _sigmoid(r) * self._vectors[code.hidden_candidate])
        z = _sigmoid(z)
        self._set(code.hidden, (1 - z) * n + z * self._get(code.hidden))
