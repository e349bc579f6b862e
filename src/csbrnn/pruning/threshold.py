"""Pruning by a rising threshold: groups of weights go when their largest weight falls below it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch

from csbrnn.checks import is_positive, make_plain
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.groups import lowest_kept
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import refuse, step_reasons
from csbrnn.pruning.state import PruningState

__all__ = ["ThresholdPruning"]

_THRESHOLD = "threshold"


@final
@dataclasses.dataclass(frozen=True)
class ThresholdPruning(Method):
    """Drops groups of weights whose largest magnitude lies below a threshold that rises.

    The threshold rises from 0 with a start slope, from ``ramp`` on more steeply, and stops at
    ``end``. Groups are those of the pattern: blocks, rows and columns of blocks; single weights
    where it has none.

    The paper's thresholds decide everything, so the final density is whatever they lead to. Here
    they decide *when* weights go, and the recipe's density how many:

    - By default, each matrix gets the last threshold that would meet the recipe's density in its
      weights as they are at ``begin`` (train first, or start from a trained network).
    - At each pruning, the share of weights that reach the threshold is the density that the
      pattern projects to, if it is above the target; it is the target from there on.
    - After step ``end`` the weights are projected to the target, if they are not there yet.

    Args:
        begin: Optimizer step from which the threshold rises.
        ramp: Step from which it rises more steeply.
        end: Step at which it stops, and at which the target density is reached.
        frequency: Steps between two prunings.
        ramp_slope: The steeper slope, as a multiple of the start slope (1.5 or 2 in the paper).
        final_threshold: The threshold at ``end``, for all matrices; None to find it as above.

    Raises:
        RecipeError: The steps are not whole numbers in order, or another setting is out of range.

    Reference:
        Narang et al., "Exploring sparsity in recurrent neural networks" (2017), algorithm 1 and
        equation 1; for blocks, Narang et al., "Block-sparse recurrent neural networks" (2017),
        section 3.1. With a ramp slope of 1.5 the start slope is theirs: ``2 q f / (2 (ramp -
        begin) + 3 (end - ramp))``. Ending at a target density: ours.
    """

    name: ClassVar[str] = "threshold"

    begin: int
    ramp: int
    end: int
    frequency: int = 100
    ramp_slope: float = 1.5
    final_threshold: float | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = step_reasons(self, begin=0, ramp=0, end=1, frequency=1)
        if not reasons and not self.begin <= self.ramp <= self.end:
            reasons.append(
                "begin, ramp and end must come in this order, not"
                f" {self.begin}, {self.ramp}, {self.end}"
            )
        if not reasons and self.begin == self.end:
            reasons.append("begin must come before end; to prune at once, use OneShot")
        positive: dict[str, Any] = {"ramp_slope": self.ramp_slope}
        if self.final_threshold is not None:
            positive["final_threshold"] = self.final_threshold
        reasons += [
            f"{key} must be a positive number, not {value!r}"
            for key, value in positive.items()
            if not is_positive(value)
        ]
        refuse("ThresholdPruning can't be built", reasons)

    @property
    def total_steps(self) -> int:
        """The step at which the target density is reached."""
        return self.end

    def share(self, step: int) -> float:
        """Returns the threshold after ``step`` steps as a share of the final one."""
        at = min(max(step, self.begin), self.end)
        slow = self.ramp - self.begin
        whole = slow + self.ramp_slope * (self.end - self.ramp)
        return (min(at - self.begin, slow) + self.ramp_slope * max(at - self.ramp, 0)) / whole

    def is_due(self, step: int) -> bool:
        """Returns whether weights are pruned after optimizer step number ``step``."""
        rising = self.begin < step < self.end and (step - self.begin) % self.frequency == 0
        return rising or step == self.end

    def phase(self, step: int) -> str:
        """Returns "dense", "pruning" or "complete"."""
        return "complete" if step >= self.end else "dense" if step < self.begin else "pruning"

    def prepare(self, state: PruningState) -> None:
        """Finds the final thresholds if the schedule begins at step 0."""
        if state.step == self.begin:
            self._start(state)

    def step(self, state: PruningState) -> None:
        """Prunes to the density that the threshold leads to, if that is due."""
        if state.step == self.begin:
            self._start(state)
        elif state.step == self.end:
            state.variables.pop(_THRESHOLD, None)
            state.fix_support()
        elif self.is_due(state.step):
            self._prune(state)

    def refusals(self, patterns: Sequence[Pattern], scope: str) -> list[str]:
        """Returns a reason for each pattern that is no mask, and for scope "units"."""
        reasons = [
            f"ThresholdPruning trains under a mask, and {pattern} is none; use ADMM"
            for pattern in patterns
            if not isinstance(pattern, MaskPattern)
        ]
        if scope == "units":
            reasons.append(
                "ThresholdPruning compares groups of one matrix, and scope='units' drops whole"
                " units; use Gradual"
            )
        return reasons

    def _start(self, state: PruningState) -> None:
        if self.final_threshold is not None:
            finals = [self.final_threshold] * len(state.targets)
        else:
            magnitudes = state.magnitudes()
            if state.scope == "global":
                common = lowest_kept(magnitudes, state.targets[0].density)
                finals = [common] * len(state.targets)
            else:
                finals = [
                    lowest_kept([values], target.density)
                    for values, target in zip(magnitudes, state.targets, strict=True)
                ]
        state.variables[_THRESHOLD] = [torch.tensor(final, dtype=torch.float64) for final in finals]

    def _prune(self, state: PruningState) -> None:
        share = self.share(state.step)
        relaxations = []
        for values, target, limit in zip(
            state.magnitudes(), state.targets, state.variables[_THRESHOLD], strict=True
        ):
            reached = float((values >= share * float(limit)).double().mean())
            over = (reached - target.density) / (1 - target.density) if target.density < 1 else 0.0
            relaxations.append(min(max(over, 0.0), 1.0))
        if min(relaxations) < 1:
            state.fix_support(relaxations)
