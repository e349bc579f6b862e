"""Rice codes of ascending positions: close to as few bits as there can be for a scattered set.

A position is told by its gap, the number of places between it and the one before. A gap G takes
G >> k bits of 0 and a 1, in one stream, and its lowest k bits, in another: both are read without a
loop over codes. A head before them says how many positions there are, and k.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import FormatError
from csbrnn.formats.bits import pack, packed_nbytes, unpack

__all__ = ["HEAD_NBYTES", "decode_positions", "encode_positions", "positions_nbytes"]

HEAD_NBYTES: Final = 5
"""Of the head: how many positions there are, in 32 bits, and k, in 8."""

MAX_WIDTH: Final = 30
"""Largest k: no more than 2^30 places are ever numbered."""

Positions = NDArray[np.int64]


def positions_nbytes(positions: Positions) -> int:
    """Return the bytes that `encode_positions` would take."""
    gaps = _gaps(positions)
    width, zeros = _best_width(gaps)
    return HEAD_NBYTES + packed_nbytes(zeros + gaps.size, 1) + packed_nbytes(gaps.size, width)


def encode_positions(positions: Positions) -> NDArray[np.uint8]:
    """Return ascending positions as bytes, by the k of the fewest bits. Ties: the least.

    Shape:
        positions: (count,), from 0 on
        returns: (nbytes,)

    Reference:
        Rice and Plaunt, "Adaptive variable-length coding" (1971); the two streams: ours, as in
        Elias-Fano codes.
    """
    gaps = _gaps(positions)
    width, zeros = _best_width(gaps)
    unary = np.zeros(zeros + gaps.size, np.uint8)
    unary[np.cumsum((gaps >> width) + 1) - 1] = 1
    head = np.frombuffer(gaps.size.to_bytes(4, "little") + bytes([width]), np.uint8)
    low = pack(gaps & ((1 << width) - 1), width)
    return np.concatenate([head, np.packbits(unary, bitorder="little"), low])


def decode_positions(data: NDArray[np.uint8], places: int, most: int) -> Positions:
    """Return the positions that a stranger encoded, each below ``places``.

    Raises:
        FormatError: They are malformed, or more than ``most``. What is allocated is 8 times the
            size of ``data``, and some 40 bytes for each of ``most``.
    """
    if data.size < HEAD_NBYTES:
        raise FormatError(f"gaps must take at least {HEAD_NBYTES} bytes, not {data.size}")
    count, width = int.from_bytes(data[:4].tobytes(), "little"), int(data[4])
    if count > most:
        raise FormatError(f"gaps must hold at most {most} kept lines, not {count}")
    if width > MAX_WIDTH:
        raise FormatError(f"gaps must have at most {MAX_WIDTH} low bits, not {width}")
    unary_nbytes = data.size - HEAD_NBYTES - packed_nbytes(count, width)
    if unary_nbytes < packed_nbytes(count, 1):
        raise FormatError(f"{count} gaps of {width} low bits take more than {data.size} bytes")
    end = HEAD_NBYTES + unary_nbytes
    unary = np.unpackbits(data[HEAD_NBYTES:end], bitorder="little")
    held = int(np.count_nonzero(unary))  # before their places, which take 8 bytes each
    ones = np.flatnonzero(unary) if held == count else np.zeros(0, np.int64)
    used = int(ones[-1]) + 1 if ones.size else 0
    if held != count or unary_nbytes != packed_nbytes(used, 1):
        raise FormatError(f"gaps must end with the last of {count}, not hold {held}")
    low = unpack(data[end:], width, count).astype(np.int64)
    gaps = (np.diff(ones, prepend=-1) - 1 << width) + low
    # Before they are added up: sums of what is refused might overflow.
    if gaps.size and (int(gaps.max()) >= places or int(gaps.sum()) + count > places):
        raise FormatError(f"a kept line lies beyond the {places} that there are")
    positions: Positions = np.cumsum(gaps + 1) - 1
    return positions


def _gaps(positions: Positions) -> Positions:
    gaps: Positions = np.diff(positions, prepend=np.int64(-1)) - 1
    return gaps


def _best_width(gaps: Positions) -> tuple[int, int]:
    """Return k, and the zeros that gaps take by it: their sum of ``gap >> k``."""
    # With one more low bit a gap has half the zeros. What that spares never grows with k, so the
    # first k from which it spares less than it costs is the best.
    width, zeros = 0, int(gaps.sum())
    while width < MAX_WIDTH:
        fewer = int((gaps >> (width + 1)).sum())
        if zeros - fewer <= gaps.size:
            break
        width, zeros = width + 1, fewer
    return width, zeros
