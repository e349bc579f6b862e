"""ADMM: the loss pulls the weights one way, their projection another, until they agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from csbrnn.checks import is_positive, make_plain
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import refuse, step_reasons
from csbrnn.pruning.schedule import CubicSchedule
from csbrnn.pruning.state import PruningState

__all__ = ["ADMM"]


@final
@dataclasses.dataclass(frozen=True)
class ADMM(Method):
    """Adds ``rho/2 ||W - Z + U||^2`` to the loss, then fixes the support and retrains.

    Every ``interval`` steps ``Z = project(W + U)`` and ``U += W - Z``. After ``admm_steps`` the
    weights are projected for good, and ``retrain_steps`` of training under the mask follow. The
    scaled dual U is rescaled when rho changes, so that the multiplier ``rho * U`` carries over.

    A heuristic: the set of sparse matrices is not convex. What moved results most in our
    experiments: distillation, Adam at 2 to 3 times the dense learning rate, a constant rate
    through the ADMM half, and cosine decay to 2% while retraining.

    Args:
        admm_steps: Steps under the penalty.
        retrain_steps: Steps under the mask that follow.
        begin: Steps of dense training before.
        interval: Steps between two updates of Z and U (20: measured, see above).
        rho: Strength of the penalty; 3e-5 to 1e-4 did best.
        rho_schedule: What rho is multiplied by over equal parts of ``admm_steps``.
        ramp_steps: Of these, the first ones in which the density of Z falls from dense to its
            target, as in gradual pruning; 0 asks for the target from the start.

    Units:
        Lengths in optimizer steps.

    Raises:
        RecipeError: A setting is out of range; the message lists all.

    Reference:
        Boyd et al., "Distributed optimization and statistical learning via ADMM" (2011), sections
        3.1.1 and 3.4.1; for pruning, Zhang et al. (2018); for CSB, Shi et al. (2020).
    """

    name: ClassVar[str] = "admm"

    admm_steps: int
    retrain_steps: int
    begin: int = 0
    interval: int = 20
    rho: float = 1e-4
    rho_schedule: tuple[float, ...] = (1, 3, 10)
    ramp_steps: int = 0

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = step_reasons(
            self, admm_steps=1, retrain_steps=0, begin=0, interval=1, ramp_steps=0
        )
        if not is_positive(self.rho):
            reasons.append(f"rho must be a positive number, not {self.rho!r}")
        schedule = self.rho_schedule
        if (
            not isinstance(schedule, (tuple, list))
            or not schedule
            or not all(is_positive(factor) for factor in schedule)
        ):
            reasons.append(f"rho_schedule must be positive factors of rho, not {schedule!r}")
        if not reasons and self.interval > self.admm_steps:
            reasons.append(
                f"interval must not exceed admm_steps, but {self.interval} > {self.admm_steps}:"
                " Z and U would never be updated"
            )
        if not reasons and self.ramp_steps > self.admm_steps - self.interval:
            reasons.append(
                "ramp_steps must leave Z an update at its density, one interval before the end of"
                f" admm_steps, but {self.ramp_steps} > {self.admm_steps} - {self.interval}"
            )
        refuse("ADMM can't be built", reasons)
        object.__setattr__(self, "rho_schedule", tuple(schedule))

    @property
    def total_steps(self) -> int:
        """Dense, penalized and masked steps together."""
        return self.retraining_from + self.retrain_steps

    @property
    def retraining_from(self) -> int:
        """The step at which the support is fixed."""
        return self.begin + self.admm_steps

    def relaxation_at(self, step: int) -> float:
        """Returns how far the density of Z is from its target after ``step``: 1 is dense."""
        ramp = CubicSchedule(self.begin, self.begin + self.ramp_steps, self.interval)
        return ramp.relaxation(step)

    def rho_at(self, step: int) -> float:
        """Returns the strength of the penalty for the optimizer step after ``step``."""
        parts = len(self.rho_schedule)
        part = (step - self.begin) * parts // self.admm_steps
        return self.rho * self.rho_schedule[min(max(part, 0), parts - 1)]

    def phase(self, step: int) -> str:
        """Returns "dense", "admm", "retraining" or "complete"."""
        if step < self.begin:
            return "dense"
        if step < self.retraining_from:
            return "admm"
        return "retraining" if step < self.total_steps else "complete"

    def needs_penalty(self, step: int) -> bool:
        """Returns whether the step lies in the ADMM phase."""
        return self.phase(step) == "admm"

    def refusals(self, patterns: Sequence[Pattern], scope: str) -> list[str]:
        """Returns a reason for each pattern that is no mask, if the density of Z shall fall."""
        return [
            f"ramp_steps lets the density fall, and that of {pattern} can't; leave it out"
            for pattern in patterns
            if self.ramp_steps and not isinstance(pattern, MaskPattern)
        ]

    def prepare(self, state: PruningState) -> None:
        """Starts from ``Z = project(W), U = 0`` if there is no dense training before."""
        if state.step == self.begin:
            self._start(state)

    def penalty(self, state: PruningState) -> Tensor | None:
        """Returns ``rho/2 ||W - Z + U||^2`` summed over the targets, during the ADMM phase."""
        if not self.needs_penalty(state.step):
            return None
        device = state.targets[0].parameter.device
        distances = []
        # mse_loss is one fused pass forward and one backward; W - anchor would be three.
        with torch.autocast(device.type, enabled=False):
            for target, anchor in zip(state.targets, state.variables["anchor"], strict=True):
                weight = target.parameter.to(anchor.dtype)
                squares = mse_loss(weight, anchor.to(weight.device), reduction="sum")
                distances.append(squares.to(device))
            return torch.stack(distances).sum() * (self.rho_at(state.step) / 2)

    def step(self, state: PruningState) -> None:
        """Updates Z and U when due, and fixes the support at the end of the ADMM phase."""
        if state.step == self.begin:
            self._start(state)
        elif self.begin < state.step < self.retraining_from:
            if (state.step - self.begin) % self.interval == 0:
                self._update(state)
            ratio = self.rho_at(state.step - 1) / self.rho_at(state.step)
            if ratio != 1:
                self._rescale_dual(state, ratio)
        elif state.step == self.retraining_from:
            state.variables.clear()
            state.fix_support()

    # Of Z and U the penalty needs only the anchor Z - U, and the next update only U.

    def _start(self, state: PruningState) -> None:
        weights = state.weights()
        state.variables["dual"] = [torch.zeros_like(weight) for weight in weights]
        state.variables["anchor"] = state.project(weights, self.relaxation_at(state.step))

    def _update(self, state: PruningState) -> None:
        duals = state.variables["dual"]
        shifted = [
            weight + dual.to(weight.device)
            for weight, dual in zip(state.weights(), duals, strict=True)
        ]
        projected = state.project(shifted, self.relaxation_at(state.step))
        # U + W - Z, and Z minus that.
        duals = [value.sub_(z) for value, z in zip(shifted, projected, strict=True)]
        state.variables["dual"] = duals
        state.variables["anchor"] = [z - dual for z, dual in zip(projected, duals, strict=True)]

    def _rescale_dual(self, state: PruningState, ratio: float) -> None:
        duals, anchors = state.variables["dual"], state.variables["anchor"]
        # Z = anchor + dual stays as it is.
        state.variables["anchor"] = [
            anchor + (1 - ratio) * dual for anchor, dual in zip(anchors, duals, strict=True)
        ]
        state.variables["dual"] = [ratio * dual for dual in duals]
