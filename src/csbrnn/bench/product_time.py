"""What a pruned weight costs in a step: its product, measured in our runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from csbrnn.bench.timing import Statistics, Timed, interleave
from csbrnn.runtime import compile

if TYPE_CHECKING:
    from torch import Tensor

    from csbrnn.patterns import Pattern

__all__ = ["product_time"]


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
        timed = Timed(stream.step)
        interleave([timed], budget_ms / 1e3)
        return Statistics.of(timed.durations_ns).median_us

    return measure
