"""Peeling one block after the other, for few and large ones (a whole matrix is one block)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from csbrnn.patterns.peeling import Peeling

__all__ = ["peel_each"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def peel_each(energy: Tensor, heights: Tensor, widths: Tensor) -> Peeling:
    """Returns what `csbrnn.patterns.peeling.peel` does, bit for bit, one block at a time.

    A step is five passes over a row or a column in NumPy, some microseconds. In PyTorch it is 25
    operations on all blocks, each of which costs as much: faster from some 60 blocks on, 20 times
    slower for a whole matrix.

    Shape:
        As `peel`. The blocks are computed in main memory, and the result is on their device.
    """
    row_energy = energy.sum(2, dtype=torch.float64)
    col_energy = energy.sum(1, dtype=torch.float64)
    tensors = (energy, row_energy, col_energy, heights, widths)
    parts = [
        _peel(*block) for block in zip(*(tensor.cpu().numpy() for tensor in tensors), strict=True)
    ]
    row_drop, col_drop, kept, lost = (
        torch.from_numpy(np.stack(arrays)).to(energy.device) for arrays in zip(*parts, strict=True)
    )
    return Peeling(row_drop, col_drop, kept, lost)


def _peel(
    energy: NDArray[np.floating[Any]],
    row_energy: FloatArray,
    col_energy: FloatArray,
    heights: IntArray,
    widths: IntArray,
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Drop times of rows and columns, weights and energy kept at each point, of one block."""
    by_col = np.ascontiguousarray(energy.T)
    inverse_height = 1 / np.maximum(heights, 1).astype(np.float64)
    row_rate, col_rate = row_energy * inverse_height, col_energy.copy()
    row_rate[heights == 0] = np.inf
    col_rate[widths == 0] = np.inf
    grouped = bool((heights > 1).any())

    steps = len(heights) + len(widths) - 1
    row_drop = np.where(heights == 0, -1, steps)
    col_drop = np.where(widths == 0, -1, steps)
    rows_left, cols_left = int(heights.sum()), int(widths.sum())
    kept = np.zeros(steps + 1, np.int64)
    kept[0] = rows_left * cols_left
    lost = np.zeros(steps)
    for step in range(steps):
        if rows_left * cols_left == 0:
            break
        row, col = int(row_rate.argmin()), int(col_rate.argmin())
        row_least, col_least = row_rate[row], col_rate[col]
        if row_least * rows_left < col_least * cols_left:
            height = int(heights[row])
            lost[step] = row_least * height
            col_rate -= energy[row]
            row_rate[row], row_drop[row] = np.inf, step
            rows_left -= height
        else:
            lost[step] = col_least
            row_rate -= by_col[col] * inverse_height if grouped else by_col[col]
            col_rate[col], col_drop[col] = np.inf, step
            cols_left -= 1
        kept[step + 1] = rows_left * cols_left
    losses = np.append(np.maximum(lost, 0), 0.0)
    # Summed from the right: small energies last long, and must not drown in large ones.
    return row_drop, col_drop, kept, losses[::-1].cumsum()[::-1].copy()
