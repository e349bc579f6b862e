"""What the ``csbrnn hw`` verbs have in common: which model, on which arch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.layouts import Layout
from csbrnn.cells import LSTM, Stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix
from csbrnn.model import Features, PackedModel, Recurrent, load

__all__ = ["CASES", "PATTERNS", "Case", "load_hw_model", "random_model"]


@dataclass(frozen=True)
class Case:
    """A paper's network.

    Attributes:
        stack: Its layers.
        pruning_rate: At no loss, by the paper.
    """

    stack: Stack
    pruning_rate: float


CASES: Final[Mapping[str, Case]] = {
    # CSB-RNN (Shi et al., 2020), Table 1: speech recognition and machine translation.
    "sr": Case(Stack(LSTM, 153, 1024, num_layers=2), 13.5),
    "mt": Case(Stack(LSTM, 1500, 1500, num_layers=2), 12.0),
}
"""Built-in cases by name; their weights are random."""

PATTERNS: Final[Mapping[str, str]] = {
    "csb": "compressed structured blocks, of --block and --row-group",
    "banks": "bank-balanced: 4 weights kept in every bank of 4 x --rate columns of a row",
    "blocks": "block sparsity: blocks of --block kept whole or dropped",
}
"""How a case's weights may be pruned."""

_KEPT_IN_BANK: Final = 4
"""So that a bank of 54 columns gives exactly 13.5x, and one of 48 12x."""

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
    if name not in CASES or Path(name).exists():
        if row_group is not None or block is not None or rate is not None or pattern != "csb":
            raise ArgumentError(
                f"only cases ({', '.join(CASES)}) have --row-group, --block, --rate and --pattern"
                f" to choose; {name} has its own"
            )
        return load(Path(name))
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

    Values are Gaussian, scaled so that a gate's sum has unit variance.

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
    rng = np.random.default_rng(seed)
    parameters: dict[str, Any] = {}
    for name, size in stack.parameter_shapes().items():
        if len(size) == 1:
            parameters[name] = 0.1 * rng.standard_normal(size, np.float32)
            continue
        shape = (size[0], size[1])
        scale = np.float32(np.sqrt(0.5 * rate / shape[1]))
        weight = scale * rng.standard_normal(shape, np.float32)
        if pattern == "banks":
            weight *= _random_banks(shape, rate, rng)
            parameters[name] = CSBMatrix.from_dense(weight, (1, shape[1]))
            continue
        whole = pattern == "blocks"
        weight *= Layout(block, row_group, whole).random_mask(shape, 1 / rate, rng)
        parameters[name] = CSBMatrix.from_dense(weight, block, row_group)
    layer = Recurrent("rnn", ("input",), stack, parameters)
    return PackedModel((layer,), Features(stack.input_size), "rnn")


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
