"""Other machines on the same matrices, for comparison: cycles that a step's products would take.

The *lock-step* machine is CSB-RNN's, as we read the paper: G PEGroups in a grid work on as many
neighbouring blocks of a matrix at a time; a group of P x Q PEs multiplies a P x Q tile of its
block's kernel each cycle, and all groups begin the next blocks together. With sharing, a group
may give any part of its work to the neighbour on its right and to the one below (the grid's edges
meet), at no cost: better than hardware can do. Element-wise work is left out. All of it is
modelled.

Reference:
    Shi et al., "CSB-RNN", ICS 2020, sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.compiler import compile_step
from csbrnn.accelerator.cycles import count_cycles
from csbrnn.accelerator.kernels import as_blocks
from csbrnn.accelerator.step import FixedStep, Product

__all__ = ["baselines", "lock_step_cycles"]

_PRODUCTS: Final = "products alone, at best"

_MOST_GROUPS: Final = 16
"""Groups for which sharing is modelled: it looks at every subset of them."""


def baselines(step: FixedStep, arch: Arch) -> dict[str, dict[str, Any]]:
    """Return cycles and utilization of other machines with the arch's PEs.

    Args:
        step: The step.
        arch: For groups and PEs a group.

    Returns:
        ``"lock_step"`` (no sharing), ``"lock_step_neighbours"``, and ``"unbalanced"``: our engine
        whose groups own neighbouring units as they come. ``"what"`` says what of a step is counted;
        ``"cycles"`` is None, with ``"why"``, where one can't be modelled.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, sharing in (("lock_step", False), ("lock_step_neighbours", True)):
        if sharing and arch.groups > _MOST_GROUPS:
            why = f"sharing is modelled for up to {_MOST_GROUPS} groups"
            found[name] = {"cycles": None, "utilization": None, "what": _PRODUCTS, "why": why}
            continue
        cycles = lock_step_cycles(step, arch, sharing=sharing)
        # A step without weights takes no cycles.
        utilization = step.kept / (arch.pes * cycles) if cycles else 0.0
        found[name] = {"cycles": cycles, "utilization": utilization, "what": _PRODUCTS}
    plain = count_cycles(compile_step(step, arch, balance=False).image)
    found["unbalanced"] = {
        "cycles": plain.cycles,
        "utilization": plain.utilization,
        "what": "the whole step",
    }
    return found


def lock_step_cycles(step: FixedStep, arch: Arch, *, sharing: bool) -> int:
    """Return the cycles of the lock-step machine; see the module."""
    grid = _factors(arch.groups)
    tile = _factors(arch.banks)
    total = 0
    seen: set[tuple[str, int, tuple[int, int]]] = set()
    for stage in step.stages:
        for product in stage.products:
            key = (product.sum, id(product.matrix), product.rows)
            if key in seen:  # the parts of a concatenation are one matrix, into one sum
                continue
            seen.add(key)
            total += _product_cycles(product, grid, tile, sharing)
    return total


def _product_cycles(
    product: Product, grid: tuple[int, int], tile: tuple[int, int], sharing: bool
) -> int:
    loads = _block_loads(product, tile)
    down, across = (-(-size // g) for size, g in zip(loads.shape, grid, strict=True))
    padded = np.zeros((down * grid[0], across * grid[1]), np.int64)
    padded[: loads.shape[0], : loads.shape[1]] = loads
    rounds = padded.reshape(down, grid[0], across, grid[1]).transpose(0, 2, 1, 3)
    flat = rounds.reshape(-1, grid[0] * grid[1])
    if not sharing:
        return int(flat.max(axis=1).sum())
    return int(_shared(flat, grid).sum())


def _block_loads(product: Product, tile: tuple[int, int]) -> NDArray[np.int64]:
    """Cycles of each block's kernel on one group. Shape: (blocks down, blocks across)."""
    matrix = as_blocks(product.matrix)
    first, stop = product.rows
    if matrix is None:
        rows, cols = product.weights.shape
        size = 32  # a dense matrix has no blocks of its own
        grid = (-(-rows // size), -(-cols // size))
        m = np.minimum(size, rows - size * np.arange(grid[0]))[:, None]
        n = np.minimum(size, cols - size * np.arange(grid[1]))[None, :]
        dense: NDArray[np.int64] = -(-m // tile[0]) * -(-n // tile[1])
        return dense
    kept = matrix.rows
    inside = (kept >= first) & (kept < stop)
    counts = np.add.reduceat(np.append(inside, False).astype(np.int64), matrix.row_offsets[:-1]) * (
        np.diff(matrix.row_offsets) > 0
    )
    loads = -(-counts // tile[0]) * -(-matrix.columns.counts // tile[1])
    blocks = loads.reshape(matrix.blocking.grid)
    height = matrix.blocking.tile[0]
    mine: NDArray[np.int64] = blocks[first // height : -(-stop // height)]
    return mine


def _shared(loads: NDArray[np.int64], grid: tuple[int, int]) -> NDArray[np.int64]:
    """Least time of each round if work may move to the right and downwards. Shape: (rounds,).

    By Hall's theorem it is the largest of (work of a set of groups) / (groups that can help), over
    all sets.
    """
    groups = grid[0] * grid[1]
    subsets = (np.arange(1, 1 << groups)[:, None] >> np.arange(groups)) & 1
    square = subsets.reshape(-1, *grid).astype(np.bool_)
    right, below = np.roll(square, 1, axis=2), np.roll(square, 1, axis=1)
    helpers = (square | right | below).reshape(-1, groups).sum(axis=1)
    scaled = (subsets / helpers[:, None]).astype(np.float32)
    times = [(scaled @ part.T.astype(np.float32)).max(axis=0) for part in _chunks(loads)]
    rounded: NDArray[np.int64] = np.ceil(np.concatenate(times) - 1e-3).astype(np.int64)
    return rounded


def _chunks(loads: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return np.array_split(loads, max(len(loads) // 256, 1))


def _factors(count: int) -> tuple[int, int]:
    """Two factors, as near to a square as they come."""
    low = max(d for d in range(1, int(count**0.5) + 1) if count % d == 0)
    return low, count // low
