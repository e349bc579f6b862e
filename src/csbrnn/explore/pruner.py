"""`BoundPruner`: gives up a trial that will miss the accuracy bound."""

from __future__ import annotations

import math
from typing import Final, final

import optuna
from optuna.trial import FrozenTrial, TrialState

__all__ = ["BoundPruner"]

MARGIN: Final = 1.25
"""A trial is trusted to improve by this factor times the largest improvement seen. Ours: harder
pruned networks heal more than those seen so far."""
STARTUP: Final = 3
"""Trials that must have ended before any is given up."""


@final
class BoundPruner(optuna.pruners.BasePruner):
    """Prunes where even `MARGIN` times the best improvement seen from that step on is too little.

    Optuna's own pruners compare trials with each other, and so would end small networks, which are
    less accurate than large ones, yet within the bound and cheaper. This one compares with the
    bound.

    Args:
        threshold: The worst metric allowed; None if it is not known yet.
        lower_is_better: Of the metric.
    """

    def __init__(self, threshold: float | None, *, lower_is_better: bool) -> None:
        self.threshold = threshold
        self.sign = 1.0 if lower_is_better else -1.0

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Returns whether to give up, by the curves of trials that have ended."""
        step = trial.last_step
        if step is None:
            return False
        now = trial.intermediate_values[step]
        if not math.isfinite(now):
            return True
        gains = [
            self.sign * (ended.intermediate_values[step] - ended.value)
            for ended in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in ended.intermediate_values and ended.value is not None
        ]
        if self.threshold is None or len(gains) < STARTUP:
            return False
        hoped = self.sign * now - MARGIN * max(0.0, *gains)
        return hoped > self.sign * self.threshold
