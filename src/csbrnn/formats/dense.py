"""`DenseMatrix`: every weight, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats.fields import Fields
from csbrnn.formats.format import (
    Float32Array,
    Matrix,
    check_weight,
    read_only,
    read_shape,
    read_values,
    take_arrays,
)

__all__ = ["DenseMatrix"]


@dataclass(frozen=True, eq=False, repr=False)
class DenseMatrix(Matrix):
    """A matrix stored whole, without an index.

    Args:
        values: The weights, (rows, columns), fp32 and finite. Not copied: changing the caller's
            array changes the matrix.

    Raises:
        ArgumentError: ``values`` is not a finite two-dimensional fp32 array within the caps.
    """

    FORMAT: ClassVar[str] = "dense"
    values: Float32Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", read_only(check_weight(self.values)))

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(rows, columns)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def kept(self) -> int:
        """Every weight."""
        return self.values.size

    @property
    def index_bits(self) -> int:
        """None."""
        return 0

    def to_dense(self) -> Float32Array:
        """Return a copy of the values."""
        return self.values.copy()

    def header(self) -> dict[str, Any]:
        """Return format, shape and dtype."""
        return {"format": self.FORMAT, "shape": list(self.shape), "dtype": self.dtype}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return ``values``: (rows, columns), fp32, C order."""
        return {"values": self.values}

    @classmethod
    def from_arrays(
        cls, header: Mapping[str, object], arrays: Mapping[str, NDArray[Any]], where: str = "header"
    ) -> DenseMatrix:
        """Read a dense matrix back; see `Matrix.from_arrays`."""
        fields = Fields(header, where)
        fields.choice("format", (cls.FORMAT,))
        shape = read_shape(fields)
        fields.done()
        (values,) = take_arrays(arrays, {"values": np.float32}, where)
        return cls(read_values(values, shape, where))
