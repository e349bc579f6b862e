"""A study as a table like Table 1 of the CSB-RNN paper: each pattern at no loss of accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from csbrnn.markdown import markdown_table
from csbrnn.report.curves import Curve, Point, Study

__all__ = [
    "Comparison",
    "NoLoss",
    "grid_markdown",
    "no_loss",
    "no_loss_markdown",
    "terminal_tables",
]

_TEXTS: Final = 2
"""Columns at the left that hold text."""

_RATE_MET: Final = 0.03
"""Share by which a rate may be off what was asked for before tables say so. Ours: patterns that
keep as many weights in every bank can't come closer."""

_SHORT: Final = {
    "hardware friendly": "for\nhw.",
    "rate at no loss": "rate, no\nloss",
    "weights after": "kept",
    "total bits": "bits",
    "relative rate (2 se)": "rel. rate\n(2 se)",
    "relative bits (2 se)": "rel. bits\n(2 se)",
}
"""Headings where columns are few."""

REFERENCE: Final = "unstructured"
"""The pattern that others are compared with."""


@final
@dataclass(frozen=True)
class Comparison:
    """A pattern where it is as accurate as unstructured pruning is at the study's reference rate.

    Attributes:
        rate: Its pruning rate, over that of unstructured.
        at_least: Whether that is the largest rate measured.
        bits: Its bits over those of unstructured, there.
    """

    rate: float
    at_least: bool
    bits: float | None


@final
@dataclass(frozen=True)
class NoLoss:
    """A pattern where its accuracy is as good as the dense network's, and beside the unstructured.

    Between measured rates, everything is interpolated, losses on the closest curve that never falls
    (`Curve.fitted_gaps`); None where nothing is known.

    Attributes:
        curve: Of the pattern and method.
        rate: The largest pruning rate that loses no more than the tolerance.
        at_least: Whether that is the largest rate measured.
        weights: Left at that rate.
        bits: Of the pruned matrices there, in int8 with indices.
        us_per_step: There.
        equal: Beside unstructured pruning.
        within: The same where it may lose more than unstructured by two standard errors of their
            difference over held-out data (as if gaps were independent: too large if anything).
    """

    curve: Curve
    rate: float | None
    at_least: bool
    weights: float | None
    bits: float | None
    us_per_step: float | None
    equal: Comparison | None
    within: Comparison | None


def no_loss(study: Study, tolerance: float | None = None) -> list[NoLoss]:
    """One entry a curve, in their order.

    Args:
        study: The study.
        tolerance: Loss that counts as none; two standard errors of the dense network's value over
            held-out data if None.
    """
    tolerance = 2 * study.stderr if tolerance is None else tolerance
    return [_no_loss(study, curve, tolerance) for curve in study.curves]


def _no_loss(study: Study, curve: Curve, tolerance: float) -> NoLoss:
    found = curve.rate_at(tolerance)
    rate, at_least = (None, False) if found is None else found
    total = _weights(study)
    dense = study.dense.means

    def there(key: str) -> float | None:
        return None if rate is None else curve.mean_at(rate, key, dense.get(key))

    return NoLoss(
        curve,
        rate,
        at_least,
        None if rate is None or total is None else total / rate,
        there("total_bits_int8"),
        there("us_per_step"),
        *_relative(study, curve),
    )


def _relative(study: Study, curve: Curve) -> tuple[Comparison | None, Comparison | None]:
    references = [c for c in study.curves if c.pattern.partition("(")[0] == REFERENCE]
    same_method = [c for c in references if c.method == curve.method]
    reference = next(iter(same_method or references), None)
    if reference is None:
        return None, None
    point = next((p for p in reference.points if p.rate == study.reference_rate), None)
    if point is None or point.gap is None:
        return None, None
    if curve is reference:
        return Comparison(1.0, False, 1.0), None
    gap = reference.fitted_gaps[point.rate]
    equal = _compare(study, curve, point, gap)
    rate = 1.0 if equal is None else equal.rate * study.reference_rate
    own = next((p for p in curve.points if p.reached >= rate), curve.points[-1]).gap_error
    if own is None or point.gap_error is None:
        return equal, None
    return equal, _compare(study, curve, point, gap + 2 * math.hypot(own, point.gap_error))


def _compare(study: Study, curve: Curve, reference: Point, gap: float) -> Comparison | None:
    found = curve.rate_at(gap)
    if found is None or found[0] <= 1:  # nothing that was measured is so good
        return None
    rate, at_least = found
    dense = study.dense.means.get("total_bits_int8")
    bits = curve.mean_at(rate, "total_bits_int8", dense)
    others = reference.means.get("total_bits_int8")
    relative_bits = bits / others if bits and others else None
    return Comparison(rate / study.reference_rate, at_least, relative_bits)


def no_loss_markdown(study: Study, tolerance: float | None = None) -> str:
    """The table in Markdown, with a line on how to read it."""
    headings, rows = _no_loss_cells(study, tolerance)
    return markdown_table(headings, rows, "l" * _TEXTS + "r", _how_to_read(study, tolerance))


def _how_to_read(study: Study, tolerance: float | None) -> str:
    allowed = 2 * study.stderr if tolerance is None else tolerance
    sign = "+" if study.lower_is_better else "-"
    return (
        "*Measured*; interpolated between measured rates, on the closest curve that never falls, "
        "and from the smallest down to no loss at 1x, which is too low if anything. No loss: "
        f"{study.metric} within {sign}{allowed:.4f} (two standard errors over held-out data) of "
        f"the equally trained dense network's {study.dense.means['value']:.4f}. Bits: int8 values "
        f"and indices of the pruned matrices. Relative: to {REFERENCE} at "
        f"{study.reference_rate:g}x, at its accuracy; in brackets, where it may be worse by two "
        "standard errors of the difference. "
        f"Steps: int8, one thread, {study.machine}."
    )


def _no_loss_cells(study: Study, tolerance: float | None) -> tuple[list[str], list[list[str]]]:
    dense = study.dense.means
    headings = [
        *("pattern", "method", "hardware friendly", "rate at no loss", "weights after"),
        *("total bits", "us a step", "relative rate (2 se)", "relative bits (2 se)"),
    ]
    bits, us = _count(dense.get("total_bits_int8")), _us(dense.get("us_per_step"))
    rows = [["dense", "", "yes", "1.0x", _count(_weights(study)), bits, us, "", ""]]
    for entry in no_loss(study, tolerance):
        friendly = entry.curve.hardware_friendly
        rows.append(
            [
                entry.curve.label,
                entry.curve.method,
                "" if friendly is None else "yes" if friendly else "no",
                "" if entry.rate is None else f"{'>= ' * entry.at_least}{entry.rate:.1f}x",
                _count(entry.weights),
                _count(entry.bits),
                _us(entry.us_per_step),
                _both(_rate(entry.equal), _rate(entry.within)),
                _both(_bits(entry.equal), _bits(entry.within)),
            ]
        )
    return headings, rows


def grid_markdown(study: Study) -> str:
    """The measured values themselves: a row a pattern, a column a rate."""
    headings, rows = _grid_cells(study)
    return markdown_table(headings, rows, "l" * _TEXTS + "r", _what_the_grid_is(study))


def terminal_tables(study: Study) -> Group:
    """Both tables, for rich to print in 80 columns."""
    shown: list[RenderableType] = []
    for text, (headings, rows) in (
        (_how_to_read(study, None), _no_loss_cells(study, None)),
        (_what_the_grid_is(study), _grid_cells(study)),
    ):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, heading in enumerate(headings):
            table.add_column(
                _SHORT.get(heading, heading),
                justify="left" if number < _TEXTS else "right",
                no_wrap=number == 0,
            )
        for row in rows:
            table.add_row(*map(Text, row))
        shown += [table, Text(text.replace("*", "")), Text("")]
    return Group(*shown)


def _what_the_grid_is(study: Study) -> str:
    dense = study.dense
    spread = "" if dense.seed_error is None else f" ± {dense.seed_error:.4f}"
    odd = any(_other_rate(point) for curve in study.curves for point in curve.points)
    return (
        f"*Measured* {study.metric}, minus those of the equally trained dense network "
        f"({dense.means['value']:.4f}{spread}); ± the standard error over seeds; of a single "
        "seed, over held-out data, by paired samples."
        + (" In brackets, the rate that a pattern has where it can't have the column's." * odd)
    )


def _grid_cells(study: Study) -> tuple[list[str], list[list[str]]]:
    rates = sorted({point.rate for curve in study.curves for point in curve.points})
    rows = []
    for curve in study.curves:
        points = {point.rate: point for point in curve.points}
        cells = [_cell(study, points[rate]) if rate in points else "" for rate in rates]
        rows.append([curve.label, curve.method, *cells])
    return ["pattern", "method", *(f"{rate:g}x" for rate in rates)], rows


def _cell(study: Study, point: Point) -> str:
    other = _other_rate(point)
    if point.gap is None:
        return f"{point.means['value']:.4f}{other}"
    gap = point.gap if study.lower_is_better else -point.gap
    error = "" if point.error is None else f" ± {point.error:.4f}"
    return f"{gap:+.4f}{error}{other}"


def _other_rate(point: Point) -> str:
    met = abs(point.reached / point.rate - 1) <= _RATE_MET
    return "" if met else f" ({point.reached:.1f}x)"


def _weights(study: Study) -> float | None:
    """Weights of the pruned matrices before pruning."""
    points = (point for curve in study.curves for point in curve.points)
    return next((p.means["total_weights"] for p in points if "total_weights" in p.means), None)


def _count(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _rate(compared: Comparison | None) -> str:
    return "" if compared is None else f"{'>= ' * compared.at_least}{compared.rate:.2f}"


def _bits(compared: Comparison | None) -> str:
    if compared is None or compared.bits is None:
        return ""
    return f"{'<= ' * compared.at_least}{compared.bits:.2f}"


def _both(value: str, in_brackets: str) -> str:
    return f"{value} ({in_brackets})" if in_brackets else value
