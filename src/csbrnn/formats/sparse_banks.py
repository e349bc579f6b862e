"""`SparseBanksMatrix`: compressed sparse banks, for matrices whose banks keep equally many weights.

Each row is cut into banks of equal size. First comes the first kept weight of every bank, then the
second of every bank, and so on: as many multipliers as banks read the values and their indices in
the order in which they are stored, with nothing to decode. N:M is the same with banks of M, and
row-balanced with banks as wide as the matrix. See docs/spec/format.md for the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats.bits import bit_width, pack, packed_nbytes, unpack
from csbrnn.formats.fields import Fields
from csbrnn.formats.format import (
    MAX_DIMENSION,
    Float32Array,
    Matrix,
    check_weight,
    number_nbytes,
    read_only,
    read_values,
    stored_dtypes,
    take_arrays,
)
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["Banking", "SparseBanksMatrix", "sparse_banks_nbytes"]


@dataclass(frozen=True)
class Banking:
    """How rows are cut into banks, and how many weights each keeps.

    Args:
        columns: Columns of the matrix.
        bank_size: Columns of a bank; the last may be shorter.
        count: Weights that each bank keeps; a shorter one no more than it has.

    Raises:
        ArgumentError: A size is out of range.
    """

    columns: int
    bank_size: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.bank_size <= MAX_DIMENSION:
            raise ArgumentError(f"bank_size must lie in 1..{MAX_DIMENSION}, not {self.bank_size}")
        if not 0 <= self.count <= self.size:
            raise ArgumentError(
                f"a bank of {self.size} must keep 0..{self.size} weights, not {self.count}"
            )

    @property
    def size(self) -> int:
        """``bank_size``, no larger than the matrix."""
        return min(self.bank_size, max(self.columns, 1))

    @property
    def banks(self) -> int:
        """Banks of a row."""
        return -(-self.columns // self.size)

    @property
    def last(self) -> int:
        """Columns of the last bank."""
        return self.columns - max(self.banks - 1, 0) * self.size

    @property
    def kept(self) -> int:
        """Weights that a row keeps."""
        return max(self.banks - 1, 0) * self.count + min(self.count, self.last)

    @property
    def width(self) -> int:
        """Bits of an index within a bank."""
        return bit_width(self.size)

    def nbytes(self, rows: int, precision: Precision) -> int:
        """Return the bytes of a matrix of so many rows."""
        weights = rows * self.kept
        return number_nbytes(precision, weights, rows) + packed_nbytes(weights, self.width)

    def slots(self) -> NDArray[np.bool_]:
        """Return which banks have a first, second, ... weight. Shape: (count, banks).

        Its True values, row by row, are a row's weights in stored order.
        """
        there = np.ones((self.count, self.banks), np.bool_)
        if self.banks:
            there[self.last :, -1] = False
        return there


@dataclass(frozen=True, eq=False, repr=False)
class SparseBanksMatrix(Matrix):
    """A matrix stored as equally many weights of each bank of each row.

    Make one with `from_dense`; the constructor trusts its arguments.

    Attributes:
        shape: (rows, columns) of the dense matrix.
        banking: Banks, and what they keep.
        indices: (rows, kept of a row) int32: each weight's column within its bank.
        values: (rows, kept of a row) in the precision's storage dtype.
        precision: Number format of the values.
        scales: (rows,) fp32, if the precision is scaled.

    Reference:
        Cao et al., "Efficient and Effective Sparse LSTM on FPGA with Bank-Balanced Sparsity"
        (FPGA 2019): CSB, there for Compressed Sparse Banks.
    """

    FORMAT: ClassVar[str] = "sparse_banks"
    shape: tuple[int, int]
    banking: Banking
    indices: NDArray[np.int32]
    values: NDArray[Any]
    precision: Precision = FP32
    scales: Float32Array | None = None

    @classmethod
    def from_dense(cls, weight: NDArray[Any], bank_size: int) -> SparseBanksMatrix:
        """Store any matrix without loss: every bank keeps as many weights as the fullest needs.

        Banks that need fewer store zeros, of their first columns. Zeros not stored lose their sign.

        Args:
            weight: (rows, columns), fp32 and finite.
            bank_size: Columns of a bank.

        Raises:
            ArgumentError: The weight can't be stored, or ``bank_size`` is out of range.
        """
        weight = check_weight(weight)
        shape = weight.shape[0], weight.shape[1]
        banking = _banking(weight != 0, bank_size)
        slots, banks, size = banking.slots(), banking.banks, banking.size
        # 0: a weight; 1: a zero; 2: a column that a short bank lacks. Sorted, the first are kept.
        rank = np.full((shape[0], banks * size), 2, np.uint8)
        rank[:, : shape[1]] = weight == 0
        order = np.argsort(rank.reshape(shape[0], banks, size), axis=2, kind="stable")
        kept = np.sort(order[..., : banking.count], axis=2)
        indices = kept.transpose(0, 2, 1)[:, slots].astype(np.int32)
        matrix = cls(shape, banking, indices, np.zeros(indices.shape, np.float32))
        return replace(matrix, values=read_only(matrix._gather(weight)))

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Each weight's column in the matrix. Shape: (rows, kept of a row)."""
        _, bank = np.nonzero(self.banking.slots())
        return self.indices + bank * self.banking.size

    @property
    def layout(self) -> str:
        """See `Matrix.layout`."""
        return f"sparse_banks {self.banking.count} of {self.banking.size}"

    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored, pruned weights zero."""
        dense = np.zeros(self.shape, self.values.dtype)
        np.put_along_axis(dense, self.columns, self.values, 1)
        return Quantized(dense, self.scales)

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(dense, self.columns, 1)

    def parameters(self) -> dict[str, Any]:
        """Return size of a bank and weights kept in each."""
        return {
            "bank_size": self.banking.bank_size,
            "count": self.banking.count,
        }

    @cached_property
    def _encoded(self) -> dict[str, NDArray[np.uint8]]:
        return {"indices": read_only(pack(self.indices.reshape(-1), self.banking.width))}

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> SparseBanksMatrix:
        bank_size = fields.integer("bank_size", 1, MAX_DIMENSION)
        count = fields.integer("count", 0, min(bank_size, max(shape[1], 1)))
        fields.done()
        banking = Banking(shape[1], bank_size, count)
        dtypes = stored_dtypes(precision) | {"indices": np.dtype(np.uint8)}
        taken = take_arrays(arrays, dtypes, where)
        expected = shape[0], banking.kept
        values, scales = read_values(
            precision, taken["values"], taken.get("scales"), expected, shape[0], where
        )
        packed, nbytes = taken["indices"], packed_nbytes(values.size, banking.width)
        if packed.shape != (nbytes,):
            raise FormatError(f"{where}: indices must have shape ({nbytes},), not {packed.shape}")
        if values.size == 0:  # a matrix without weights may still declare 2^24 columns
            banking = replace(banking, count=0)
            indices = np.zeros((shape[0], 0), np.int32)
        else:
            flat = unpack(packed, banking.width, values.size).astype(np.int32)
            indices = flat.reshape(expected)
            _check_indices(indices, banking, where)
        return cls(shape, banking, indices, values, precision, scales)


def _check_indices(indices: NDArray[np.int32], banking: Banking, where: str) -> None:
    slots = banking.slots()
    _, bank = np.nonzero(slots)
    most = np.where(bank == banking.banks - 1, banking.last, banking.size)
    if (indices >= most).any():
        row = int(np.argmax((indices >= most).any(axis=1)))
        raise FormatError(f"{where}: indices of row {row} lie beyond their banks")
    # Slots that a short bank lacks are as if they came after all others.
    by_bank = np.full((len(indices), *slots.shape), banking.size, np.int32)
    by_bank[:, slots] = indices
    ascends = (by_bank[:, 1:] > by_bank[:, :-1]) | ~slots[1:]
    if not ascends.all():
        row = int(np.argmin(ascends.all(axis=(1, 2))))
        raise FormatError(f"{where}: the indices of a bank must ascend, but not in row {row}")


def _banking(nonzero: NDArray[np.bool_], bank_size: int) -> Banking:
    banking = Banking(nonzero.shape[1], bank_size, 0)
    if not nonzero.size:
        return banking
    starts = np.arange(0, banking.columns, banking.size)
    counts = np.add.reduceat(nonzero, starts, axis=1, dtype=np.int64)
    return replace(banking, count=int(counts.max()))


def sparse_banks_nbytes(
    nonzero: NDArray[np.bool_], bank_size: int, precision: Precision = FP32
) -> int:
    """Return the `nbytes` that `SparseBanksMatrix.from_dense` would take.

    Shape:
        nonzero: (rows, columns)
    """
    return _banking(nonzero, bank_size).nbytes(nonzero.shape[0], precision)
