"""When gradual pruning prunes, and how far."""

from __future__ import annotations

import dataclasses

__all__ = ["CubicSchedule"]


@dataclasses.dataclass(frozen=True)
class CubicSchedule:
    """Sparsity rises from 0 at ``begin`` to its target at ``end``: fast first, then slowly.

    Args:
        begin: First step of the rise.
        end: Step at which the target is reached.
        frequency: Steps between two prunings; ``end`` is always one.

    Units:
        All in optimizer steps.

    Reference:
        Zhu and Gupta, "To prune, or not to prune" (2017), equation 1.
    """

    begin: int
    end: int
    frequency: int

    def is_due(self, step: int) -> bool:
        """Returns whether weights are pruned after optimizer step number ``step``."""
        rising = self.begin <= step < self.end and (step - self.begin) % self.frequency == 0
        return rising or step == self.end

    def relaxation(self, step: int) -> float:
        """Returns how far the density is from its target: 1 is dense, 0 is the target.

        The density of a matrix is ``target + relaxation * (1 - target)``.
        """
        if step >= self.end:
            return 0.0
        if step <= self.begin:
            return 1.0
        progress = (step - self.begin) / (self.end - self.begin)
        return float((1 - progress) ** 3)
