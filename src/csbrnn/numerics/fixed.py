"""Fixed point: weights as integers over a power of two, and the arithmetic of the accelerator.

The weights of a matrix share one binary point: a weight is ``value * 2^-frac``. Values are
symmetric, so that their negation never overflows.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_WEIGHT_FRAC",
    "Ints",
    "fixed_frac",
    "fixed_from_real",
    "largest_value",
    "min_weight_frac",
    "round_shift",
    "saturate",
]

Ints: TypeAlias = NDArray[np.int64]
"""Integers of any shape: values in fixed point, positions, addresses."""

MAX_WEIGHT_FRAC: Final = 13
"""Most binary digits behind the point of a weight. Ours: at 16 bits it leaves weights up to 4, and
sums of 36 bits up to 128; rounding a weight moves it by at most 2^-14."""


def largest_value(bits: int) -> int:
    """Return the largest value of ``bits`` bits: 2^(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def min_weight_frac(bits: int) -> int:
    """Return the least frac for which every value, as a weight, is a finite fp32 number."""
    return bits - 1 - 128


def fixed_frac(largest: float, bits: int) -> int:
    """Return the frac with which a largest magnitude uses ``bits`` bits best.

    The largest one up to `MAX_WEIGHT_FRAC` for which ``rint(largest * 2^frac)`` is a value. Beyond
    the least (weights near the end of fp32's range) values saturate.
    """
    if not largest:
        return MAX_WEIGHT_FRAC
    mantissa, exponent = np.frexp(np.float64(largest))
    frac = bits - 1 - int(exponent)
    if np.rint(mantissa * 2.0 ** (bits - 1)) > largest_value(bits):
        frac -= 1
    return max(min(frac, MAX_WEIGHT_FRAC), min_weight_frac(bits))


def fixed_from_real(x: NDArray[Any], frac: int, bits: int) -> NDArray[np.int64]:
    """Return the nearest integers of ``x * 2^frac``, ties to even, saturated symmetrically."""
    largest = largest_value(bits)
    scaled = np.rint(np.ldexp(np.asarray(x, np.float64), frac))
    return np.clip(scaled, -largest, largest).astype(np.int64)


def round_shift(v: NDArray[Any], shift: int) -> NDArray[np.int64]:
    """Return integers divided by ``2^shift``, rounded half up, as hardware does: add and shift."""
    wide: NDArray[np.int64] = v.astype(np.int64)
    if shift:
        wide += 1 << (shift - 1)
        wide >>= shift
    return wide


def saturate(v: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return integers clipped to ``bits`` bits of two's complement."""
    low = -(1 << (bits - 1))
    clipped: NDArray[np.int64] = np.clip(v, low, -low - 1).astype(np.int64)
    return clipped
