"""Symmetric int8: how vectors become small integers, and what their products are.

A row of weights and a vector of activations are quantized by the same rule: `quantize_vector`.
Each operation is a single IEEE fp32 operation, rounded to nearest even and never contracted with
its neighbour, so that every language and instruction set gives the same bits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csbrnn.errors import ArgumentError

__all__ = [
    "LARGEST",
    "MAX_COLUMNS",
    "MAX_SCALE",
    "MIN_SCALE",
    "int8_product",
    "is_scale",
    "quantize_vector",
    "scale_of",
]

Float32Array = NDArray[np.float32]

LARGEST: Final = 127
"""Largest magnitude of a value. -128 is none: values are symmetric, and two products of magnitudes
of at most 127 fit an int16, which AVX2's vpmaddubsw needs."""

MAX_COLUMNS: Final = (2**31 - 1) // LARGEST**2
"""Most products that are summed, 133144: no sum of them, in any order, leaves int32."""

MIN_SCALE: Final = 2.0**-125
"""Least scale other than 0. A subnormal x then has |x / scale| < 1/2 and becomes 0, so it makes no
difference whether a machine flushes subnormal numbers to zero."""

UNUSED_SCALE_BITS: Final = 7
"""Low bits that are zero in every scale: a value has 7 bits and a scale at most 17, so that value *
scale is exact in fp32, and quantizing what was dequantized gives the same scale and values."""

_RECIPROCAL: Final = np.float32(1) / np.float32(LARGEST)
"""0x1.020408p-7. A multiplication, because GPU frameworks turn division by a constant into it."""


def scale_of(largest: ArrayLike) -> Float32Array:
    """Return the scale under which the number of largest magnitude becomes 127, or nearly so.

    ``largest * (1 / 127)`` in fp32, rounded to 17 significant bits (half up), or 0 if that is less
    than `MIN_SCALE`. NaN where ``largest`` is not finite.
    """
    largest = np.asarray(largest, np.float32)
    with np.errstate(all="ignore"):
        bits = np.asarray(largest * _RECIPROCAL, np.float32).view(np.uint32)
        half = np.uint32(1 << (UNUSED_SCALE_BITS - 1))
        mask = np.uint32(0xFFFFFFFF << UNUSED_SCALE_BITS & 0xFFFFFFFF)
        scale = ((bits + half) & mask).view(np.float32)
        scale = np.where(scale < MIN_SCALE, np.float32(0), scale)
        return np.where(np.isfinite(largest), scale, np.float32(np.nan))


MAX_SCALE: Final = float(scale_of(np.finfo(np.float32).max))
"""0x1.0204p121, the scale of the largest fp32 number; 127 times it is still finite."""


def is_scale(scales: ArrayLike) -> NDArray[np.bool_]:
    """Tell which numbers are scales: 0, or of 17 bits and from `MIN_SCALE` to `MAX_SCALE`."""
    scales = np.asarray(scales)
    with np.errstate(all="ignore"):
        bits = scales.astype(np.float32).view(np.uint32)
        short = (bits & ((1 << UNUSED_SCALE_BITS) - 1) == 0) & (bits.view(np.float32) == scales)
        usual = (scales >= MIN_SCALE) & (scales <= MAX_SCALE)
    result: NDArray[np.bool_] = short & (usual | (bits == 0))
    return result


def quantize_vector(
    x: ArrayLike, scale: float | None = None
) -> tuple[NDArray[np.int8], Float32Array]:
    """Quantize vectors: ``round(x / scale)``, to nearest even and saturated at -127 and 127.

    In fp32: ``inverse = 1 / scale``, then ``rint(clamp(x * inverse, -127, 127))``.

    - A NaN or an infinity makes the scale NaN and all values 0: every product of the vector is
      NaN, as loud as fp32 would be.
    - Where `scale_of` the largest magnitude is 0, the scale and all values are 0.

    Args:
        x: Vectors; rounded to fp32 first.
        scale: A static scale, as `is_scale` allows and not 0. Left out, each vector's own:
            `scale_of` its largest magnitude.

    Shape:
        x: (..., size)
        returns: (..., size) int8, and (...) fp32

    Raises:
        ArgumentError: ``scale`` is not a scale, or is 0.

    Reference:
        ours
    """
    if scale is not None and not (is_scale(scale) and scale > 0):
        raise ArgumentError(
            f"a static scale must have at most 17 significant bits and lie in"
            f" {MIN_SCALE:g}..{MAX_SCALE:g}, not {scale!r}; scale_of() makes one"
        )
    with np.errstate(all="ignore"):
        x = np.asarray(x).astype(np.float32)
        largest = np.abs(x).max(axis=-1, initial=0)  # NaN if any is
        finite = np.isfinite(largest)
        used = scale_of(largest) if scale is None else np.where(finite, np.float32(scale), np.nan)
        used = used.astype(np.float32)
        inverse = np.where(used > 0, np.float32(1) / used, np.float32(0))
        quotients = np.clip(x * inverse[..., None], -LARGEST, LARGEST)
        values = np.where(finite[..., None], np.rint(quotients), 0)
    return values.astype(np.int8), used


def int8_product(
    values: NDArray[Any], scales: Float32Array, x: ArrayLike, scale: float | None = None
) -> Float32Array:
    """Return ``weight @ x`` for a weight in int8, quantizing ``x`` too.

    ``(scale_x * scales[row]) * float(sum)``: the sum of int8 products exact, its conversion to fp32
    rounded, then two fp32 products. A NaN or an infinity in ``x`` makes every row NaN.

    Args:
        values: The weight's values: integers of any dtype, float64 being the fastest.
        scales: The weight's scales.
        x: Vectors; rounded to fp32 first.
        scale: As in `quantize_vector`.

    Shape:
        values: (rows, columns)
        scales: (rows,)
        x: (..., columns)
        returns: (..., rows)

    Raises:
        ArgumentError: As `quantize_vector`.

    Reference:
        ours
    """
    operand, scale_x = quantize_vector(x, scale)
    # Sums of less than 2**31 are exact in float64 in any order, and BLAS is fast there.
    sums = operand.astype(np.float64) @ values.astype(np.float64, copy=False).T
    with np.errstate(all="ignore"):
        product: Float32Array = (scale_x[..., None] * scales) * sums.astype(np.float32)
    return product
