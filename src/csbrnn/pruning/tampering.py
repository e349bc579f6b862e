"""What a training loop must not do to weights behind the pruner's back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from csbrnn.errors import CsbrnnError, RecipeError
from csbrnn.pruning.targets import Target

__all__ = ["check_parameters", "check_start"]


def check_start(before: Sequence[Tensor], now: Sequence[Tensor]) -> None:
    """Checks that training starts from the weights that ``prune_`` saw, given samples of both.

    Raises:
        RecipeError: It doesn't.
    """
    # The tolerance lets the model move to another device or to half precision.
    if not all(
        torch.allclose(old.float(), new.float(), rtol=1e-2, atol=1e-6)
        for old, new in zip(before, now, strict=True)
    ):
        raise RecipeError(
            "training must start from the weights that prune_ saw, but they were overwritten"
            " before the first loss(); load weights, and give all ranks the same (or wrap the"
            " model in DistributedDataParallel), before prune_. To resume, call"
            " pruner.load_state_dict()"
        )


def check_parameters(model: nn.Module | None, targets: Sequence[Target]) -> None:
    """Checks that the model still holds the parameters that are pruned.

    Raises:
        CsbrnnError: One was replaced, or the model is gone.
    """
    if model is None:
        raise CsbrnnError("the pruned model is gone; keep a reference to it while it trains")
    for target in targets:
        prefix, _, name = target.name.rpartition(".")
        if model.get_submodule(prefix)._parameters.get(name) is not target.parameter:
            raise CsbrnnError(
                f"{target.name} must stay the parameter it was when prune_ was called, but was"
                " replaced (by a parametrization, quantization or assignment); prune first and"
                " call pruner.detach(), or apply prune_ afterwards"
            )
