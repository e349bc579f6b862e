"""Which lines (row groups or columns) each block keeps, and its five encodings.

One axis of a CSB matrix is a list of *units* for every block: its kept row groups, or its kept
columns, numbered from the block's first. ``capacity[b]`` is how many units block ``b`` has; blocks
at the matrix's edge may have fewer. An axis is stored in one of five ways:

========== ============================================= =========================================
encoding   for each block                                when it is the smallest
========== ============================================= =========================================
``all``    nothing: a block with anything keeps all      stripes, vectors, whole blocks; the other
                                                         axis tells which blocks hold anything
``flags``  1 bit: all its units or none                  block sparsity
``bitmap`` 1 bit a unit                                  more than about 1 unit in log2(n) kept
``list``   a count, then ceil(log2(n)) bits a kept unit  few kept, in small matrices
``gaps``   a Rice code of each kept unit (`rice.py`)      fewer than half kept, scattered
========== ============================================= =========================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import FormatError
from csbrnn.formats.bits import bit_width, pack, packed_nbytes, unpack, unpack_bits
from csbrnn.formats.rice import (
    HEAD_NBYTES,
    decode_positions,
    encode_positions,
    positions_nbytes,
)

__all__ = [
    "ENCODINGS",
    "Lines",
    "check_nbytes",
    "choose_encoding",
    "choose_encodings",
    "decode_axis",
    "decode_counts",
    "decode_units",
    "offsets",
]

ENCODINGS: Final = ("all", "flags", "bitmap", "list", "gaps")
"""In order of preference where sizes are equal: the cheaper to decode first."""

Counts = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Lines:
    """The units that each block keeps along one axis.

    Attributes:
        capacity: (blocks,) int64, units in each block, kept or not; each at least 1.
        counts: (blocks,) int64, units kept in each block.
        units: (sum of counts,) int32, numbered within the block, ascending within each block.
    """

    capacity: Counts
    counts: Counts
    units: NDArray[np.int32]

    @classmethod
    def from_mask(cls, capacity: Counts, keep: NDArray[np.bool_]) -> Lines:
        """Return the lines marked in ``keep``, of shape (blocks, largest capacity)."""
        block, unit = np.nonzero(keep)
        counts = np.bincount(block, minlength=len(capacity)).astype(np.int64)
        return cls(capacity, counts, unit.astype(np.int32))

    def mask(self) -> NDArray[np.bool_]:
        """Return which units are kept. Shape: (blocks, largest capacity)."""
        keep = np.zeros((len(self.counts), _largest(self.capacity)), np.bool_)
        keep[np.repeat(np.arange(len(self.counts)), self.counts), self.units] = True
        return keep

    @property
    def offsets(self) -> Counts:
        """(blocks + 1,) int64: block ``b`` keeps ``units[offsets[b]:offsets[b + 1]]``."""
        return offsets(self.counts)

    @property
    def positions(self) -> NDArray[np.int64]:
        """The kept units, counted from the first unit of the first block. Shape: (kept,)."""
        return np.repeat(offsets(self.capacity)[:-1], self.counts) + self.units

    def encode(self, encoding: str) -> Bytes:
        """Return the axis in one of the encodings, which must be able to hold it.

        Shape:
            returns: (nbytes,)
        """
        n = _largest(self.capacity)
        if encoding == "flags":
            return np.packbits(self.counts > 0, bitorder="little")
        if encoding == "bitmap":
            bits = np.zeros(int(self.capacity.sum()), np.uint8)
            bits[self.positions] = 1
            return np.packbits(bits, bitorder="little")
        if encoding == "list":
            counts = pack(self.counts, bit_width(n + 1))
            return np.concatenate([counts, pack(self.units, bit_width(n))])
        if encoding == "gaps":
            return encode_positions(self.positions)
        return np.zeros(0, np.uint8)


def choose_encoding(lines: Lines) -> tuple[str, int]:
    """Return the encoding of an axis alone that takes the fewest bytes, and those bytes.

    ``all`` then means that every block keeps everything. Ties go to the earlier in `ENCODINGS`.
    """
    full = bool((lines.counts == lines.capacity).all())
    nbytes, i = min((nbytes, i) for i, nbytes in _sizes(lines) if i or full)
    return ENCODINGS[i], nbytes


def decode_axis(data: Bytes, encoding: str, capacity: Counts) -> Lines:
    """Decode an axis alone, as a stranger stored it: ``all`` keeps everything.

    Raises:
        FormatError: It is malformed. Nothing is allocated beyond a multiple of ``capacity``'s sum.
    """
    largest = _largest(capacity)
    check_nbytes(data, encoding, len(capacity), int(capacity.sum()), largest)
    counts = decode_counts(data, encoding, capacity, int(capacity.sum()))
    return decode_units(data, encoding, capacity, capacity if counts is None else counts)


def choose_encodings(rows: Lines, columns: Lines) -> tuple[str, str, int]:
    """Return the encodings of both axes that take the fewest bytes together, and those bytes.

    Exact: every pair that can hold the axes is tried. Ties go to the earlier in `ENCODINGS`, rows
    first.
    """
    choices = [
        (row_nbytes + column_nbytes, i, j)
        for i, row_nbytes in _sizes(rows)
        for j, column_nbytes in _sizes(columns)
        # Two "all" say nothing about which blocks are empty, so none may be.
        if i or j or bool(rows.counts.all())
    ]
    nbytes, i, j = min(choices)
    return ENCODINGS[i], ENCODINGS[j], nbytes


def _sizes(lines: Lines) -> list[tuple[int, int]]:
    capacity, counts = lines.capacity, lines.counts
    n, blocks, kept = _largest(capacity), len(counts), int(counts.sum())
    sizes = [
        (2, packed_nbytes(int(capacity.sum()), 1)),
        (3, packed_nbytes(blocks, bit_width(n + 1)) + packed_nbytes(kept, bit_width(n))),
    ]
    if bool(((counts == 0) | (counts == capacity)).all()):
        sizes += [(0, 0), (1, packed_nbytes(blocks, 1))]
    gaps_nbytes = positions_nbytes(lines.positions)
    if gaps_nbytes >= _least_gaps_nbytes(blocks):
        sizes.append((4, gaps_nbytes))
    return sizes


def _least_gaps_nbytes(blocks: int) -> int:
    """Bytes that ``gaps`` must take: a bit for each block, or a few could stand for millions."""
    return max(HEAD_NBYTES, packed_nbytes(blocks, 1))


def check_nbytes(data: Bytes, encoding: str, blocks: int, units: int, n: int) -> None:
    """Refuse an axis whose size can't be right, before anything of ``blocks`` items is allocated.

    Args:
        data: The axis as stored.
        encoding: One of `ENCODINGS`.
        blocks: Number of blocks.
        units: Sum of all blocks' capacities.
        n: Largest capacity.

    Raises:
        FormatError: The size is wrong or, for ``list`` and ``gaps``, too small.
    """
    at_least = encoding in ("list", "gaps")
    least = {
        "all": 0,
        "flags": packed_nbytes(blocks, 1),
        "bitmap": packed_nbytes(units, 1),
        "list": packed_nbytes(blocks, bit_width(n + 1)),
        "gaps": _least_gaps_nbytes(blocks),
    }[encoding]
    if data.size < least or (not at_least and data.size > least):
        raise FormatError(
            f"encoding {encoding!r} of {blocks} blocks must take"
            f" {'at least ' if at_least else ''}{least} bytes, not {data.size}"
        )


def decode_counts(data: Bytes, encoding: str, capacity: Counts, most: int) -> Counts | None:
    """Return how many units each block keeps; None for ``all``, where the other axis tells.

    `check_nbytes` must have passed. No more than ``most`` units of ``gaps`` are read.

    Shape:
        returns: (blocks,)

    Raises:
        FormatError: A count is beyond the block's capacity, ``gaps`` are malformed or more than
            ``most``, or padding bits are set.
    """
    blocks = len(capacity)
    if encoding == "flags":
        return np.where(unpack_bits(data, blocks) > 0, capacity, 0)
    if encoding == "bitmap":
        bits = unpack_bits(data, int(capacity.sum()))
        if blocks == 0:
            return capacity
        # reduceat needs every segment to be non-empty: capacities are at least 1.
        return np.add.reduceat(bits, offsets(capacity)[:-1], dtype=np.int64)
    if encoding == "list":
        width = bit_width(_largest(capacity) + 1)
        counts = unpack(data[: packed_nbytes(blocks, width)], width, blocks).astype(np.int64)
        if (counts > capacity).any():
            block = int(np.argmax(counts > capacity))
            raise FormatError(f"block {block} keeps {counts[block]} of {capacity[block]} lines")
        return counts
    if encoding == "gaps":
        starts = offsets(capacity)
        positions = decode_positions(data, int(starts[-1]), most)
        # How many lie before each block's end, and before its begin.
        return np.diff(np.searchsorted(positions, starts)).astype(np.int64)
    return None


def decode_units(data: Bytes, encoding: str, capacity: Counts, counts: Counts) -> Lines:
    """Return the axis, given the counts that `decode_counts` returned.

    Raises:
        FormatError: A unit is beyond the block's capacity, units don't ascend, the size is wrong,
            or padding bits are set.
    """
    total, starts = int(counts.sum()), offsets(counts)[:-1]
    if encoding == "bitmap":
        bits = unpack_bits(data, int(capacity.sum()))
        units = np.flatnonzero(bits) - np.repeat(offsets(capacity)[:-1], counts)
    elif encoding == "list":
        n = _largest(capacity)
        head = packed_nbytes(len(counts), bit_width(n + 1))
        units = unpack(data[head:], bit_width(n), total).astype(np.int64)
        if (units >= np.repeat(capacity, counts)).any():
            raise FormatError("a kept line lies outside its block")
        descends = units[1:] <= units[:-1]
        # The first unit of a block need not exceed the last of the block before.
        first = starts[(starts > 0) & (starts < total)]
        descends[first - 1] = False
        if descends.any():
            raise FormatError("the kept lines of a block must ascend")
    elif encoding == "gaps":
        first_unit = offsets(capacity)
        positions = decode_positions(data, int(first_unit[-1]), total)
        units = positions - np.repeat(first_unit[:-1], counts)
    else:
        units = np.arange(total) - np.repeat(starts, counts)
    return Lines(capacity, counts, units.astype(np.int32))


def _largest(capacity: Counts) -> int:
    return int(capacity.max()) if capacity.size else 0


def offsets(counts: Counts) -> Counts:
    """Return where each run begins, and where the last ends. Shape: (len(counts) + 1,)."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts
