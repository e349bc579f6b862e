"""Delays, adder trees, saturation, fields: for pipelines whose every stage is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from csbrnn.accelerator.isa import Field

__all__ = ["adder_tree", "any_of", "delay", "part_of", "saturate", "shift_right"]


def delay(m: Module, value: Value, cycles: int, name: str, *, control: bool = False) -> Value:
    """Return ``value`` as it was ``cycles`` ago.

    Args:
        m: Where the registers go.
        value: Any width.
        cycles: 0 returns the value itself.
        name: Of the registers; a suffix counts them.
        control: Whether reset clears them.
    """
    for k in range(cycles):
        stage = Signal(value.shape(), name=f"{name}_{k + 1}", reset_less=not control)
        m.d.sync += stage.eq(value)
        value = stage
    return value


def adder_tree(m: Module, values: Sequence[Value], bits: int, name: str) -> Value:
    """Return the sum, registered at each of its clog2(len(values)) levels; wraps at ``bits``."""
    level = 0
    while len(values) > 1:
        sums = []
        for k in range(0, len(values), 2):
            pair = values[k : k + 2]
            total = Signal(signed(bits), name=f"{name}_{level}_{k // 2}", reset_less=True)
            m.d.sync += total.eq(sum(pair[1:], start=pair[0]))
            sums.append(total)
        values, level = sums, level + 1
    return values[0]


def any_of(values: Iterable[Value]) -> Value:
    """Return the bitwise or of one or several values."""
    return reduce(or_, values)


def part_of(word: Value, field: Field) -> Value:
    """Return a field of a word; it can be assigned to."""
    return word[field.low : field.low + field.width]


def saturate(value: Value, bits: int) -> Value:
    """Return a signed value clipped to ``bits`` bits."""
    width = len(value)
    if width <= bits:
        return value
    sign, high = value[-1], value[bits - 1 :]
    fits = (high == 0) | (high == (1 << len(high)) - 1)
    clipped = Cat(sign.bool().__invert__().replicate(bits - 1), sign)
    return Mux(fits, value[:bits], clipped).as_signed()


def shift_right(value: Value, amount: Value) -> Value:
    """Return a signed value shifted to the right, arithmetically, in the width it has."""
    return (value >> amount)[: len(value)].as_signed()
