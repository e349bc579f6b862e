"""What the ``csbrnn hw`` verbs have in common: which model, on which arch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.cases import SHAPES, Shape, random_matrix, random_network, random_weight
from csbrnn.bench.layouts import Layout
from csbrnn.cells import Stack
from csbrnn.commands.named import packed_directory
from csbrnn.compiler import Program
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix, Matrix
from csbrnn.model import PackedModel, load

__all__ = ["CASES", "PATTERNS", "load_hw_model", "random_inputs", "random_model"]


CASES: Final[Mapping[str, Shape]] = {name: SHAPES[name] for name in ("sr", "mt")}
"""Built-in cases by name: the CSB-RNN paper's networks; their weights are random."""

PATTERNS: Final[Mapping[str, str]] = {
    "csb": "compressed structured blocks, of --block and --row-group",
    "banks": "bank-balanced: 4 weights kept in every bank of 4 x --rate columns of a row",
    "blocks": "block sparsity: blocks of --block kept whole or dropped",
}
"""How a case's weights may be pruned."""

_KEPT_IN_BANK: Final = 4
"""So that a bank of 54 columns gives exactly 13.5x, and one of 48 12x."""

_MOST_INPUT: Final = 4.0
"""Standard deviations. Ours."""

_BLOCK: Final = re.compile(r"(\d+)x(\d+)")


def load_hw_model(
    name: str,
    *,
    row_group: int | None = None,
    block: str | None = None,
    rate: float | None = None,
    pattern: str = "csb",
    seed: int = 0,
) -> PackedModel:
    """Return a packed model from its directory, or a built-in case with random weights.

    Args:
        name: Directory of a packed model, or one of `CASES`.
        row_group: Rows that a case's blocks keep or drop together. [4]
        block: Of a case's matrices, as "32x32". Rows that equal ``row_group`` make stripes.
            [32x32; 8x8 for ``pattern="blocks"``]
        rate: Pruning rate of a case. [the paper's]
        pattern: One of `PATTERNS`, for a case.
        seed: Of a case's weights.

    Raises:
        ArgumentError: A size is malformed, or given for a packed model, which has its own.
    """
    directory = packed_directory(name, CASES)
    if directory is not None:
        if row_group is not None or block is not None or rate is not None or pattern != "csb":
            raise ArgumentError(
                f"only cases ({', '.join(CASES)}) have --row-group, --block, --rate and --pattern"
                f" to choose; {name} has its own"
            )
        return load(directory)
    if pattern not in PATTERNS:
        raise ArgumentError(f"pattern must be one of {', '.join(PATTERNS)}, not {pattern!r}")
    match = _BLOCK.fullmatch(block or ("8x8" if pattern == "blocks" else "32x32"))
    if match is None:
        raise ArgumentError(f"a block must read like 32x32, not {block!r}")
    case = CASES[name]
    rows, cols = int(match[1]), int(match[2])
    return random_model(
        case.stack,
        (rows, cols),
        (rows if pattern == "blocks" else row_group or 4),
        rate or case.pruning_rate,
        pattern=pattern,
        seed=seed,
    )


def random_model(
    stack: Stack,
    block: tuple[int, int],
    row_group: int,
    rate: float,
    *,
    pattern: str = "csb",
    seed: int = 0,
) -> PackedModel:
    """Return a stack with random CSB matrices, blocks keeping as unequally as pruning leaves them.

    Values are those of `csbrnn.bench.cases.random_weight`.

    Raises:
        ArgumentError: The rate is below 1, or sizes don't fit together.
    """
    if not rate >= 1:
        raise ArgumentError(f"a pruning rate must be at least 1, not {rate:g}")
    if not row_group or not block[0] or not block[1] or block[0] % row_group:
        raise ArgumentError(
            f"sizes must be positive, and row_group must divide the block's rows; {row_group} and"
            f" {block[0]}x{block[1]} don't fit"
        )

    def matrix(shape: tuple[int, int], rng: np.random.Generator) -> Matrix:
        if pattern == "banks":
            weight = random_weight(shape, rate, rng)
            weight *= _random_banks(shape, rate, rng)
            return CSBMatrix.from_dense(weight, (1, shape[1]))
        return random_matrix(shape, rng, Layout(block, row_group, pattern == "blocks"), rate)

    return random_network(stack, matrix, seed)


def random_inputs(program: Program, steps: int, input_range: float, seed: int = 0) -> NDArray[Any]:
    """Return inputs for a program: tokens, or features of unit variance.

    Features are clipped to ``input_range``, and to 4 standard deviations.

    Shape:
        returns: (steps,) tokens, or (steps, width)
    """
    rng = np.random.default_rng(seed)
    stream = program.streams["input"]
    if stream.dtype == "int32":
        return rng.integers(0, stream.bound, steps)
    scale = min(input_range, _MOST_INPUT)
    values = rng.standard_normal((steps, stream.width))
    return np.clip(values, -scale, scale).astype(np.float32)


def _random_banks(
    shape: tuple[int, int], rate: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Keeps `_KEPT_IN_BANK` random columns of every bank of a row; fewer in a short last one."""
    rows, cols = shape
    bank = max(round(_KEPT_IN_BANK * rate), _KEPT_IN_BANK)
    mask = np.zeros(shape, np.bool_)
    for left in range(0, cols, bank):
        width = min(bank, cols - left)
        kept = round(_KEPT_IN_BANK * width / bank)
        ranks = rng.random((rows, width)).argsort(axis=1).argsort(axis=1)
        mask[:, left : left + width] = ranks < kept
    return mask
