"""Gives vectors, sums and x their addresses, the same in every group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.mapping import Space, space_of, sum_parts
from csbrnn.accelerator.step import FixedStep
from csbrnn.compiler import Slice

__all__ = ["Layout", "lay_out"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Addresses.

    Attributes:
        rows: Slice of a sum -> y row of its slot 0.
        vectors: Vector -> address of its slot 0 in vector memories.
        x: Vector -> address of its first x.
        x_length: Vector -> values of x that it takes.
        y_used: Rows of y that are used, the dump row not counted.
        vector_used: Of a vector memory.
        x_used: Values of x.
        sum_spaces: Slice of a sum -> its space.
        vector_spaces: Vector -> its space.
    """

    rows: dict[Slice, int]
    vectors: dict[Slice, int]
    x: dict[Slice, int]
    x_length: dict[Slice, int]
    y_used: int
    vector_used: int
    x_used: int
    sum_spaces: dict[Slice, Space]
    vector_spaces: dict[Slice, Space]

    def x_addresses(self, vector: Slice, groups: int) -> NDArray[np.int64]:
        """Address in x of each element of a vector. Shape: (length,)."""
        base = self.x[vector]
        space = self.vector_spaces.get(vector)
        if space is None:  # the input, in its own order
            return base + np.arange(vector.length)
        return base + space.slot * groups + space.group

    def row_addresses(self, name: str, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(group, y row) of each row of a sum. Shape: (size,) each."""
        group, row = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for part, base in self.rows.items():
            if part.vector == name:
                space = self.sum_spaces[part]
                group[part.start : part.start + part.length] = space.group
                row[part.start : part.start + part.length] = base + space.slot
        return group, row


def lay_out(arch: Arch, step: FixedStep, spaces: list[Space]) -> Layout:
    """Return addresses for a step whose units are placed.

    Vectors that live within a step share memory where their lives don't meet.
    """
    parts = sum_parts(step)
    sum_spaces = {p: _must(spaces, "s", p) for found in parts.values() for p in found}
    used = {s for o in step.operations for s in (o.d, *o.reads)}
    vector_spaces = {v: _must(spaces, "v", v) for v in used}
    rows, y_used = _rows(step, parts, sum_spaces)
    vectors, vector_used = _vectors(step, vector_spaces)
    x, x_length, x_used = _x(arch, step, vector_spaces)
    return Layout(
        rows,
        vectors,
        x,
        x_length,
        y_used,
        vector_used,
        x_used,
        sum_spaces,
        vector_spaces,
    )


def _must(spaces: list[Space], kind: str, part: Slice) -> Space:
    space = space_of(spaces, kind, part)
    assert space is not None
    return space


def _rows(
    step: FixedStep, parts: dict[str, list[Slice]], spaces: dict[Slice, Space]
) -> tuple[dict[Slice, int], int]:
    rows: dict[Slice, int] = {}
    most = 0
    for stage in step.stages:  # each has a half of y to itself
        at = 0
        for name in dict.fromkeys(p.sum for p in stage.products):
            for part in parts[name]:
                rows[part] = at
                at += spaces[part].slots
        most = max(most, at)
    return rows, most


def _vectors(step: FixedStep, spaces: dict[Slice, Space]) -> tuple[dict[Slice, int], int]:
    operations = step.operations
    first_write: dict[Slice, int] = {}
    last_read: dict[Slice, int] = {}
    carried = set(step.constants)
    for number, o in enumerate(operations):
        for part in o.reads:
            if part not in first_write:
                carried.add(part)  # from the step before
            last_read[part] = number
        first_write.setdefault(o.d, number)
    vectors: dict[Slice, int] = {}
    at = 0
    for part in sorted(carried, key=lambda p: (p.vector, p.start)):
        vectors[part] = at
        at += spaces[part].slots
    free: list[tuple[int, int]] = []  # (slots, address) of memory that is not in use
    busy: dict[Slice, int] = {}  # vector -> its last reader
    for number, o in enumerate(operations):
        for part in [p for p, last in busy.items() if last < number]:
            free.append((spaces[part].slots, vectors[part]))
            del busy[part]
        if o.d in vectors or o.d not in last_read:
            continue
        slots = spaces[o.d].slots
        fitting = [f for f in free if f[0] == slots]
        if fitting:
            free.remove(fitting[0])
            vectors[o.d] = fitting[0][1]
        else:
            vectors[o.d] = at
            at += slots
        busy[o.d] = last_read[o.d]
    return vectors, at


def _x(
    arch: Arch, step: FixedStep, spaces: dict[Slice, Space]
) -> tuple[dict[Slice, int], dict[Slice, int], int]:
    read = {p.source for stage in step.stages for p in stage.products} | {step.input.source}
    order = sorted(read, key=lambda p: (p != step.input.source, p.vector, p.start))
    x: dict[Slice, int] = {}
    lengths: dict[Slice, int] = {}
    at = 0
    for part in order:
        x[part] = at
        if part in spaces:
            lengths[part] = spaces[part].slots * arch.groups
        else:
            lengths[part] = -(-part.length // arch.x_write) * arch.x_write
        at += lengths[part]
    return x, lengths, at
