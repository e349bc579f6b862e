"""What pruning knows between two steps: where it stands, and what each weight may still be."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from csbrnn.errors import ArgumentError
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.targets import Target

__all__ = ["PruningState"]


# Values kept of each weight, to see later whether all were overwritten.
_SAMPLES = 64


class PruningState:
    """The targets, the step count, the support found so far, and a method's own tensors.

    Attributes:
        targets: The weights to prune.
        scope: "matrix", "gate" or "global": what shares a budget.
        step: Optimizer steps done.
        relaxation: Density at which the support was last fixed, as the share of the way from the
            target (0) to dense (1); None while the weights are free.
        dropped: For each target the mask of the weights held at zero, or None.
        variables: A method's tensors by name, one for each target.
    """

    def __init__(self, targets: Sequence[Target], scope: str) -> None:
        self.targets = tuple(targets)
        self.scope = scope
        self.step = 0
        self.relaxation: float | None = None
        self.dropped: list[Tensor | None] = [None] * len(self.targets)
        self.variables: dict[str, list[Tensor]] = {}

    @property
    def _masked(self) -> bool:
        return all(isinstance(target.pattern, MaskPattern) for target in self.targets)

    def weights(self) -> list[Tensor]:
        """Returns the weights as they are, detached; half precision is widened to float32."""
        return [_widened(target.parameter.detach()) for target in self.targets]

    def project(self, values: Sequence[Tensor], relaxation: float = 0.0) -> list[Tensor]:
        """Projects one tensor for each target onto its pattern, sharing budgets by scope."""

        def apply(pattern: Pattern, pieces: list[Tensor], density: float) -> list[Tensor]:
            return pattern.project_together(pieces, density)

        return self._by_scope(apply, values, relaxation)

    @torch.no_grad()
    def fix_support(self, relaxation: float = 0.0) -> None:
        """Projects the weights in place, and holds them on their pattern from now on."""
        self.relaxation = relaxation
        if self._masked:

            def apply(pattern: Pattern, pieces: list[Tensor], density: float) -> list[Tensor]:
                return cast(MaskPattern, pattern).mask_together(pieces, density)

            masks = self._by_scope(apply, self.weights(), relaxation)
            self.dropped = [mask.logical_not_() for mask in masks]
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Returns the weights to the support: optimizers move them off (momentum, decay)."""
        if self.relaxation is None:
            return
        if self._masked:
            for target, dropped in zip(self.targets, self.dropped, strict=True):
                if dropped is not None:
                    target.parameter.masked_fill_(dropped.to(target.parameter.device), 0)
        else:
            projected = self.project(self.weights(), self.relaxation)
            for target, value in zip(self.targets, projected, strict=True):
                target.parameter.copy_(value)

    def sample(self) -> list[Tensor]:
        """Returns a few values of each weight, by which a change of all of them can be seen."""
        weights = [weight.reshape(-1) for weight in self.weights()]
        return [w[:: max(1, w.numel() // _SAMPLES)].to("cpu", copy=True) for w in weights]

    def release(self) -> None:
        """Lets the weights go where they will again."""
        self.relaxation = None
        self.dropped = [None] * len(self.targets)
        self.variables.clear()

    def hook_gradients(self) -> list[RemovableHandle]:
        """Zeroes gradients where weights are held at zero, from now on, in the backward pass.

        Gradient clipping then sees the norm of what is trained.
        """
        return [
            target.parameter.register_hook(_mask_gradient(self, index))  # type: ignore[no-untyped-call]
            for index, target in enumerate(self.targets)
        ]

    def _by_scope(
        self,
        apply: Callable[[Pattern, list[Tensor], float], list[Tensor]],
        values: Sequence[Tensor],
        relaxation: float,
    ) -> list[Tensor]:
        def relaxed(density: float) -> float:
            return density + relaxation * (1 - density)

        if self.scope == "global":
            first = self.targets[0]
            with _located(", ".join(target.name for target in self.targets)):
                return apply(first.pattern, list(values), relaxed(first.density))
        results = []
        for target, value in zip(self.targets, values, strict=True):
            gates = target.gates if self.scope == "gate" else 1
            with _located(target.name):
                pieces = [
                    apply(target.pattern, [piece], relaxed(target.density))[0]
                    for piece in torch.chunk(value, gates)
                ]
            results.append(torch.cat(pieces) if gates > 1 else pieces[0])
        return results

    def to_dict(self) -> dict[str, Any]:
        """Returns the state as numbers and tensors (not copied)."""
        return {
            "step": self.step,
            "relaxation": self.relaxation,
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
        self.dropped = []
        self.variables = {}
        for target in self.targets:
            saved = data["targets"][target.name]
            device = target.parameter.device
            dropped = saved["dropped"]
            self.dropped.append(None if dropped is None else dropped.to(device, copy=True))
            for key, tensor in saved["variables"].items():
                self.variables.setdefault(key, []).append(tensor.to(device, copy=True))


@contextlib.contextmanager
def _located(names: str) -> Iterator[None]:
    """Says which weights a pattern refused: it knows them by their values only."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{names}: {error}") from error


def _mask_gradient(state: PruningState, index: int) -> Callable[[Tensor], Tensor | None]:
    # The state holds the parameter, which holds this hook: a weak reference breaks the circle.
    reference = weakref.ref(state)

    def hook(gradient: Tensor) -> Tensor | None:
        state = reference()
        dropped = None if state is None else state.dropped[index]
        return None if dropped is None else gradient.masked_fill(dropped.to(gradient.device), 0)

    return hook


def _widened(weight: Tensor) -> Tensor:
    return weight if weight.dtype == torch.float64 else weight.float()
