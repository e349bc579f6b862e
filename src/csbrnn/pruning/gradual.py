"""Gradual magnitude pruning; one-shot pruning is its one-step case."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import is_count, refuse
from csbrnn.pruning.schedule import CubicSchedule
from csbrnn.pruning.state import PruningState

__all__ = ["Gradual", "OneShot"]


@final
@dataclasses.dataclass(frozen=True)
class Gradual(Method):
    """Prunes in small bites along a cubic schedule, training under the mask in between.

    Weights once dropped stay at zero, so they are not chosen again unless nothing else is left.

    Args:
        begin: Optimizer step of the first pruning.
        end: Step at which the target density is reached; training goes on under the last mask.
        frequency: Steps between two prunings.

    Raises:
        RecipeError: The steps are not whole numbers in order.

    Reference:
        Zhu and Gupta, "To prune, or not to prune" (2017).
    """

    name: ClassVar[str] = "gradual"

    begin: int
    end: int
    frequency: int = 100

    def __post_init__(self) -> None:
        reasons = [
            f"{key} must be a whole number of steps, at least {least}, not {value!r}"
            for key, value, least in (
                ("begin", self.begin, 0),
                ("end", self.end, 0),
                ("frequency", self.frequency, 1),
            )
            if not is_count(value, least)
        ]
        if not reasons and self.end < self.begin:
            reasons.append(f"end must not come before begin, but {self.end} < {self.begin}")
        refuse("Gradual can't be built", reasons)

    @property
    def total_steps(self) -> int:
        """The step at which the target density is reached."""
        return self.end

    @property
    def schedule(self) -> CubicSchedule:
        """When it prunes, and how far."""
        return CubicSchedule(self.begin, self.end, self.frequency)

    def phase(self, step: int) -> str:
        """Returns "dense", "pruning" or "complete"."""
        return "complete" if step >= self.end else "dense" if step < self.begin else "pruning"

    def prepare(self, state: PruningState) -> None:
        """Prunes at once if the schedule begins and ends at step 0."""
        self.step(state)

    def step(self, state: PruningState) -> None:
        """Prunes to the schedule's density if that is due."""
        relaxation = self.schedule.relaxation(state.step)
        if self.schedule.is_due(state.step) and relaxation < 1:
            state.fix_support(relaxation)

    def refusals(self, patterns: Sequence[Pattern]) -> list[str]:
        """Returns a reason for each pattern that is no mask."""
        return [
            f"Gradual trains under a mask, and {pattern} is none; use ADMM"
            for pattern in patterns
            if not isinstance(pattern, MaskPattern)
        ]


def OneShot(at: int = 0) -> Gradual:  # noqa: N802 - stands beside the classes in a recipe
    """Prunes to the target density in one go after step ``at``; 0 is at once, in ``prune_``.

    Raises:
        RecipeError: ``at`` is not a whole number of steps.
    """
    return Gradual(begin=at, end=at)
