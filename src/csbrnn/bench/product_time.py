"""What a pruned weight costs in a step: its product, measured in our runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from csbrnn.runtime import compile

if TYPE_CHECKING:
    from torch import Tensor

    from csbrnn.patterns import Pattern

__all__ = ["product_time"]

BURST_MS: Final = 1.0
"""Length of a burst of products, of which the mean is one sample. Ours: short enough that most
bursts are not interrupted."""


def product_time(
    precision: str = "int8", *, threads: int = 1, budget_ms: float = 50.0
) -> Callable[[str, Pattern, Tensor], float]:
    """Returns a cost for `csbrnn.pruning.choose_blocks`: the time of a weight's product.

    *Measured*, on this machine: the weight is stored as the pattern has it, compiled as a linear
    layer of its own, and multiplied for ``budget_ms``. Products of a step run one after another,
    so their times add up; what a whole step shares (caches) is not in it. The call itself is,
    a fraction of a microsecond for each.

    Args:
        precision: What the weight is stored in.
        threads: Threads that share a product.
        budget_ms: How long each weight is measured.

    Returns:
        A function of a weight's name, its pattern and its values.

    Units:
        microseconds
    """

    def measure(name: str, pattern: Pattern, projected: Tensor) -> float:
        from torch import nn

        from csbrnn.nn import pack

        rows, columns = projected.shape
        layer = nn.Linear(columns, rows, bias=False)
        layer.weight = nn.Parameter(projected.detach().float().cpu())
        model = pack(layer, pattern=pattern, precision=precision, layout="TF")
        stream = compile(model, threads=threads).stream()
        stream.x[...] = 0.5
        return _median_us(stream.step, budget_ms)

    return measure


def _median_us(call: Callable[[], object], budget_ms: float) -> float:
    """The median over bursts of a call's mean time."""
    calls = 1
    while _burst_ms(call, calls) < BURST_MS and calls < 1 << 20:
        calls *= 2
    bursts = max(3, int(budget_ms / BURST_MS))
    return 1e3 * statistics.median(_burst_ms(call, calls) for _ in range(bursts)) / calls


def _burst_ms(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / 1e6
