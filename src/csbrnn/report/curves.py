"""What a study's rows say of each pattern: a curve over pruning rates, and values between them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from csbrnn.checks import is_file_name
from csbrnn.errors import ArgumentError

__all__ = ["AXES", "Axis", "Curve", "Point", "Study", "frontier", "read_study"]


@final
@dataclass(frozen=True)
class Axis:
    """Something that costs.

    Attributes:
        key: Its name in a row.
        title: Its name for people, with its unit.
        scale: What values are multiplied by to have that unit.
        accuracy: The row's key of the accuracy that goes with it: that of the network as deployed,
            where the cost is that of the deployed network.
    """

    key: str
    title: str
    scale: float = 1.0
    accuracy: str = "value_int8"

    def cost_of(self, point: Point) -> float | None:
        """What a point costs, in the title's unit; None if that is not known."""
        value = point.means.get(self.key)
        return None if value is None else value * self.scale

    def accuracy_of(self, point: Point) -> float:
        """The accuracy that goes with the cost; that of the fp32 network for want of another."""
        return point.means.get(self.accuracy, point.means["value"])


AXES = (
    Axis("pruning_rate", "pruning rate", accuracy="value"),
    Axis("total_bits_int8", "Mbit of the pruned matrices, int8, indices included", 1e-6),
    Axis("us_per_step", "us a step (measured: int8, one thread)"),
    Axis("nbytes_int8", "kB of the packed model, int8", 1e-3),
)
"""What accuracy is drawn against."""

REFERENCE_RATE: Final = 8.0
"""`Study.reference_rate`, unless the recipe says another: where it tells on text."""

#: Row keys that are averaged over seeds, besides those of `AXES`.
_AVERAGED = ("value", "value_int8", "kept_weights", "total_weights", "total_bits_fp32")


@final
@dataclass(frozen=True)
class Point:
    """A pattern at one rate, over all seeds that were run.

    Attributes:
        rate: Pruning rate that was asked for.
        seeds: How many.
        gap: Mean loss of accuracy against the dense reference of the same seed, positive if worse.
        gap_error: Its standard error over held-out data, by paired samples; None if not known.
        seed_error: Standard error over seeds, of the mean gap (of the value where this is the dense
            reference); None for a single seed.
        means: Row key -> mean; keys that no row has are left out. Values are the mean of all dense
            references plus the mean gap: seeds start from networks that differ by as much as
            patterns do, and not every pattern was run with every seed.
    """

    rate: float
    seeds: int
    gap: float | None
    gap_error: float | None
    seed_error: float | None
    means: Mapping[str, float]

    @property
    def reached(self) -> float:
        """The pruning rate that it has: not every pattern can have every rate."""
        return self.means["pruning_rate"]

    @property
    def error(self) -> float | None:
        """What to show: the error over seeds; of a single seed, that over held-out data."""
        return self.gap_error if self.seed_error is None else self.seed_error


@final
@dataclass(frozen=True)
class Curve:
    """A pattern and method over pruning rates, ascending."""

    label: str
    pattern: str
    method: str
    points: tuple[Point, ...]
    hardware_friendly: bool | None = None  # where rows don't say

    @property
    def name(self) -> str:
        """Pattern and method."""
        return f"{self.label}, {self.method}" if self.method else self.label

    @cached_property
    def fitted_gaps(self) -> Mapping[float, float]:
        """Rate asked for -> gap, where known, of the closest curve that never falls.

        Who prunes more loses more. Where a measured gap is smaller than that at a lower rate, seeds
        and held-out data differ by more than the rates do: both gaps become their mean, in which
        each seed counts once (isotonic regression).
        """
        known = {p.rate: (p.gap, p.seeds) for p in self.points if p.gap is not None}
        return dict(zip(known, _never_falling(known.values()), strict=True))

    def rate_at(self, gap: float) -> tuple[float, bool] | None:
        """The largest rate up to which no more than ``gap`` is lost.

        Between measured rates the fitted gap is taken as linear in the rate's logarithm; at rate 1
        it is zero, for the dense network is the reference.

        Returns:
            The rate, and whether it is the largest measured one, so that the true one may be
            higher; None if no gap is known.
        """
        known = [
            (point.reached, self.fitted_gaps[point.rate])
            for point in self.points
            if point.rate in self.fitted_gaps
        ]
        if not known:
            return None
        before, low = 1.0, 0.0
        for rate, high in known:
            if high > gap:
                if rate <= before or low > gap:
                    return before, False
                share = (gap - low) / (high - low)
                return before * (rate / before) ** share, False
            before, low = rate, high
        return before, True

    def mean_at(self, rate: float, key: str, dense: float | None = None) -> float | None:
        """A mean at any rate, on a straight line between logarithms; None outside what is known.

        Args:
            rate: Pruning rate.
            key: Of `Point.means`.
            dense: The mean at rate 1.
        """
        known = [(point.reached, point.means[key]) for point in self.points if key in point.means]
        if dense is not None:
            known.insert(0, (1.0, dense))
        for (r0, v0), (r1, v1) in zip(known, known[1:] or known, strict=False):
            if r0 <= rate <= r1:
                share = 0.0 if r0 == r1 else math.log(rate / r0) / math.log(r1 / r0)
                return math.exp((1 - share) * math.log(v0) + share * math.log(v1))
        return None


@final
@dataclass(frozen=True)
class Study:
    """A study's result, for tables and pictures.

    Attributes:
        name: Of the study.
        metric: What is measured.
        lower_is_better: Whether smaller values are better.
        dense: The reference.
        stderr: Standard error of its value over held-out data, for one seed.
        curves: One for each pattern and method, in the order in which they were run.
        machine: Where steps were timed, or where networks were trained if none were.
        recipe: What was run.
        reference_rate: The rate at which others are compared with unstructured pruning.
    """

    name: str
    metric: str
    lower_is_better: bool
    dense: Point
    stderr: float
    curves: tuple[Curve, ...]
    machine: str
    recipe: Mapping[str, Any]
    reference_rate: float

    def curve(self, label: str) -> Curve | None:
        """The first curve of a pattern's label."""
        return next((curve for curve in self.curves if curve.label == label), None)


def read_study(result: Mapping[str, Any]) -> Study:
    """Takes what ``csbrnn study`` has written.

    Raises:
        ArgumentError: It is something else, or has no dense reference yet.
    """
    if result.get("kind") != "study":
        raise ArgumentError("a report is made of the result.json of a study; this is none")
    if not is_file_name(result.get("name")):
        raise ArgumentError(
            "a study's name must be made of letters, digits, '_', '-' and '.', not"
            f" {result.get('name')!r:.80}"
        )
    if not isinstance(result.get("rows"), list) or not isinstance(result.get("task"), dict):
        raise ArgumentError(f"study {result['name']!r}: its result must have a task and rows")
    rows = result["rows"]
    dense = [row for row in rows if row["pattern"] == "dense"]
    if not dense:
        raise ArgumentError(f"study {result['name']!r}: the dense reference is not trained yet")
    lower = result["task"]["lower_is_better"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["pattern"] != "dense":
            groups.setdefault((row["label"], row["method"]), []).append(row)
    reference = _point(dense[0]["pruning_rate"], dense, lower, None)
    curves = tuple(
        Curve(
            label,
            found[0]["pattern"],
            method,
            _points(found, lower, reference),
            found[0].get("hardware_friendly"),
        )
        for (label, method), found in groups.items()
    )
    errors = [row["stderr"] for row in dense if row["stderr"] is not None]
    return Study(
        result["name"],
        result["task"]["metric"],
        lower,
        reference,
        statistics.fmean(errors) if errors else 0.0,
        curves,
        result["timing"].get("environment", {}).get("cpu") or dense[0]["machine"],
        result["recipe"],
        result["recipe"].get("reference_rate", REFERENCE_RATE),
    )


def frontier(study: Study, axis: Axis) -> list[tuple[float, float]]:
    """Costs and accuracies of the networks that no other is both cheaper and better than.

    Returns:
        From the cheapest to the best; the dense reference is among those compared.
    """
    every = [study.dense, *(point for curve in study.curves for point in curve.points)]
    known = [(cost, axis.accuracy_of(p)) for p in every if (cost := axis.cost_of(p)) is not None]
    sign = 1 if study.lower_is_better else -1
    kept: list[tuple[float, float]] = []
    for cost, accuracy in sorted(known, key=lambda pair: (pair[0], sign * pair[1])):
        if not kept or sign * accuracy < sign * kept[-1][1]:
            kept.append((cost, accuracy))
    return kept


def _never_falling(weighed: Iterable[tuple[float, int]]) -> list[float]:
    """Isotonic regression of values with weights, by pooling neighbours (Ayer et al. 1955)."""
    pools: list[tuple[float, int, int]] = []  # mean, weight, and how many values
    for value, weight in weighed:
        mean, heft, count = value, weight, 1
        while pools and pools[-1][0] > mean:
            before, others, many = pools.pop()
            mean = (mean * heft + before * others) / (heft + others)
            heft, count = heft + others, count + many
        pools.append((mean, heft, count))
    return [mean for mean, _, count in pools for _ in range(count)]


def _points(rows: Sequence[Mapping[str, Any]], lower: bool, reference: Point) -> tuple[Point, ...]:
    rates = sorted({row["pruning_rate"] for row in rows})
    return tuple(
        _point(rate, [row for row in rows if row["pruning_rate"] == rate], lower, reference)
        for rate in rates
    )


def _point(
    rate: float, rows: Sequence[Mapping[str, Any]], lower: bool, reference: Point | None
) -> Point:
    gaps = [row["gap"] if lower else -row["gap"] for row in rows if row["gap"] is not None]
    errors = [row["gap_stderr"] for row in rows if row["gap_stderr"] is not None]
    values = [row["value"] for row in rows]
    means = {}
    for key in (*(axis.key for axis in AXES), *_AVERAGED):
        known = [row[key] for row in rows if row[key] is not None]
        if known:
            means[key] = statistics.fmean(known)
    if means.get("kept_weights"):
        means["pruning_rate"] = means["total_weights"] / means["kept_weights"]
    if reference is not None and len(gaps) == len(rows):
        gap = statistics.fmean(gaps)
        shift = reference.means["value"] + (gap if lower else -gap) - means["value"]
        for key in {"value", "value_int8"} & means.keys():
            means[key] += shift
    spread = gaps if reference is not None else values
    return Point(
        rate,
        len(rows),
        statistics.fmean(gaps) if gaps else None,
        # Seeds read the same held-out data: more of them do not make it more.
        statistics.fmean(errors) if errors else None,
        statistics.stdev(spread) / math.sqrt(len(spread)) if len(spread) > 1 else None,
        means,
    )
