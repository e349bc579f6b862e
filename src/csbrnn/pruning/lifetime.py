"""Which pruner belongs to which model, and what is said when both go out of use."""

from __future__ import annotations

import dataclasses
import warnings
import weakref
from typing import TYPE_CHECKING

from torch import nn

from csbrnn.errors import ScheduleWarning

if TYPE_CHECKING:
    from csbrnn.pruning.pruner import Pruner

__all__ = ["Progress", "farewell", "pruners"]

pruners: weakref.WeakKeyDictionary[nn.Module, Pruner] = weakref.WeakKeyDictionary()
"""The pruner of each (unwrapped) model. It lives as long as the model, which it holds weakly."""


@dataclasses.dataclass
class Progress:
    """What :func:`farewell` must know; a finalizer can't hold the pruner itself."""

    step: int
    total_steps: int
    over: bool


def farewell(progress: Progress) -> None:
    """Warns if pruning was left before its end: at garbage collection, or when Python exits."""
    if progress.over:
        return
    how = "has not ended" if progress.step else "never began: pruner.step() was not called"
    warnings.warn(
        f"a model goes out of use after step {progress.step} of {progress.total_steps} of its"
        f" pruning schedule, which {how}; train on, or call pruner.finalize(), or"
        " pruner.detach() if that is meant",
        ScheduleWarning,
        stacklevel=2,
    )
