"""tanh and sigmoid as piecewise-linear tables in integers: what the accelerator computes.

One table of tanh over [0, 8) serves both: sigmoid(v) = (1 + tanh(v / 2)) / 2, and both are odd
about their middle. Arguments and results have `ACTIVATION_FRAC` binary digits behind the point.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError

__all__ = [
    "ACTIVATION_FRAC",
    "MAGNITUDE_BITS",
    "MAX_SIGMOID_ERROR",
    "MAX_TANH_ERROR",
    "TanhTable",
    "sigmoid_fixed",
    "tanh_fixed",
    "tanh_table",
]

ACTIVATION_FRAC: Final = 15
"""Binary digits behind the point of arguments and results."""

MAX_TANH_ERROR: Final = 8e-5
"""Largest error of tanh with 256 segments, rounding included: measured over every argument (see
tests/numerics/test_activation_table.py). Half of it is the chords', h^2 max|tanh''| / 16."""

MAX_SIGMOID_ERROR: Final = 6e-5
"""The same of sigmoid."""

_RANGE_BITS: Final = 3  # the table covers [0, 8)

MAGNITUDE_BITS: Final = _RANGE_BITS + ACTIVATION_FRAC + 1
"""Of the table's argument, 2 |v| below 16: [0, 8) with one digit more behind the point than v."""

_SLOPE_FRAC: Final = 14


class TanhTable(NamedTuple):
    """Segments of tanh over [0, 8), of equal width.

    Attributes:
        base: Value at each segment's left end, 0 .. 2^15, frac 15. Shape: (segments,) int64.
        slope: Of each segment, 0 .. 2^14, frac 14. Shape: (segments,) int64.
    """

    base: NDArray[np.int64]
    slope: NDArray[np.int64]

    @property
    def fraction_bits(self) -> int:
        """Low bits of 2 |v| that are the position within a segment."""
        return MAGNITUDE_BITS - (len(self.base).bit_length() - 1)


@lru_cache
def tanh_table(segments: int = 256) -> TanhTable:
    """Return the table: each chord of tanh, moved by half of its largest deviation.

    Deterministic: computed in float64, then rounded. Heuristic, though nearly the best that
    uniform segments can do; 0 stays 0.

    Raises:
        ArgumentError: ``segments`` is not a power of two in 16..4096.
    """
    if not 16 <= segments <= 4096 or segments & (segments - 1):
        raise ArgumentError(f"segments must be a power of two in 16..4096, not {segments}")
    width = 2.0**_RANGE_BITS / segments
    left = np.arange(segments) * width
    low, high = np.tanh(left), np.tanh(left + width)
    slope = (high - low) / width
    # tanh is concave here: its distance from the chord is largest where 1 - tanh^2 is the slope.
    at = np.arctanh(np.sqrt(np.maximum(1 - slope, 0)).clip(0, 1 - 1e-16))
    inside = np.clip(at, left, left + width)
    deviation = np.maximum(np.tanh(inside) - (low + slope * (inside - left)), 0)
    base = np.rint((low + deviation / 2) * 2**ACTIVATION_FRAC).astype(np.int64)
    base[0] = 0
    rounded = np.rint(slope * 2**_SLOPE_FRAC).astype(np.int64)
    base.flags.writeable = rounded.flags.writeable = False
    return TanhTable(np.minimum(base, 2**ACTIVATION_FRAC), np.minimum(rounded, 2**_SLOPE_FRAC))


def tanh_fixed(v: NDArray[Any], table: TanhTable) -> NDArray[np.int64]:
    """Return tanh of integers with frac 15, with frac 15: -32768 .. 32768."""
    v = v.astype(np.int64)
    return _odd(v, 2 * np.abs(v), table)


def sigmoid_fixed(v: NDArray[Any], table: TanhTable) -> NDArray[np.int64]:
    """Return sigmoid of integers with frac 15, with frac 15: 0 .. 32768."""
    v = v.astype(np.int64)
    return ((1 << ACTIVATION_FRAC) + _odd(v, np.abs(v), table) + 1) >> 1


def _odd(v: NDArray[np.int64], magnitude: NDArray[np.int64], table: TanhTable) -> NDArray[np.int64]:
    """Tanh of ``magnitude`` (frac 16), with the sign of ``v``."""
    m = np.minimum(magnitude, (1 << MAGNITUDE_BITS) - 1)
    bits = table.fraction_bits
    index, within = m >> bits, m & ((1 << bits) - 1)
    # slope has frac 14 and the position frac 16: 15 too many, rounded half up.
    t = table.base[index] + ((table.slope[index] * within + (1 << 14)) >> 15)
    result: NDArray[np.int64] = np.where(v < 0, -t, t)
    return result
