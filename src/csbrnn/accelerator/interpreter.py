"""`run_fixed`: a step in integers, on whole vectors: the definition of what the hardware computes.

It knows nothing of groups, streams or schedules, and so is a check on all of them; and it tells
what a network's accuracy in fixed point is before there is any hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import VECTOR_FRAC, X_BITS, Arch
from csbrnn.accelerator.isa import ACTS, Combine
from csbrnn.accelerator.step import FixedStep, VectorOp
from csbrnn.compiler import Slice
from csbrnn.errors import ArgumentError
from csbrnn.numerics import (
    Ints,
    log_softmax,
    round_shift,
    saturate,
    sigmoid_fixed,
    softmax,
    tanh_fixed,
    tanh_table,
)

__all__ = ["FixedMachine", "host_input", "host_output", "run_fixed", "vector_arithmetic"]


def run_fixed(step: FixedStep, arch: Arch, xs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the outputs of a sequence, from zero states.

    Args:
        step: The step.
        arch: For widths and the activation table.
        xs: Features, or tokens as integers.

    Shape:
        xs: (seq_len, ..., width) features, or (seq_len, ...) tokens; the dots are a batch.
        returns: (seq_len, ..., output_size)

    Raises:
        ArgumentError: ``xs`` doesn't fit the step.
    """
    values = host_input(step, xs)
    machine = FixedMachine(step, arch, values.shape[1:-1])
    outputs = [machine.step(x) for x in values]
    shape = (0, *values.shape[1:-1], step.output_size)
    return host_output(step, np.stack(outputs) if outputs else np.zeros(shape, np.int64))


def host_input(step: FixedStep, xs: NDArray[Any]) -> Ints:
    """Return what the host feeds: 16-bit integers, rounded half to even and saturated.

    Shape:
        xs: (seq_len, ..., width) features, or (seq_len, ...) tokens
        returns: (seq_len, ..., input length)

    Raises:
        ArgumentError: ``xs`` doesn't fit the step.
    """
    xs, table, length = np.asarray(xs), step.input.table, step.input.source.length
    if table is not None:
        if not np.issubdtype(xs.dtype, np.integer) or (
            xs.size and not 0 <= int(xs.min()) <= int(xs.max()) < len(table)
        ):
            raise ArgumentError(f"xs must hold tokens 0..{len(table) - 1}")
        xs = table[xs]
    elif xs.ndim < 2 or xs.shape[-1] != length:
        raise ArgumentError(f"xs must have shape (seq_len, ..., {length}), not {xs.shape}")
    real = np.asarray(xs, np.float64)
    if not np.isfinite(real).all():
        place = tuple(np.argwhere(~np.isfinite(real))[0].tolist())
        raise ArgumentError(f"xs must be finite, and xs[{', '.join(map(str, place))}] is not")
    scaled = np.rint(real * 2.0**step.input.frac)
    top = 1 << (X_BITS - 1)
    return np.clip(scaled, -top, top - 1).astype(np.int64)


def host_output(step: FixedStep, values: Ints) -> NDArray[np.float64]:
    """Return what the 16-bit outputs stand for, after the host's softmax where there is one.

    Shape:
        values, returns: (..., output_size)
    """
    scales = np.zeros(step.output_size)
    for part in step.outputs:
        scales[part.offset : part.offset + part.length] = 2.0 ** -step.x_fracs[part.source]
    real: NDArray[np.float64] = values * scales
    if step.softmax:
        real = softmax(real) if step.softmax == "softmax" else log_softmax(real)
    return real


class FixedMachine:
    """Vectors and x as integers, from zero states.

    Args:
        step: The step.
        arch: For widths and the activation table.
        batch: Shape of what runs side by side.
    """

    def __init__(self, step: FixedStep, arch: Arch, batch: tuple[int, ...] = ()) -> None:
        self._step, self._arch, self._batch = step, arch, batch
        self._vectors: dict[Slice, Ints] = dict(step.constants)
        self._x: dict[Slice, Ints] = {}
        # Products are exact in float64, whose BLAS is the fastest: sums stay below 2^48.
        self._weights = {
            p: p.weights.astype(np.float64).T.copy() for s in step.stages for p in s.products
        }

    def step(self, x: Ints) -> Ints:
        """Run one step.

        Shape:
            x: (..., input length)
            returns: (..., output_size)
        """
        self._x[self._step.input.source] = x
        for stage in self._step.stages:
            sums: dict[str, NDArray[np.float64]] = {}
            for p in stage.products:
                operand = self._x_of(p.source)[..., p.first : p.first + p.weights.shape[1]]
                product = (operand << p.shift).astype(np.float64) @ self._weights[p]
                if p.sum in sums:
                    sums[p.sum] += product
                else:
                    sums[p.sum] = product
            for o in stage.operations:
                self._operation(o, sums)
        output = np.zeros((*self._batch, self._step.output_size), np.int64)
        for part in self._step.outputs:
            values = self._x_of(part.source)[..., part.first : part.first + part.length]
            output[..., part.offset : part.offset + part.length] = values
        return output

    def state(self, vector: Slice) -> Ints:
        """The value of a vector in vector memory; zero before it is computed."""
        return self._read(vector)

    def _read(self, vector: Slice) -> Ints:
        if vector not in self._vectors:
            self._vectors[vector] = np.zeros((*self._batch, vector.length), np.int64)
        return self._vectors[vector]

    def _x_of(self, vector: Slice) -> Ints:
        if vector not in self._x:
            self._x[vector] = np.zeros((*self._batch, vector.length), np.int64)
        return self._x[vector]

    def _operation(self, o: VectorOp, sums: Mapping[str, NDArray[np.float64]]) -> None:
        total, shift = None, 0
        if o.sum is not None:
            part = sums[o.sum.vector][..., o.sum.start : o.sum.start + o.sum.length]
            total = part.astype(np.int64)
            shift = self._step.sum_fracs[o.sum.vector] - VECTOR_FRAC
        v, a, e = (None if part is None else self._read(part) for part in (o.v, o.a, o.e))
        result = vector_arithmetic(self._arch, total, shift, v, a, e, o.act, o.combine)
        result = np.broadcast_to(result, (*self._batch, o.d.length))
        self._vectors[o.d] = result
        if o.d in self._step.x_fracs:
            shift = VECTOR_FRAC - self._step.x_fracs[o.d]
            self._x[o.d] = saturate(round_shift(result, shift), X_BITS)


def vector_arithmetic(
    arch: Arch,
    total: Ints | None,
    drain_shift: int,
    v: Ints | None,
    a: Ints | None,
    e: Ints | None,
    act: int,
    combine: int,
) -> Ints:
    """Return D of a VOP; see docs/spec/accelerator.md.

    Shape:
        total, v, a, e: broadcast against each other, integers; returns: the same
    """
    bits = arch.vector_bits
    pre = np.zeros(1, np.int64)
    if total is not None:
        pre = saturate(round_shift(total, drain_shift), bits)
    if v is not None:
        pre = saturate(pre + v, bits)
    match ACTS[act]:
        case "sigmoid":
            value = sigmoid_fixed(pre, tanh_table(arch.segments))
        case "tanh":
            value = tanh_fixed(pre, tanh_table(arch.segments))
        case "relu":
            value = np.maximum(pre, 0)
        case _:
            value = pre
    if a is not None:
        value = round_shift(a * value, VECTOR_FRAC)
    addend = np.zeros(1, np.int64) if e is None else e
    match combine:
        case Combine.ADD:
            value = value + addend
        case Combine.SUB:
            value = value - addend
        case Combine.RSUB:
            value = addend - value
    return saturate(value, bits)
