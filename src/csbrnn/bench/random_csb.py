"""`random_csb`: which weights a CSB pattern might keep, where no trained model is at hand."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError

__all__ = ["random_csb"]

_SPREAD: Final = 0.3
"""Standard deviation of the log of a block's density. Ours: within the range that CSB pruning of
trained LSTMs leaves; 0 would hide the cost of imbalance."""

_ASPECT: Final = (0.35, 0.65)
"""Range of the share of a block's log density that its rows take; its columns take the rest."""


def random_csb(
    shape: tuple[int, int],
    block: tuple[int, int],
    row_group: int,
    density: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Draws a mask of compressed structured blocks.

    Each block's density is log-normal about the whole's, shared between its rows and its columns
    by a random ratio; which of them stay is uniform. Blocks of one row group keep it whole, and
    drop columns. The density is met to within the sum of the blocks' rounding.

    Args:
        shape: (rows, columns) of the matrix.
        block: (block_rows, block_cols); blocks at the lower and right edges are cut off.
        row_group: Rows kept or dropped together.
        density: Kept / total.
        rng: Source of randomness.

    Raises:
        ArgumentError: The density is not in 0..1.
    """
    if not 0 < density <= 1:
        raise ArgumentError(f"density must lie in (0, 1], not {density!r}")
    rows, cols = min(block[0], shape[0]), min(block[1], shape[1])
    groups = -(-rows // row_group)
    down, across = -(-shape[0] // rows), -(-shape[1] // cols)
    # Sizes at the edges, (down, 1) and (1, across).
    heights = np.minimum(groups, -(-(shape[0] - rows * np.arange(down)) // row_group))[:, None]
    widths = np.minimum(cols, shape[1] - cols * np.arange(across))[None, :]

    relative = np.exp(_SPREAD * rng.standard_normal((down, across)))
    aspect = np.zeros((down, across)) if groups == 1 else rng.uniform(*_ASPECT, (down, across))

    def counts(scale: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        densities = np.minimum(scale * relative, 1.0)
        kept_groups = np.rint(densities**aspect * heights).astype(np.int64)
        # The columns make up for the rounding of the rows.
        share = np.minimum(densities * heights / np.maximum(kept_groups, 1), 1.0)
        return kept_groups, np.rint(share * widths).astype(np.int64)

    target, low, high = density * float((heights * widths).sum()), 0.0, 64.0
    for _ in range(40):  # bisection, to more digits than there are weights
        middle = (low + high) / 2
        kept_groups, kept_cols = counts(middle)
        low, high = (middle, high) if (kept_groups * kept_cols).sum() < target else (low, middle)
    kept_groups, kept_cols = counts(high)
    group_mask = _random_lines(kept_groups, np.broadcast_to(heights, (down, across)), groups, rng)
    col_mask = _random_lines(kept_cols, np.broadcast_to(widths, (down, across)), cols, rng)
    row_mask = np.repeat(group_mask, row_group, axis=2)[:, :, :rows]
    mask = row_mask.transpose(0, 2, 1)[..., None] & col_mask[:, None]
    return mask.reshape(down * rows, across * cols)[: shape[0], : shape[1]]


def _random_lines(
    counts: NDArray[np.int64], capacities: NDArray[np.int64], lines: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Keeps ``counts`` of the first ``capacities`` lines of each block. Shape: (..., lines)."""
    scores = rng.random((*counts.shape, lines))
    scores[np.arange(lines) >= capacities[..., None]] = 2.0
    ranks = scores.argsort(axis=-1).argsort(axis=-1)
    keep: NDArray[np.bool_] = ranks < counts[..., None]
    return keep
