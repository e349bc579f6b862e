"""What pruning knows between two steps: where it stands, and what each weight may still be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from csbrnn.patterns import MaskPattern
from csbrnn.pruning.groups import Groups
from csbrnn.pruning.projection import Projection
from csbrnn.pruning.targets import Target
from csbrnn.pruning.weak_hook import WeakHook

if TYPE_CHECKING:
    from csbrnn.pruning.unit_projection import UnitProjection

__all__ = ["PruningState"]


# Values kept of each weight, to see later whether all were overwritten.
_SAMPLES = 64


class PruningState:
    """The targets, the step count, the support found so far, and a method's own tensors.

    Args:
        targets: The weights to prune.
        scope: What shares a budget: "matrix", "gate", "global" or "units".
        units: Which rows and columns go together, for scope "units".

    Attributes:
        targets, scope, units: As given.
        step: Optimizer steps done.
        relaxation: Density at which the support was last fixed, as the share of the way from the
            target (0) to dense (1); None while the weights are free.
        dropped: For each target the mask of the weights held at zero, or None.
        silenced: For each bias of ``units`` the mask of the values held at zero, or None.
        variables: A method's tensors by name, one for each target: of the weight's shape, or
            scalars.
        wants_gradients: Whether the next backward pass leaves dropped weights their gradients.
    """

    def __init__(
        self, targets: Sequence[Target], scope: str, units: UnitProjection | None = None
    ) -> None:
        self.targets = tuple(targets)
        self.scope = scope
        self.units = units
        self.step = 0
        self.relaxation: float | None = None
        self.dropped: list[Tensor | None] = [None] * len(self.targets)
        self.silenced: list[Tensor | None] = [None] * len(self._biases)
        self.variables: dict[str, list[Tensor]] = {}
        self.wants_gradients = False
        self._projection = Projection(self.targets, scope, units)
        self._groups: list[Groups] = []  # made when first needed; follows from the targets

    @property
    def _biases(self) -> Sequence[Tensor]:
        return () if self.units is None else self.units.biases

    def weights(self) -> list[Tensor]:
        """Returns the weights as they are, detached; half precision is widened to float32."""
        return [_widened(target.parameter.detach()) for target in self.targets]

    def project(
        self, values: Sequence[Tensor], relaxation: float | Sequence[float] = 0.0
    ) -> list[Tensor]:
        """Projects one tensor for each target onto its pattern, sharing budgets by scope."""
        return self._projection.project(values, self._densities(relaxation))

    @torch.no_grad()
    def fix_support(
        self,
        relaxation: float | Sequence[float] = 0.0,
        *,
        values: Sequence[Tensor] | None = None,
    ) -> None:
        """Projects the weights in place, and holds them on their pattern from now on.

        Args:
            relaxation: How far from the target the density is: 1 is dense; one for each target,
                or one for all.
            values: What decides which weights stay, instead of the weights themselves.
        """
        if values is None:
            self.enforce()  # what the optimizer's momentum has moved from zero is still dropped
            values = self.weights()
        self.relaxation = float(max(relaxation) if isinstance(relaxation, Sequence) else relaxation)
        masks = self._projection.masks(values, self._densities(relaxation))
        self.dropped = [None if mask is None else mask.logical_not_() for mask in masks]
        if any(mask is None for mask in masks):
            projected = self.project(self.weights(), relaxation)
            for index, (target, value) in enumerate(zip(self.targets, projected, strict=True)):
                if masks[index] is None:
                    target.parameter.copy_(value)
                    # What a linear pattern dropped stays dropped; what is left is a subspace.
                    self.dropped[index] = value == 0 if target.pattern.is_linear else None
        if self.units is not None:
            self.silenced = list(self.units.silenced(self.dropped))
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Returns the weights to the support: optimizers move them off (momentum, decay)."""
        if self.relaxation is None:
            return
        moving: list[int] = []
        for index, (target, dropped) in enumerate(zip(self.targets, self.dropped, strict=True)):
            if dropped is not None:
                target.parameter.masked_fill_(dropped.to(target.parameter.device), 0)
            if isinstance(target.pattern, MaskPattern):
                continue
            if target.pattern.is_linear:
                weight = _widened(target.parameter.detach())
                target.parameter.copy_(self._projection.onto_subspace(index, weight))
            else:
                moving.append(index)
        if moving:
            projected = self.project(self.weights(), self.relaxation)
            for index in moving:
                self.targets[index].parameter.copy_(projected[index])
        for bias, silenced in zip(self._biases, self.silenced, strict=True):
            if silenced is not None:
                bias.detach().masked_fill_(silenced.to(bias.device), 0)

    def group_norms(self) -> Tensor:
        """Returns ``sum of sqrt(size) * ||group||`` over all groups of all targets, with a graph.

        Shape:
            ``()``, float32 or float64.
        """
        weights = [_widened(target.parameter) for target in self.targets]
        if self.units is not None:
            return self.units.norms(weights)
        device = weights[0].device
        return torch.stack(
            [g.penalty(w).to(device) for g, w in zip(self.groups(), weights, strict=True)]
        ).sum()

    def magnitudes(self) -> list[Tensor]:
        """Returns for every weight the largest magnitude in the group that goes with it."""
        return [g.magnitudes(w) for g, w in zip(self.groups(), self.weights(), strict=True)]

    def groups(self) -> list[Groups]:
        """Returns the groups of each target."""
        devices = [target.parameter.device for target in self.targets]
        if [groups.device for groups in self._groups] != devices:
            self._groups = [Groups(target) for target in self.targets]
        return self._groups

    def sample(self) -> list[Tensor]:
        """Returns a few values of each weight, by which a change of all of them can be seen."""
        weights = [weight.reshape(-1) for weight in self.weights()]
        return [w[:: max(1, w.numel() // _SAMPLES)].to("cpu", copy=True) for w in weights]

    def release(self) -> None:
        """Lets the weights go where they will again."""
        self.relaxation = None
        self.wants_gradients = False
        self.dropped = [None] * len(self.targets)
        self.silenced = [None] * len(self._biases)
        self.variables.clear()

    def hook_gradients(self) -> list[RemovableHandle]:
        """Keeps gradients to what weights may become, from now on, in the backward pass.

        Gradients are zero where weights are held at zero, and averaged as the weights are where a
        pattern is a linear subspace. Clipping then sees the norm of what is trained.
        """
        hooks = [
            target.parameter.register_hook(WeakHook(self, partial(_confine, index)))  # type: ignore[no-untyped-call]
            for index, target in enumerate(self.targets)
        ]
        return hooks + [
            bias.register_hook(WeakHook(self, partial(_silence, index)))  # type: ignore[no-untyped-call]
            for index, bias in enumerate(self._biases)
            if bias.requires_grad
        ]

    def confined(self, index: int, gradient: Tensor) -> Tensor | None:
        """Returns a target's gradient as `hook_gradients` has it; None if it stays as it is."""
        dropped = self.dropped[index]
        if dropped is None or self.wants_gradients:
            return None
        if self.targets[index].pattern.is_linear and bool(gradient.isfinite().all()):
            averaged = self._projection.onto_subspace(index, _widened(gradient.detach()))
            gradient = averaged.to(gradient.dtype)
        return gradient.masked_fill(dropped.to(gradient.device), 0)

    def _densities(self, relaxation: float | Sequence[float]) -> list[float]:
        shares = relaxation
        if not isinstance(shares, Sequence):
            shares = [shares] * len(self.targets)
        return [
            target.density + share * (1 - target.density)
            for target, share in zip(self.targets, shares, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns the state as numbers and tensors (not copied)."""
        return {
            "step": self.step,
            "relaxation": self.relaxation,
            "wants_gradients": self.wants_gradients,
            "targets": {
                target.name: {
                    "dropped": self.dropped[index],
                    "variables": {key: tensors[index] for key, tensors in self.variables.items()},
                }
                for index, target in enumerate(self.targets)
            },
        }

    def load(self, data: dict[str, Any]) -> None:
        """Takes over what :meth:`to_dict` returned for the same targets."""
        self.step = data["step"]
        self.relaxation = data["relaxation"]
        self.wants_gradients = data.get("wants_gradients", False)
        self.dropped = []
        self.variables = {}
        for target in self.targets:
            saved = data["targets"][target.name]
            device = target.parameter.device
            dropped = saved["dropped"]
            self.dropped.append(None if dropped is None else dropped.to(device, copy=True))
            for key, tensor in saved["variables"].items():
                self.variables.setdefault(key, []).append(tensor.to(device, copy=True))
        self.silenced = [None] * len(self.silenced)
        if self.units is not None and self.relaxation is not None:
            self.silenced = list(self.units.silenced(self.dropped))


def _confine(index: int, state: PruningState, gradient: Tensor) -> Tensor | None:
    return state.confined(index, gradient)


def _silence(index: int, state: PruningState, gradient: Tensor) -> Tensor | None:
    silenced = state.silenced[index]
    return None if silenced is None else gradient.masked_fill(silenced.to(gradient.device), 0)


def _widened(weight: Tensor) -> Tensor:
    return weight if weight.dtype == torch.float64 else weight.float()
