"""What the ``csbrnn hw`` verbs have in common: which model, on which arch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Final

from csbrnn.bench.cases import SHAPES, Shape, random_bank_matrix, random_model, random_network
from csbrnn.bench.layouts import parse_layout
from csbrnn.commands.named import packed_directory
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel, load

__all__ = ["CASES", "PATTERNS", "load_hw_model"]


CASES: Final[Mapping[str, Shape]] = {name: SHAPES[name] for name in ("sr", "mt")}
"""Built-in cases by name: the CSB-RNN paper's networks; their weights are random."""

PATTERNS: Final[Mapping[str, str]] = {
    "csb": "compressed structured blocks, of --block and --row-group",
    "banks": "bank-balanced: 4 weights kept in every bank of 4 x --rate columns of a row",
    "blocks": "block sparsity: blocks of --block kept whole or dropped",
}
"""How a case's weights may be pruned."""


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
        row_group: Rows that a case's blocks keep or drop together, for ``pattern="csb"``. [4]
        block: Of a case's matrices, as "32x32", for ``"csb"`` and ``"blocks"``. Rows that equal
            ``row_group`` make stripes. [32x32; 8x8 for ``pattern="blocks"``]
        rate: Pruning rate of a case. [the paper's]
        pattern: One of `PATTERNS`, for a case.
        seed: Of a case's weights.

    Raises:
        ArgumentError: A size is malformed, or given for a packed model, which has its own; the
            pattern is not known, has no such size, or the rate is below 1 or infinite.
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
    if pattern != "csb" and row_group is not None:
        raise ArgumentError(f"--row-group is for --pattern csb; {pattern} has no rows to group")
    if pattern == "banks" and block is not None:
        raise ArgumentError("--block is for --pattern csb or blocks; banks has no blocks")
    case = CASES[name]
    rate = case.pruning_rate if rate is None else rate
    if not 1 <= rate < math.inf:
        raise ArgumentError(f"a pruning rate must be at least 1, and finite, not {rate:g}")
    if pattern == "banks":
        return random_network(case.stack, partial(random_bank_matrix, pruning_rate=rate), seed)
    if pattern == "blocks":
        block = "8x8" if block is None else block
        layout = parse_layout(f"block={block} all-or-nothing")
        assert layout is not None
        layout = layout._replace(row_group=layout.block[0])
    else:
        block = "32x32" if block is None else block
        layout = parse_layout(f"block={block} row_group={4 if row_group is None else row_group}")
    return random_model(case.stack, layout, rate, seed)
