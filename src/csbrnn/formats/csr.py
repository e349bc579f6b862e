"""`CSRMatrix`: compressed sparse rows, each weight placed by its distance from the one before.

The index that ESE and EIE use: a weight stores how many zeros precede it in its row, in a few bits.
A gap too long for them is stored in steps. See docs/spec/format.md for the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats.bits import bit_width, pack, packed_nbytes, unpack
from csbrnn.formats.fields import Fields, located
from csbrnn.formats.format import (
    Float32Array,
    Matrix,
    check_weight,
    number_nbytes,
    read_only,
    read_values,
    stored_dtypes,
    take_vectors,
)
from csbrnn.formats.index import offsets
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["MAX_GAP_BITS", "CSRMatrix", "best_gap_bits", "csr_nbytes"]

MAX_GAP_BITS: Final = 16
"""Widest gap. The literature's are 4 to 16 bits; of one bit, gaps are a bitmap."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class CSRMatrix(Matrix):
    """A matrix stored as the weights of its rows, each with the gap before it.

    A code of ``gap_bits`` all ones is a step of as many zeros and stands for no weight. (ESE stores
    a zero weight with each; that would only take more bytes.)

    Make one with `from_dense`; the constructor trusts its arguments.

    Attributes:
        shape: (rows, columns) of the dense matrix.
        rows: (kept,) int32, the row of each weight, not descending.
        cols: (kept,) int32, its column, ascending within a row.
        values: (kept,) in the precision's storage dtype.
        gap_bits: Bits of a code, 1 to `MAX_GAP_BITS`.
        precision: Number format of the values.
        scales: (rows of the matrix,) fp32, if the precision is scaled.

    Reference:
        Han et al., "EIE" (ISCA 2016); "ESE" (FPGA 2017).
    """

    FORMAT: ClassVar[str] = "csr"
    shape: tuple[int, int]
    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    values: NDArray[Any]
    gap_bits: int
    precision: Precision = FP32
    scales: Float32Array | None = None

    @classmethod
    def from_dense(cls, weight: NDArray[Any], gap_bits: int | None = None) -> CSRMatrix:
        """Store the weights other than zero; zeros lose their sign.

        Args:
            weight: (rows, columns), fp32 and finite.
            gap_bits: Bits of a gap; those that take the fewest bytes if left out.

        Raises:
            ArgumentError: The weight can't be stored, or ``gap_bits`` is not in 1..16.
        """
        weight = check_weight(weight)
        if gap_bits is not None and not 1 <= gap_bits <= MAX_GAP_BITS:
            raise ArgumentError(f"gap_bits must lie in 1..{MAX_GAP_BITS}, not {gap_bits}")
        rows, cols = np.nonzero(weight)
        if gap_bits is None:
            gap_bits, _ = best_gap_bits(_gaps(rows, cols))
        values = read_only(weight[rows, cols])
        shape = weight.shape[0], weight.shape[1]
        return cls(shape, rows.astype(np.int32), cols.astype(np.int32), values, gap_bits)

    @property
    def layout(self) -> str:
        """See `Matrix.layout`."""
        return f"csr gap_bits={self.gap_bits}"

    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored, pruned weights zero."""
        dense = np.zeros(self.shape, self.values.dtype)
        dense[self.rows, self.cols] = self.values
        return Quantized(dense, self.scales)

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        return dense[self.rows, self.cols]

    def parameters(self) -> dict[str, Any]:
        """Return bits of a gap."""
        return {
            "gap_bits": self.gap_bits,
        }

    @cached_property
    def _encoded(self) -> dict[str, NDArray[np.uint8]]:
        counts = np.bincount(self.rows, minlength=self.shape[0])
        step = (1 << self.gap_bits) - 1
        steps, rest = np.divmod(_gaps(self.rows, self.cols), step)
        place = np.cumsum(steps + 1) - 1
        codes = np.full(int(place[-1]) + 1 if place.size else 0, step, np.int64)
        codes[place] = rest
        return {
            "counts": read_only(pack(counts, bit_width(self.shape[1] + 1))),
            "gaps": read_only(pack(codes, self.gap_bits)),
        }

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> CSRMatrix:
        gap_bits = fields.integer("gap_bits", 1, MAX_GAP_BITS)
        fields.done()
        dtypes = stored_dtypes(precision) | dict.fromkeys(("counts", "gaps"), np.dtype(np.uint8))
        taken = take_vectors(arrays, dtypes, where)
        stored, counts, gaps = (taken[name] for name in ("values", "counts", "gaps"))
        with located(where):
            rows = _decode_rows(counts, shape, stored.size)
            cols = _decode_cols(gaps, gap_bits, rows, shape[1])
        values, scales = read_values(
            precision, stored, taken.get("scales"), stored.shape, shape[0], where
        )
        return cls(shape, rows, cols, values, gap_bits, precision, scales)


def best_gap_bits(gaps: IntArray) -> tuple[int, int]:
    """Return the bits of a gap that take the fewest bytes, and those bytes. Ties: the fewer."""
    lengths = np.bincount(gaps)
    length = np.flatnonzero(lengths)
    many = lengths[length]
    sizes = [
        packed_nbytes(int((many * (length // ((1 << bits) - 1) + 1)).sum()), bits)
        for bits in range(1, MAX_GAP_BITS + 1)
    ]
    best = int(np.argmin(sizes))
    return best + 1, sizes[best]


def csr_nbytes(nonzero: NDArray[np.bool_], precision: Precision = FP32) -> int:
    """Return the `nbytes` that `CSRMatrix.from_dense` would take.

    Shape:
        nonzero: (rows, columns)
    """
    rows, cols = np.nonzero(nonzero)
    _, gap_nbytes = best_gap_bits(_gaps(rows, cols))
    count_nbytes = packed_nbytes(nonzero.shape[0], bit_width(nonzero.shape[1] + 1))
    return number_nbytes(precision, rows.size, nonzero.shape[0]) + gap_nbytes + count_nbytes


def _gaps(rows: NDArray[np.integer[Any]], cols: NDArray[np.integer[Any]]) -> IntArray:
    """Return the zeros before each weight in its row. Shape: (kept,)."""
    gaps = cols.astype(np.int64)
    follows = rows[1:] == rows[:-1]
    gaps[1:][follows] -= cols[:-1][follows].astype(np.int64) + 1
    return gaps


def _decode_rows(counts: NDArray[np.uint8], shape: tuple[int, int], kept: int) -> NDArray[np.int32]:
    """Return the row of each weight."""
    width = bit_width(shape[1] + 1)
    expected = packed_nbytes(shape[0], width)
    if counts.size != expected:
        raise FormatError(
            f"counts of {shape[0]} rows of {width} bits must take {expected} bytes,"
            f" not {counts.size}"
        )
    if width == 0:  # no columns, so no weights; there may be 2^24 rows
        numbers = np.zeros(0, np.int64)
    else:
        numbers = unpack(counts, width, shape[0]).astype(np.int64)
    if numbers.size and int(numbers.max()) > shape[1]:
        row = int(np.argmax(numbers > shape[1]))
        raise FormatError(f"row {row} keeps {numbers[row]} of {shape[1]} weights")
    if int(numbers.sum()) != kept:
        raise FormatError(f"rows keep {numbers.sum()} weights, but there are {kept} values")
    return np.repeat(np.arange(len(numbers), dtype=np.int32), numbers)


def _decode_cols(
    gaps: NDArray[np.uint8], gap_bits: int, rows: NDArray[np.int32], columns: int
) -> NDArray[np.int32]:
    """Return the column of each weight."""
    step = (1 << gap_bits) - 1
    # Bits left over in the last byte may look like codes; they are zero, and behind the last.
    count = 8 * gaps.size // gap_bits
    codes = unpack(gaps[: packed_nbytes(count, gap_bits)], gap_bits, count)
    places = np.flatnonzero(codes != step)[: rows.size]
    if places.size < rows.size:
        raise FormatError(f"gaps must hold {rows.size} weights, not {places.size}")
    used = int(places[-1]) + 1 if places.size else 0
    if gaps.size != packed_nbytes(used, gap_bits) or codes[used:].any():
        raise FormatError(f"gaps must end with the last weight, and zero bits, after {used} codes")
    ends = np.cumsum(np.where(codes[:used] == step, step, codes[:used].astype(np.int64) + 1))
    ends = ends[places]
    # Columns are counted from where the row before ended.
    starts = offsets(np.bincount(rows)) if rows.size else np.zeros(1, np.int64)
    before = np.concatenate([[0], ends])[starts[rows]]
    cols = ends - before - 1
    if cols.size and int(cols.max()) >= columns:
        row = int(rows[np.argmax(cols >= columns)])
        raise FormatError(f"a weight of row {row} lies beyond the {columns} columns")
    narrow: NDArray[np.int32] = cols.astype(np.int32)
    return narrow
