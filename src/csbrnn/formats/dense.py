"""`DenseMatrix`: every weight, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError
from csbrnn.formats.fields import Fields
from csbrnn.formats.format import (
    Float32Array,
    Matrix,
    check_shape,
    check_weight,
    read_only,
    read_values,
    stored_dtypes,
    take_arrays,
)
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["DenseMatrix"]


@dataclass(frozen=True, eq=False, repr=False)
class DenseMatrix(Matrix):
    """A matrix stored whole, without an index.

    Args:
        values: The weights in the precision's storage dtype, (rows, columns). Not copied: changing
            the caller's array changes the matrix.
        precision: Their number format.
        scales: (rows,) fp32 if the precision is scaled, else None. Not copied.

    Raises:
        ArgumentError: ``values`` and ``scales`` are not what the precision stores; in fp32, a
            finite two-dimensional fp32 array within the caps.
    """

    FORMAT: ClassVar[str] = "dense"
    values: NDArray[Any]
    precision: Precision = FP32
    scales: Float32Array | None = None

    def __post_init__(self) -> None:
        if self.precision is FP32 and self.scales is None:
            values = check_weight(self.values)
        else:
            values = self._checked()
            if self.scales is not None:
                object.__setattr__(self, "scales", read_only(self.scales))
        object.__setattr__(self, "values", read_only(values))

    def _checked(self) -> NDArray[Any]:
        values, scales, precision = self.values, self.scales, self.precision
        if values.ndim != 2 or values.dtype != precision.storage:
            raise ArgumentError(
                f"values in {self.dtype} must be a 2-D {precision.storage} array, not a"
                f" {values.dtype} array of shape {values.shape}"
            )
        rows, columns = values.shape
        check_shape((rows, columns))
        if problem := precision.column_problem(columns):
            raise ArgumentError(f"a matrix {problem}")
        got = None if scales is None else (str(scales.dtype), scales.shape)
        expected = ("float32", (rows,)) if precision.scaled else None
        if got != expected:
            raise ArgumentError(f"scales in {self.dtype} must be {expected}, not {got}")
        problem = precision.problem(values, scales)
        if problem is not None:
            raise ArgumentError(problem)
        return np.ascontiguousarray(values)

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(rows, columns)."""
        return self.values.shape[0], self.values.shape[1]

    def to_quantized(self) -> Quantized:
        """Return the values, not copied, and the scales."""
        return Quantized(self.values, self.scales)

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        return dense

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> DenseMatrix:
        fields.done()
        taken = take_arrays(arrays, stored_dtypes(precision), where)
        values, scales = read_values(
            precision, taken["values"], taken.get("scales"), shape, shape[0], where
        )
        return cls(values, precision, scales)
