"""Gradual magnitude pruning; one-shot pruning is its one-step case."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

from csbrnn.checks import is_finite, make_plain
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import refuse, step_reasons
from csbrnn.pruning.regrowth import regrowth
from csbrnn.pruning.schedule import CubicSchedule
from csbrnn.pruning.state import PruningState

__all__ = ["Gradual", "OneShot"]


@final
@dataclasses.dataclass(frozen=True)
class Gradual(Method):
    """Prunes in small bites along a cubic schedule, training under the mask in between.

    Weights once dropped stay at zero, and are not chosen again unless nothing else is left. With
    ``regrow``, dropped weights come back where the loss asks for it: each pruning projects what
    the weights would be after a step along the gradient of all of them, dropped ones included.
    Weights that come back begin with the optimizer's last step from zero. It is off by default:
    it gained 0.01 bits per character at most in our experiments.

    Args:
        begin: Optimizer step of the first pruning.
        end: Step at which the target density is reached; training goes on under the last mask.
        frequency: Steps between two prunings.
        regrow: How long that step is: the root mean square of the dropped weights after it, as a
            share of that of the kept ones. 0 for no regrowth; 0.1 changed little in our
            experiments, and 0.5 did harm.
        regrow_steps: Steps after ``end`` in which weights still come and go at the target density.

    Raises:
        RecipeError: The steps are not whole numbers in order, or ``regrow`` is negative.

    Reference:
        Zhu and Gupta, "To prune, or not to prune" (2017). Regrowth: Evci et al., "Rigging the
        lottery" (2020), whose choice by gradient is the case of single weights; by projection,
        Blumensath and Davies, "Iterative hard thresholding" (2009).
    """

    name: ClassVar[str] = "gradual"

    begin: int
    end: int
    frequency: int = 100
    regrow: float = 0.0
    regrow_steps: int = 0

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = step_reasons(self, begin=0, end=0, frequency=1, regrow_steps=0)
        if not reasons and self.end < self.begin:
            reasons.append(f"end must not come before begin, but {self.end} < {self.begin}")
        if not is_finite(self.regrow, 0):
            reasons.append(f"regrow must be a number, at least 0, not {self.regrow!r}")
        elif self.regrow == 0 and self.regrow_steps:
            reasons.append("regrow_steps without regrow does nothing; set regrow, e.g. to 0.3")
        refuse("Gradual can't be built", reasons)

    @property
    def total_steps(self) -> int:
        """The step after which weights neither come nor go."""
        return self.end + self.regrow_steps

    @property
    def schedule(self) -> CubicSchedule:
        """When it prunes, and how far."""
        return CubicSchedule(self.begin, self.end, self.frequency)

    def phase(self, step: int) -> str:
        """Returns "dense", "pruning", "regrowing" or "complete"."""
        if step >= self.total_steps:
            return "complete"
        return "dense" if step < self.begin else "pruning" if step < self.end else "regrowing"

    def prepare(self, state: PruningState) -> None:
        """Prunes at once if the schedule begins and ends at step 0."""
        self.step(state)

    def step(self, state: PruningState) -> None:
        """Prunes to the schedule's density if that is due."""
        relaxation = self.schedule.relaxation(state.step)
        if self._is_due(state.step) and relaxation < 1:
            regrown = state.wants_gradients
            state.fix_support(relaxation, values=regrowth(state, self.regrow) if regrown else None)
        # The gradients of the step before a pruning decide what comes back.
        state.wants_gradients = (
            self.regrow > 0 and state.relaxation is not None and self._is_due(state.step + 1)
        )

    def _is_due(self, step: int) -> bool:
        late = self.end < step <= self.total_steps and (step - self.end) % self.frequency == 0
        return late or self.schedule.is_due(step)

    def refusals(self, patterns: Sequence[Pattern], scope: str) -> list[str]:
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
