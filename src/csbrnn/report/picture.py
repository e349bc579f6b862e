"""Pictures of a study: accuracy against what each network costs, as PNG and as a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from csbrnn.optional import needed_for
from csbrnn.report.curves import AXES, Axis, Curve, Study, frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_html", "draw_png"]

# Okabe and Ito's colours, told apart by the colour-blind too, then greys and browns.
_COLORS = (
    *("#000000", "#e69f00", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00"),
    *("#7f7f7f", "#8c564b", "#17becf", "#9467bd", "#bcbd22", "#4b4b9b"),
)
_PNG_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p", "d", "8")
_HTML_MARKERS = (
    *("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"),
    *("triangle-left", "triangle-right", "star", "hexagon", "pentagon", "hourglass", "octagon"),
)


_FRONTIER = "no other is cheaper and better"
_STAIRS = "#dddddd"


def _marker(number: int) -> int:
    """The marker of a curve: when colours repeat, each comes with another marker than before."""
    turn, place = divmod(number, len(_COLORS))
    return (place + 5 * turn) % len(_PNG_MARKERS)


class _Line(NamedTuple):
    """A curve on one axis, ready to draw."""

    name: str
    xs: list[float]
    ys: list[float]
    errors: list[float]
    texts: list[str]


def draw_png(study: Study, path: Path) -> None:
    """Writes four plots in one PNG: accuracy against rate, bits, time and bytes.

    Bars are standard errors over seeds; of a single seed, of its gap to the dense reference. The
    grey stairs are what no other network is both cheaper and better than.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with needed_for("the picture", "study"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(13, 10), layout="constrained")
    for position, axis in enumerate(AXES, 1):
        _draw_axes(figure.add_subplot(2, 2, position), study, axis)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    stairs = [line for line in figure.axes[1].lines if line.get_label() == _FRONTIER]
    figure.legend(
        [*handles, *stairs],
        [*labels, *(_FRONTIER for _ in stairs)],
        loc="outside lower center",
        ncols=5 if max(map(len, labels), default=0) <= 28 else 4,
        fontsize=9,
    )
    figure.suptitle(_title(study))
    figure.savefig(path, dpi=110)


def _draw_axes(axes: Axes, study: Study, axis: Axis) -> None:
    for number, curve in enumerate(study.curves):
        line = _line(study, curve, axis)
        axes.errorbar(
            line.xs,
            line.ys,
            yerr=line.errors if any(line.errors) else None,
            label=line.name,
            color=_COLORS[number % len(_COLORS)],
            marker=_PNG_MARKERS[_marker(number)],
            markersize=5,
            linewidth=1.2,
            capsize=3,
        )
    costs, accuracies = _stairs(study, axis)
    if costs:
        axes.step(
            costs,
            accuracies,
            where="post",
            label=_FRONTIER,
            color=_STAIRS,
            linewidth=7,
            solid_joinstyle="miter",
            zorder=0,
        )
    level = axis.accuracy_of(study.dense)
    axes.axhline(level, color="#999999", linewidth=1, linestyle="--")
    dense = axis.cost_of(study.dense)
    if dense is not None and axis.key != "pruning_rate":
        axes.plot(
            [dense],
            [level],
            marker="*",
            markersize=13,
            color="#999999",
        )
    if any(axis.key in point.means for curve in study.curves for point in curve.points):
        axes.set_xscale("log")
        ticks = _ticks(study, axis)
        axes.set_xticks(ticks, [_tick_text(axis, tick) for tick in ticks])
        axes.minorticks_off()
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.6, "not measured", transform=axes.transAxes, ha="center", color="#999999")
    axes.set_xlabel(axis.title)
    axes.set_ylabel(_accuracy_title(study, axis))
    axes.grid(which="both", color="#eeeeee")
    axes.set_axisbelow(True)


def _ticks(study: Study, axis: Axis) -> list[float]:
    """Where to put numbers on an axis: at the rates asked for, or at round values."""
    points = [point for curve in study.curves for point in curve.points]
    if axis.key == "pruning_rate":
        return sorted({point.rate for point in points})
    values = [cost for point in points if (cost := axis.cost_of(point)) is not None]
    if (dense := axis.cost_of(study.dense)) is not None:
        values.append(dense)
    low, high = min(values) / 1.1, max(values) * 1.1
    digits: tuple[float, ...] = (1, 2, 5)
    if high < 20 * low:
        digits = (1, 1.5, 2, 3, 4, 5, 6, 8)
    if high < 3 * low:
        digits = tuple(1 + k / 10 for k in range(90))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside[:: -(-len(inside) // 9)] if inside else []


def _tick_text(axis: Axis, value: float) -> str:
    return f"{value:.4g}x" if axis.key == "pruning_rate" else f"{value:.4g}"


def draw_html(study: Study, path: Path) -> None:
    """Writes the same as one page that needs nothing else; hovering tells a point's figures.

    Raises:
        MissingDependencyError: plotly is not installed.
    """
    with needed_for("the picture", "study"):
        from plotly import graph_objects
        from plotly.subplots import make_subplots
    figure = make_subplots(rows=2, cols=2, horizontal_spacing=0.08, vertical_spacing=0.1)
    for position, axis in enumerate(AXES):
        row, col = position // 2 + 1, position % 2 + 1
        for number, curve in enumerate(study.curves):
            line = _line(study, curve, axis)
            figure.add_trace(
                graph_objects.Scatter(
                    x=line.xs,
                    y=line.ys,
                    error_y={"array": line.errors, "visible": any(line.errors)},
                    name=line.name,
                    text=line.texts,
                    hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                    mode="lines+markers",
                    line={"color": _COLORS[number % len(_COLORS)], "width": 1.5},
                    marker={"symbol": _HTML_MARKERS[_marker(number)], "size": 8},
                    legendgroup=line.name,  # a click hides a pattern in all four
                    showlegend=position == 0,
                ),
                row=row,
                col=col,
            )
        costs, accuracies = _stairs(study, axis)
        if costs:
            figure.add_trace(
                graph_objects.Scatter(
                    x=costs,
                    y=accuracies,
                    name=_FRONTIER,
                    mode="lines",
                    line={"shape": "hv", "color": _STAIRS, "width": 7},
                    hoverinfo="skip",
                    zorder=-1,
                    legendgroup=_FRONTIER,
                    showlegend=position == 1,
                ),
                row=row,
                col=col,
            )
        dense = axis.cost_of(study.dense)
        if dense is not None and axis.key != "pruning_rate":
            star = {"symbol": "star", "size": 14, "color": "#999999"}
            figure.add_trace(
                graph_objects.Scatter(
                    x=[dense],
                    y=[axis.accuracy_of(study.dense)],
                    name="dense",
                    mode="markers",
                    marker=star,
                    legendgroup="dense",
                    showlegend=position == 1,
                ),
                row=row,
                col=col,
            )
        known = any(axis.key in p.means for curve in study.curves for p in curve.points)
        ticks = _ticks(study, axis) if known else []
        figure.update_xaxes(
            type="log",
            title=axis.title,
            tickvals=ticks,
            ticktext=[_tick_text(axis, tick) for tick in ticks],
            row=row,
            col=col,
        )
        figure.update_yaxes(title=_accuracy_title(study, axis), row=row, col=col)
    for position, axis in enumerate(AXES):
        figure.add_hline(
            axis.accuracy_of(study.dense),
            line={"dash": "dash", "color": "#999999", "width": 1.5},
            row=position // 2 + 1,
            col=position % 2 + 1,
        )
    figure.update_layout(
        title=_title(study),
        template="plotly_white",
        height=950,
        legend={"groupclick": "togglegroup"},
    )
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _line(study: Study, curve: Curve, axis: Axis) -> _Line:
    points = [point for point in curve.points if axis.key in point.means]
    points.sort(key=lambda point: point.means[axis.key])
    several = len({c.method for c in study.curves}) > 1
    return _Line(
        curve.name if several else curve.label,
        [point.means[axis.key] * axis.scale for point in points],
        [axis.accuracy_of(point) for point in points],
        [point.error or 0.0 for point in points],
        [
            "<br>".join(
                [
                    f"{point.rate:g}x, seeds: {point.seeds}",
                    f"{_accuracy_title(study, axis)}: {axis.accuracy_of(point):.4f}",
                    *(
                        f"{a.title}: {point.means[a.key] * a.scale:.4g}"
                        for a in AXES[1:]
                        if a.key in point.means
                    ),
                ]
            )
            for point in points
        ],
    )


def _stairs(study: Study, axis: Axis) -> tuple[list[float], list[float]]:
    """The frontier's costs and accuracies; a rate is no cost."""
    steps = [] if axis.key == "pruning_rate" else frontier(study, axis)
    return [cost for cost, _ in steps], [accuracy for _, accuracy in steps]


def _accuracy_title(study: Study, axis: Axis) -> str:
    return study.metric + (" in int8, as deployed" if axis.accuracy == "value_int8" else "")


def _title(study: Study) -> str:
    network = study.recipe.get("network", {})
    sizes = ", ".join(f"{key} {value}" for key, value in network.items() if key != "dropout")
    return f"{study.name}: {sizes}; dense reference dashed; timed on {study.machine}"
