"""Group lasso: a penalty on the norms of groups of weights drives whole groups to zero."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from csbrnn.checks import is_positive, make_plain
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning.groups import has_groups
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import refuse, step_reasons
from csbrnn.pruning.state import PruningState
from csbrnn.pruning.threshold import ThresholdPruning

__all__ = ["GroupLasso"]


@final
@dataclasses.dataclass(frozen=True)
class GroupLasso(Method):
    """Adds ``strength * sum of sqrt(size) * ||group||`` to the loss, then prunes and retrains.

    The groups are those that the pattern drops together; where they overlap, as the rows and
    columns of a block do, each is penalized. Alone, the weights are projected to the recipe's
    density after ``lasso_steps``. With ``pruning``, a rising threshold drops groups while the
    penalty makes them small; a weaker penalty will do then.

    `csbrnn.pruning.lasso_strength` proposes a strength.

    Args:
        strength: The penalty's factor, lambda in the paper.
        lasso_steps: Steps under the penalty.
        retrain_steps: Steps under the mask, without penalty, that follow.
        begin: Steps of training without penalty before.
        pruning: When a threshold drops groups meanwhile, in steps counted from the start of
            training; it must end before the penalty does. None for lasso alone.

    Units:
        Lengths in optimizer steps.

    Raises:
        RecipeError: A setting is out of range; the message lists all.

    Reference:
        Narang et al., "Block-sparse recurrent neural networks" (2017), sections 3.2 and 3.3; the
        penalty is Yuan and Lin's (2006).
    """

    name: ClassVar[str] = "group_lasso"

    strength: float
    lasso_steps: int
    retrain_steps: int = 0
    begin: int = 0
    pruning: ThresholdPruning | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = step_reasons(self, lasso_steps=1, retrain_steps=0, begin=0)
        if not is_positive(self.strength):
            reasons.append(f"strength must be a positive number, not {self.strength!r}")
        pruning: Any = self.pruning
        if isinstance(pruning, Mapping):
            settings = dict(pruning)
            kind = settings.pop("name", ThresholdPruning.name)
            try:
                if kind != ThresholdPruning.name:
                    raise TypeError(f"its name can be {ThresholdPruning.name!r} only, not {kind!r}")
                object.__setattr__(self, "pruning", ThresholdPruning(**settings))
            except TypeError as error:
                known = ", ".join(f.name for f in dataclasses.fields(ThresholdPruning))
                reasons.append(f"pruning has the settings {known}: {error}")
        elif not isinstance(pruning, (ThresholdPruning, type(None))):
            reasons.append(f"pruning must be a ThresholdPruning or None, not {pruning!r}")
        if not reasons and self.pruning is not None and self.pruning.end > self._lasso_end:
            reasons.append(
                "pruning must end while the penalty is on, but it ends after step"
                f" {self.pruning.end}, and the penalty after {self._lasso_end}"
            )
        refuse("GroupLasso can't be built", reasons)

    @property
    def _lasso_end(self) -> int:
        return self.begin + self.lasso_steps

    @property
    def total_steps(self) -> int:
        """Steps before, under and after the penalty together."""
        return self._lasso_end + self.retrain_steps

    @property
    def retraining_from(self) -> int:
        """The step at which the support is final."""
        return self._lasso_end if self.pruning is None else self.pruning.end

    def phase(self, step: int) -> str:
        """Returns "dense", "lasso", "pruning", "retraining" or "complete"."""
        if step >= self.total_steps:
            return "complete"
        if step >= self._lasso_end:
            return "retraining"
        if self.pruning is not None and self.pruning.begin <= step < self.pruning.end:
            return "pruning"
        return "dense" if step < self.begin else "lasso"

    def needs_penalty(self, step: int) -> bool:
        """Returns whether the penalty is on."""
        return self.begin <= step < self._lasso_end

    def prepare(self, state: PruningState) -> None:
        """Starts the threshold if it begins at step 0."""
        if self.pruning is not None:
            self.pruning.prepare(state)

    def penalty(self, state: PruningState) -> Tensor | None:
        """Returns ``strength * sum of sqrt(size) * ||group||`` over all targets."""
        if not self.needs_penalty(state.step):
            return None
        device = state.targets[0].parameter.device
        with torch.autocast(device.type, enabled=False):
            return self.strength * state.group_norms()

    def step(self, state: PruningState) -> None:
        """Prunes by the threshold if that is due, and to the target when the penalty ends."""
        if self.pruning is not None:
            self.pruning.step(state)
        elif state.step == self._lasso_end:
            state.fix_support()

    def refusals(self, patterns: Sequence[Pattern], scope: str) -> list[str]:
        """Returns a reason for each pattern without groups, and each that is no mask."""
        reasons = []
        for pattern in patterns:
            if not isinstance(pattern, MaskPattern):
                reasons.append(f"GroupLasso trains under a mask, and {pattern} is none; use ADMM")
            elif scope != "units" and not has_groups(pattern):
                reasons.append(
                    f"GroupLasso needs groups of weights that go together, and {pattern} drops"
                    " single weights; use ADMM or Gradual"
                )
        if self.pruning is not None:
            reasons += self.pruning.refusals([], scope)
        return reasons
