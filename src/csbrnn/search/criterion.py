"""`Criterion`: when a pruned network counts as lossless."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from csbrnn.checks import is_finite
from csbrnn.errors import ArgumentError

__all__ = ["STANDARD_ERRORS", "Criterion", "Verdict"]

STANDARD_ERRORS: Final = 2.0
"""Of the difference of two means; beyond it, chance alone is unlikely (about 5%)."""


@final
@dataclass(frozen=True)
class Verdict:
    """What became of one rate.

    Attributes:
        holds: Whether the network counts as lossless.
        loss: How much worse it is than the dense one, on average; negative if better. NaN or
            infinite if training diverged.
        limit: The largest loss that counts as none.
    """

    holds: bool
    loss: float
    limit: float


@final
@dataclass(frozen=True)
class Criterion:
    """Compares a network's metric with that of the dense network, trained equally long.

    Attributes:
        lower_is_better: Whether the metric is an error (bits, error rate) or a score (accuracy).
        tolerance: Loss that counts as none, in the metric's own units. If None, two standard
            errors of the difference, estimated from the dense network's seeds, of which there must
            be two at least. (The spread of the dense seeds stands for that of the pruned ones:
            few seeds a rate would estimate their own badly.)

    Raises:
        ArgumentError: The tolerance is negative or not finite.
    """

    lower_is_better: bool = True
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not is_finite(self.tolerance, 0):
            raise ArgumentError(
                f"tolerance must be a finite number, at least 0, or left out, not"
                f" {self.tolerance!r}"
            )

    def limit(self, dense: Sequence[float], count: int) -> float:
        """Returns the largest loss that counts as none.

        Args:
            dense: The dense network's metric, one a seed.
            count: Seeds of the network to judge.

        Raises:
            ArgumentError: The dense network diverged, or there is no tolerance and one seed only.
        """
        if not all(map(math.isfinite, dense)):
            raise ArgumentError(
                f"the dense network's metric must be finite, but is {list(dense)}: lower the"
                " learning rate, and start again in another directory"
            )
        if self.tolerance is not None:
            return self.tolerance
        if len(dense) < 2:
            raise ArgumentError(
                "two standard errors need two seeds at least, better three or more; give more"
                " seeds, or a tolerance"
            )
        deviation = statistics.stdev(dense)
        return STANDARD_ERRORS * deviation * math.sqrt(1 / len(dense) + 1 / count)

    def judge(self, dense: Sequence[float], metrics: Sequence[float]) -> Verdict:
        """Compares the means over seeds.

        Raises:
            ArgumentError: As for :meth:`limit`, or there are no metrics.
        """
        if not metrics or not dense:
            raise ArgumentError("there must be at least one metric on either side")
        limit = self.limit(dense, len(metrics))
        loss = math.fsum(metrics) / len(metrics) - math.fsum(dense) / len(dense)
        if not self.lower_is_better:
            loss = -loss
        # NaN compares false: a network that diverged does not hold.
        return Verdict(loss <= limit and all(map(math.isfinite, metrics)), loss, limit)
