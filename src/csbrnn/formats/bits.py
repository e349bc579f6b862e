"""Unsigned integers of any width from 0 to 32 bits, packed without gaps.

Bit ``b`` of value ``i`` is bit ``i * width + b`` of the stream, and bit ``s`` of the stream is bit
``s % 8`` (1 << s % 8) of byte ``s // 8``: least significant first, as in DEFLATE and Arrow. The
bits left over in the last byte are zero, so that equal values have equal bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError, FormatError

__all__ = ["MAX_WIDTH", "bit_width", "pack", "packed_nbytes", "unpack", "unpack_bits"]

MAX_WIDTH = 32
"""Widest value: an index into the largest dimension needs 24 bits, so 32 is ample."""


def bit_width(count: int) -> int:
    """Return the bits that tell ``count`` values (0 to count - 1) apart: ceil(log2(count)).

    One value, or none, needs no bits.
    """
    return max(count - 1, 0).bit_length()


def packed_nbytes(count: int, width: int) -> int:
    """Return the bytes that ``count`` values of ``width`` bits take."""
    return (count * width + 7) // 8


def pack(values: NDArray[np.integer[Any]], width: int) -> NDArray[np.uint8]:
    """Pack unsigned integers, ``width`` bits each.

    Shape:
        values: (count,), each in [0, 2 ** width)
        returns: (packed_nbytes(count, width),)

    Raises:
        ArgumentError: A value does not fit, or the width is not in 0..32.

    Reference:
        ours
    """
    _check_width(width)
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < 1 << width:
        raise ArgumentError(
            f"values must lie in 0..{(1 << width) - 1} to be packed in {width} bits,"
            f" not in {values.min()}..{values.max()}"
        )
    if width == 0 or values.size == 0:
        return np.zeros(0, np.uint8)
    little = np.ascontiguousarray(values, "<u4").view(np.uint8).reshape(-1, 4)
    return np.packbits(
        np.unpackbits(little, axis=1, count=width, bitorder="little"), bitorder="little"
    )


def unpack(data: NDArray[np.uint8], width: int, count: int) -> NDArray[np.uint32]:
    """Unpack ``count`` unsigned integers of ``width`` bits; the inverse of `pack`.

    Shape:
        data: (packed_nbytes(count, width),)
        returns: (count,)

    Raises:
        ArgumentError: The width is not in 0..32.
        FormatError: ``data`` has another size, or a bit left over in its last byte is set.

    Reference:
        ours
    """
    _check_width(width)
    bits = unpack_bits(data, count * width).reshape(count, width)
    # Each row of bits becomes one little-endian word; packbits fills up with zeros.
    little = np.zeros((count, 4), np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    little[:, : packed.shape[1]] = packed
    return little.view("<u4").reshape(count).astype(np.uint32, copy=False)


def unpack_bits(data: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Unpack ``count`` single bits, each into a byte of 0 or 1.

    Shape:
        data: (packed_nbytes(count, 1),)
        returns: (count,)

    Raises:
        FormatError: As `unpack`.
    """
    expected = packed_nbytes(count, 1)
    if data.size != expected:
        raise FormatError(f"{count} bits must take {expected} bytes, not {data.size}")
    unused = 8 * expected - count
    if unused and int(data[-1]) >> (8 - unused):
        raise FormatError(f"the last {unused} bits of {expected} packed bytes must be zero")
    return np.unpackbits(data, count=count, bitorder="little")


def _check_width(width: int) -> None:
    if not 0 <= width <= MAX_WIDTH:
        raise ArgumentError(f"a packed width must be in 0..{MAX_WIDTH} bits, not {width}")
