"""Regrowth: what dropped weights would be if they had been trained, so that they can come back."""

from __future__ import annotations

import torch
from torch import Tensor

from csbrnn.errors import CsbrnnError
from csbrnn.pruning.state import PruningState

__all__ = ["regrowth"]


@torch.no_grad()
def regrowth(state: PruningState, size: float) -> list[Tensor] | None:
    """Returns the weights, with dropped ones as after a step along the gradient.

    The step is as long as it takes for the root mean square of the dropped weights to become
    ``size`` times that of the kept ones. What is projected then may keep a dropped weight, or a
    group of them, in the place of weaker ones.

    Args:
        state: Its weights' gradients are those of the last backward pass, unmasked
            (``wants_gradients``), and the same on all data-parallel ranks.
        size: As above.

    Returns:
        One tensor for each target; None if a gradient is not finite (a loss scaler then skips
        the step as well).

    Raises:
        CsbrnnError: A weight has no gradient.
    """
    values = []
    for target, weight, dropped in zip(state.targets, state.weights(), state.dropped, strict=True):
        gradient = target.parameter.grad
        if gradient is None:
            raise CsbrnnError(
                f"regrowth reads the gradient of {target.name} in pruner.step(), and there is"
                " none; call optimizer.zero_grad() after pruner.step(), or before backward()"
            )
        if dropped is None or not bool(dropped.any()) or not bool(weight.any()):
            values.append(weight)
            continue
        there = gradient.detach().to(weight.dtype)[dropped]
        # Scaled before it is squared: gradients may be of any size.
        largest = there.abs().max()
        if not bool(largest.isfinite()):
            return None
        value = weight.clone()
        if bool(largest > 0):
            there = there / largest
            kept = weight[~dropped].square().mean().sqrt()
            value[dropped] = -size * kept * there / there.square().mean().sqrt()
        values.append(value)
    return values
