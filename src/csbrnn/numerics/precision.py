"""`Precision`: a number format of weights; `PRECISIONS` are all there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError
from csbrnn.numerics.bf16 import bf16_from_fp32, fp32_from_bf16
from csbrnn.numerics.fixed import (
    MAX_WEIGHT_FRAC,
    fixed_frac,
    fixed_from_real,
    largest_value,
    min_weight_frac,
)
from csbrnn.numerics.int8 import LARGEST, MAX_COLUMNS, is_scale, quantize_vector

__all__ = [
    "BF16",
    "FIXED12",
    "FIXED16",
    "FP32",
    "INT8",
    "PRECISIONS",
    "Precision",
    "Quantized",
    "check_weight",
    "precision_of",
]

Float32Array = NDArray[np.float32]


class Quantized(NamedTuple):
    """A weight matrix in some precision.

    Attributes:
        values: (rows, columns), in the precision's storage dtype. Zero is all bits zero.
        scales: (rows,) fp32 where the precision is scaled; else None.
    """

    values: NDArray[Any]
    scales: Float32Array | None


class Precision(ABC):
    """A number format of weights. It has no state, and there is one object of each.

    `dequantize` is exact and `quantize` idempotent: quantizing what was dequantized gives the same
    values and scales. Whatever the precision, activations and states are fp32; int8 products
    quantize their operand on the way (`int8_product`), other products don't round it. (What an
    accelerator makes of activations too is `csbrnn.accelerator`'s.)

    Attributes:
        name: In files and in `PRECISIONS`.
        bits: Of one value.
        storage: dtype of the stored values; uint16 stands for bf16.
        scaled: Whether each row has a scale.
        rounds_operand: Whether products quantize their operand, too, so that sums are integers.
        max_columns: Most columns of a matrix whose products are still exact; None for any number.
    """

    name: ClassVar[str]
    bits: ClassVar[int]
    storage: ClassVar[np.dtype[Any]]
    scaled: ClassVar[bool] = False
    rounds_operand: ClassVar[bool] = False
    max_columns: ClassVar[int | None] = None

    def quantize(self, weight: NDArray[Any]) -> Quantized:
        """Return the nearest weights that the precision has, row by row.

        Args:
            weight: (rows, columns), fp32 and finite.

        Raises:
            ArgumentError: The weight is something else, or has too many columns.
        """
        weight = check_weight(weight)
        if problem := self.column_problem(weight.shape[1]):
            raise ArgumentError(f"a matrix {problem}")
        return self._quantize(weight)

    def column_problem(self, columns: int) -> str | None:
        """Return why a matrix can't have so many columns, to follow its name, or None."""
        if self.max_columns is None or columns <= self.max_columns:
            return None
        return (
            f"has {columns} columns, more than the {self.max_columns} whose sums are exact in"
            f" {self.name}"
        )

    @abstractmethod
    def _quantize(self, weight: Float32Array) -> Quantized:
        """`quantize`, its argument checked."""

    @abstractmethod
    def dequantize(self, quantized: Quantized) -> Float32Array:
        """Return the fp32 weights that are stored, exactly, as a new array.

        Shape:
            returns: (rows, columns)
        """

    def rounded(self, weight: NDArray[Any]) -> Float32Array:
        """Return what is left of a weight matrix: quantized and dequantized.

        Shape:
            weight, returns: (rows, columns)
        """
        return self.dequantize(self.quantize(weight))

    @abstractmethod
    def problem(self, values: NDArray[Any], scales: NDArray[Any] | None) -> str | None:
        """Return the first thing wrong with values and scales from a stranger, their dtypes right.

        None if they are what `quantize` could have returned.
        """

    def __repr__(self) -> str:
        return self.name.upper()

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles are the one object again: code compares with `is`.
        return precision_of, (self.name,)


@final
class _FP32(Precision):
    name = "fp32"
    bits = 32
    storage = np.dtype(np.float32)

    def _quantize(self, weight: Float32Array) -> Quantized:
        return Quantized(weight, None)

    def dequantize(self, quantized: Quantized) -> Float32Array:
        return np.array(quantized.values, np.float32)

    def problem(self, values: NDArray[Any], scales: NDArray[Any] | None) -> str | None:
        return _first(np.isfinite(values), "values must be finite; number {} is not")


@final
class _BF16(Precision):
    name = "bf16"
    bits = 16
    storage = np.dtype(np.uint16)

    def _quantize(self, weight: Float32Array) -> Quantized:
        return Quantized(bf16_from_fp32(weight), None)

    def dequantize(self, quantized: Quantized) -> Float32Array:
        return fp32_from_bf16(quantized.values)

    def problem(self, values: NDArray[Any], scales: NDArray[Any] | None) -> str | None:
        finite = (values & 0x7F80) != 0x7F80
        return _first(finite, "values must be finite; number {} is not")


class _Scaled(Precision):
    """Integers, times a scale for each row."""

    scaled = True

    def dequantize(self, quantized: Quantized) -> Float32Array:
        values, scales = quantized
        assert scales is not None
        return values.astype(np.float32) * scales[:, None]


@final
class _INT8(_Scaled):
    name = "int8"
    bits = 8
    storage = np.dtype(np.int8)
    rounds_operand = True
    max_columns = MAX_COLUMNS

    def _quantize(self, weight: Float32Array) -> Quantized:
        return Quantized(*quantize_vector(weight))

    def problem(self, values: NDArray[Any], scales: NDArray[Any] | None) -> str | None:
        assert scales is not None
        return _first(
            values >= -LARGEST, f"values must lie in -{LARGEST}..{LARGEST}; number {{}} is -128"
        ) or _first(is_scale(scales), "scales must be as scale_of() makes them; number {} is not")


class _Fixed(_Scaled):
    """Fixed point with one power of two for the whole matrix, which every row's scale repeats."""

    storage = np.dtype(np.int16)

    def _quantize(self, weight: Float32Array) -> Quantized:
        frac = fixed_frac(float(np.abs(weight).max(initial=0)), self.bits)
        values = fixed_from_real(weight, frac, self.bits).astype(np.int16)
        return Quantized(values, np.full(len(weight), 2.0**-frac, np.float32))

    def problem(self, values: NDArray[Any], scales: NDArray[Any] | None) -> str | None:
        assert scales is not None
        largest = largest_value(self.bits)
        problem = _first(
            (values >= -largest) & (values <= largest),
            f"values must lie in -{largest}..{largest}; number {{}} doesn't",
        )
        if problem or not scales.size:
            return problem
        if not (scales == scales[0]).all():
            return "scales must be equal: the weights of a matrix share one binary point"
        mantissa, exponent = np.frexp(np.float64(scales[0]))
        least = min_weight_frac(self.bits)
        if mantissa != 0.5 or not least <= 1 - int(exponent) <= MAX_WEIGHT_FRAC:
            return f"scales must be a power of two in 2^-{MAX_WEIGHT_FRAC} .. 2^{-least}"
        return None


@final
class _Fixed16(_Fixed):
    name = "fixed16"
    bits = 16


@final
class _Fixed12(_Fixed):
    name = "fixed12"
    bits = 12


FP32: Final[Precision] = _FP32()
BF16: Final[Precision] = _BF16()
INT8: Final[Precision] = _INT8()
FIXED16: Final[Precision] = _Fixed16()
FIXED12: Final[Precision] = _Fixed12()

PRECISIONS: Final[dict[str, Precision]] = {p.name: p for p in (FP32, BF16, INT8, FIXED16, FIXED12)}
"""Name, as files and users have it -> precision."""


def precision_of(precision: Precision | str) -> Precision:
    """Return a precision given by itself or by name.

    Raises:
        ArgumentError: There is none of that name.
    """
    if isinstance(precision, Precision):
        return precision
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"a precision must be one of {', '.join(PRECISIONS)}, not {precision!r}"
        )
    return PRECISIONS[precision]


def check_weight(weight: NDArray[Any]) -> Float32Array:
    """Return ``weight`` as a C-ordered array, refusing what no precision can hold.

    Raises:
        ArgumentError: Not a finite two-dimensional fp32 array.
    """
    if not isinstance(weight, np.ndarray) or weight.ndim != 2 or weight.dtype != np.float32:
        got = (
            f"a {weight.dtype} array of shape {weight.shape}"
            if isinstance(weight, np.ndarray)
            else type(weight).__name__
        )
        raise ArgumentError(f"a weight matrix must be a 2-D float32 array, not {got}")
    if not np.isfinite(weight).all():
        raise ArgumentError("a weight matrix must be finite; it holds NaN or infinity")
    return np.ascontiguousarray(weight, np.float32)


def _first(holds: NDArray[np.bool_], message: str) -> str | None:
    """The message with the number of the first value for which it doesn't hold."""
    if holds.all():
        return None
    return message.format(int(np.argmin(holds.reshape(-1))))
