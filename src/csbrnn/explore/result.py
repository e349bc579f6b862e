"""`ExploreResult`: the Pareto front of an exploration, and all that was tried on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from csbrnn.explore.outcome import Bounds, Outcome
from csbrnn.explore.space import Configuration

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ExploreResult", "Tried", "pareto_front"]

_UNITS = {"step_us": "us a step", "nbytes": "bytes", "cycles": "cycles a step"}


@final
@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        configuration: What was trained.
        stage: Which stage asked for it.
        outcome: What it came to.
        within: Whether it keeps to all bounds; False where it was not trained to its end.
        best: Whether it is on the Pareto front.
    """

    configuration: Configuration
    stage: str
    outcome: Outcome
    within: bool
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            **self.configuration.to_dict(),
            "stage": self.stage,
            **self.outcome.to_dict(),
            "within_bounds": self.within,
            "pareto": self.best,
        }


@final
@dataclass(frozen=True)
class ExploreResult:
    """What is known of an exploration, by all workers together.

    Attributes:
        name: Of the exploration.
        metric: What was measured.
        bounds: What networks must keep to.
        reference: The dense network that the bound relates to; None if it relates to none, or has
            not been trained yet.
        costs: Which costs are objectives.
        trials: In the order of their numbers.
        left_out: Combinations that can't work.
        notes: What stages have dropped.
        why: Why this worker stopped.
    """

    name: str
    metric: str
    bounds: Bounds
    reference: Tried | None
    costs: tuple[str, ...]
    trials: tuple[Tried, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    why: str

    @property
    def front(self) -> tuple[Tried, ...]:
        """The Pareto front, from the cheapest to the most accurate."""
        best = [trial for trial in self.trials if trial.best]
        return tuple(sorted(best, key=lambda trial: _costs(trial.outcome, self.costs)))

    @property
    def threshold(self) -> float | None:
        """The worst metric allowed."""
        reference = None if self.reference is None else self.reference.outcome.metric
        return self.bounds.threshold(reference)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {
            "name": self.name,
            "metric": self.metric,
            "lower_is_better": self.bounds.lower_is_better,
            "threshold": self.threshold,
            "bounds": dict(self.bounds.costs),
            "objectives": ["metric", *self.costs],
            "reference": None if self.reference is None else self.reference.to_dict(),
            "front": [trial.to_dict() for trial in self.front],
            "trials": [trial.to_dict() for trial in self.trials],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "machines": self.machines,
            "why": self.why,
        }

    @property
    def machines(self) -> list[str]:
        """Processors on which steps were timed; times of different ones don't compare."""
        costs = [trial.outcome.cost for trial in self.trials]
        return sorted({cost.machine for cost in costs if cost is not None and cost.machine})

    def table(self) -> Table:
        """The Pareto front, as a table to print."""
        from rich import box
        from rich.table import Table

        table = Table(title="Pareto front (measured)", box=box.SIMPLE_HEAD, padding=(0, 1))
        table.add_column("network", overflow="fold", min_width=24)
        for heading in (self.metric, *(_UNITS[c] for c in self.costs)):
            table.add_column(heading, justify="right")
        others = [trial for trial in self.front if trial != self.reference]
        for trial in [*others, *([] if self.reference is None else [self.reference])]:
            if trial is self.reference:
                table.add_section()
            table.add_row(
                str(trial.configuration) + (" (reference)" if trial is self.reference else ""),
                f"{trial.outcome.metric:.4f}",
                *(_shown(trial.outcome, cost) for cost in self.costs),
            )
        table.caption = self._caption()
        return table

    def _caption(self) -> str:
        ended = Counter[str](trial.outcome.ended for trial in self.trials)
        parts = [f"{len(self.trials)} trials"]
        parts += [
            f"{ended[kind]} {text}"
            for kind, text in (
                ("accuracy", "given up for accuracy"),
                ("cost", "for cost"),
                ("refused", "refused"),
            )
            if ended[kind]
        ]
        parts.append(f"{sum(trial.within for trial in self.trials)} within the bounds")
        threshold = self.threshold
        if threshold is not None:
            sign = "<=" if self.bounds.lower_is_better else ">="
            parts.append(f"{self.metric} {sign} {threshold:.4f}")
        text = ", ".join(parts) + "."
        if len(self.machines) > 1:
            text += f" Steps were timed on {len(self.machines)} kinds of machines: don't compare."
        return text


def pareto_front(
    outcomes: Sequence[Outcome], costs: Sequence[str], *, lower_is_better: bool
) -> list[bool]:
    """Returns which outcomes no other one beats: as good in everything, and better in something.

    Args:
        outcomes: Complete ones.
        costs: What counts besides the metric.
        lower_is_better: Of the metric.
    """
    sign = 1 if lower_is_better else -1
    points = [(sign * o.metric, *_costs(o, costs)) for o in outcomes]
    return [
        not any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True))
            for other in points
        )
        for point in points
    ]


def _costs(outcome: Outcome, names: Sequence[str]) -> tuple[float, ...]:
    values = [None if outcome.cost is None else getattr(outcome.cost, name) for name in names]
    return tuple(math.inf if value is None else float(value) for value in values)


def _shown(outcome: Outcome, name: str) -> str:
    value = None if outcome.cost is None else getattr(outcome.cost, name)
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "step_us" else f"{value:,}"
