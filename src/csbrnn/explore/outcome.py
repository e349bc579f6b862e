"""`Outcome`: what a trial of an exploration found; `Bounds`: what it must keep to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final

from csbrnn.checks import is_finite
from csbrnn.errors import ArgumentError

__all__ = ["COSTS", "Bounds", "Cost", "Outcome"]

COSTS: Final = ("step_us", "nbytes", "cycles")
"""What a network may cost; all are better smaller."""


@final
@dataclass(frozen=True)
class Cost:
    """What a network costs where it is deployed.

    Attributes:
        step_us: Median of a time step at batch 1, one thread, measured, in microseconds; None
            where the engine can't run the network.
        nbytes: Bytes of the packed model's tensors, indices included.
        cycles: Of a step on the accelerator, by its cycle model; None without one.
        machine: Which processor ``step_us`` was measured on.
        note: Why a cost is None where it was asked for.
    """

    step_us: float | None
    nbytes: int
    cycles: int | None = None
    machine: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@final
@dataclass(frozen=True)
class Outcome:
    """The end of one trial.

    Attributes:
        metric: On held-out data, of the network as it is deployed; NaN if there is none.
        cost: What it costs; None where that was not measured.
        ended: "" if the network was trained to its end; else why not: "accuracy" (it diverged, or
            was so much worse than others at the same step that it was given up), "cost" (an
            untrained one is beyond a bound), or "refused" (it can't be trained or stored).
        reason: The same as a sentence.
    """

    metric: float
    cost: Cost | None
    ended: Literal["", "accuracy", "cost", "refused"] = ""
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether there is a metric and a cost: the network was trained to its end."""
        return not self.ended and self.cost is not None and math.isfinite(self.metric)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        data = asdict(self)
        return data | {"metric": self.metric if math.isfinite(self.metric) else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Reads what `to_dict` returned."""
        metric, cost = data["metric"], data["cost"]
        return cls(
            math.nan if metric is None else metric,
            None if cost is None else Cost(**cost),
            data["ended"],
            data["reason"],
        )


@final
@dataclass(frozen=True)
class Bounds:
    """What a network must keep to.

    Attributes:
        lower_is_better: Whether the metric is an error or a score.
        loss: How much worse than the dense reference its metric may be; or
        metric: what its metric must reach.
        costs: Largest cost, by its name.

    Raises:
        ArgumentError: Neither or both of loss and metric are given, or a value is out of range.
    """

    lower_is_better: bool
    loss: float | None
    metric: float | None
    costs: Mapping[str, float]

    def __post_init__(self) -> None:
        reasons = []
        if (self.loss is None) == (self.metric is None):
            reasons.append("exactly one of bound.loss and bound.metric must be given")
        if self.loss is not None and not is_finite(self.loss, 0):
            reasons.append(f"bound.loss must be a finite number, at least 0, not {self.loss!r}")
        if self.metric is not None and not is_finite(self.metric):
            reasons.append(f"bound.metric must be a finite number, not {self.metric!r}")
        reasons += [
            f"bound.{name} must be a positive number, not {value!r}"
            for name, value in self.costs.items()
            if not is_finite(value) or value <= 0
        ]
        if reasons:
            raise ArgumentError("; ".join(reasons))

    def threshold(self, reference: float | None) -> float | None:
        """Returns the worst metric allowed; None while the reference's is not known."""
        if self.metric is not None:
            return self.metric
        if reference is None or self.loss is None:
            return None
        return reference + self.loss if self.lower_is_better else reference - self.loss

    def accurate(self, metric: float, reference: float | None) -> bool | None:
        """Returns whether a metric is good enough; None while that can't be said."""
        threshold = self.threshold(reference)
        if threshold is None:
            return None
        # NaN is not.
        return metric <= threshold if self.lower_is_better else metric >= threshold

    def violation(self, outcome: Outcome, reference: float | None) -> float:
        """Returns how far a complete outcome is beyond the bounds; 0 or less: within.

        The metric counts in its own units, costs by their share above what is allowed.
        """
        worst = -math.inf
        threshold = self.threshold(reference)
        if threshold is not None:
            worst = outcome.metric - threshold
            worst = worst if self.lower_is_better else -worst
        for name, most in self.costs.items():
            value = None if outcome.cost is None else getattr(outcome.cost, name)
            if value is not None:
                worst = max(worst, value / most - 1)
        return worst

    def too_costly(self, cost: Cost) -> str:
        """Returns which bound a cost is beyond; "" if none."""
        for name, most in self.costs.items():
            value = getattr(cost, name)
            if value is not None and value > most:
                return f"{name} {value:g} is above {most:g}"
        return ""
