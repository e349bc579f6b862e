"""What tiles of 16 floats take, by the precision of their weights: how tilings are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from csbrnn.numerics import BF16, FP32

__all__ = ["COSTS", "Costs"]


class Costs(NamedTuple):
    """Times of tiles; only their ratios matter.

    Attributes:
        tile: Of a tile of an indexed strip, by its rows.
        dense: Of a dense tile, which has no index to read.
        bundle: Of a bundle's tile.
        line: Of looking a bundle's line up, by its reach.
        block: Of a block, whatever its tiles: its scatter and the ends of its loops.
        block_tile: Of a block's tile.

    Units:
        Nanoseconds.
    """

    tile: Mapping[int, float]
    dense: float
    bundle: float
    line: Mapping[int, float]
    block: float
    block_tile: float


COSTS: Final[Mapping[str, Costs]] = {
    FP32.name: Costs({16: 0.65, 8: 0.77, 4: 1.30}, 0.59, 0.72, {64: 2.8, 128: 4.4}, 5.9, 0.65),
    BF16.name: Costs({16: 0.50, 8: 1.30, 4: 1.78}, 0.47, 0.50, {64: 3.4, 128: 4.9}, 5.9, 0.65),
}
"""By precision, and not by instruction set: the tiling decides how sums are rounded, and an export
must give the engine's bits on every machine. So these are geometric means of two machines' times,
AVX-512 and AVX2, measured on Zen 4: fitted to an LSTM of 2 x 1024 (13.5x, out of the L3 cache) and
one of 512 (8x, out of the L2), with stripes of 16 to 1 rows, each in up to three ways. (Those of
blocks and of dense tiles are ratios from Zen 5; in bf16, those of 16 rows and of dense tiles were
lowered by what they gained when two came to be loaded at once.)"""
