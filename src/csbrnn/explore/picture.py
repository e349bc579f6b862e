"""`draw`: the Pareto front as an interactive page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from csbrnn.explore.result import ExploreResult, Tried
from csbrnn.optional import needed_for

__all__ = ["draw"]

_AXES: Final = {
    "step_us": "measured time of a step, us (batch 1, one thread)",
    "nbytes": "bytes of the packed model",
    "cycles": "cycles of a step on the accelerator",
}
# Okabe and Ito's palette, which the colour-blind can tell apart.
_FRONT, _WITHIN, _BEYOND, _REFERENCE = "#0072B2", "#56B4E9", "#B0B0B0", "#D55E00"


def draw(result: ExploreResult, path: Path) -> None:
    """Writes an HTML page: the metric against each cost, side by side. It needs no network.

    Trials that were given up have no place in it.

    Raises:
        MissingDependencyError: plotly is not installed.
    """
    with needed_for("the picture", "explore"):
        from plotly.graph_objects import Figure, Scatter
        from plotly.subplots import make_subplots
    figure: Figure = make_subplots(cols=len(result.costs), shared_yaxes=True)
    complete = [t for t in result.trials if t.outcome.complete and t != result.reference]
    groups: list[tuple[str, list[Tried], dict[str, Any]]] = [
        (
            "beyond a bound",
            [t for t in complete if not t.within],
            {"mode": "markers", "marker": {"color": _BEYOND, "size": 9, "symbol": "x"}},
        ),
        (
            "within the bounds",
            [t for t in complete if t.within and not t.best],
            {"mode": "markers", "marker": {"color": _WITHIN, "size": 9}},
        ),
        (
            "Pareto front",
            [t for t in complete if t.best],
            {"mode": "markers", "marker": {"color": _FRONT, "size": 12, "symbol": "diamond"}},
        ),
    ]
    if result.reference is not None:
        marker = {"color": _REFERENCE, "size": 13, "symbol": "star"}
        groups.append(
            ("dense reference", [result.reference], {"mode": "markers", "marker": marker})
        )
    for column, cost in enumerate(result.costs, 1):
        for name, trials, style in groups:
            shown = [t for t in trials if _value(t, cost) is not None]
            figure.add_trace(
                Scatter(
                    x=[_value(t, cost) for t in shown],
                    y=[t.outcome.metric for t in shown],
                    text=[_hover(t) for t in shown],
                    hovertemplate="%{text}<extra></extra>",
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1 and bool(shown),
                    **style,
                ),
                row=1,
                col=column,
            )
        steps = [(x, t.outcome.metric) for t in complete if t.best and (x := _value(t, cost))]
        _add_staircase(figure, Scatter, steps, result.bounds.lower_is_better, column)
        values = [x for t in complete if (x := _value(t, cost))]
        wide = bool(values) and max(values) > 4 * min(values)
        figure.update_xaxes(
            title_text=_AXES[cost],
            type="log",
            tickformat=".3~s",
            dtick="D2" if wide else None,  # 1, 2, 5, 10: all digits would overlap
            row=1,
            col=column,
        )
    figure.update_yaxes(title_text=result.metric, row=1, col=1)
    if result.threshold is not None:
        figure.add_hline(
            result.threshold,
            line={"dash": "dash", "color": "#707070"},
            annotation_text="accuracy bound",
            annotation_position="top right",
        )
    figure.update_layout(
        title=f"{result.name}: {len(complete)} networks, measured",
        template="plotly_white",
        hovermode="closest",
        legend={"orientation": "h", "y": -0.18},
    )
    figure.write_html(path, include_plotlyjs=True)


def _add_staircase(
    figure: Any,
    scatter: Any,
    points: list[tuple[float, float]],
    lower_is_better: bool,
    column: int,
) -> None:
    """What accuracy a budget of this one cost buys: the best metric at or below it."""
    best, xs, ys = None, [], []
    for x, y in sorted(points):
        if best is None or (y < best if lower_is_better else y > best):
            best = y
            xs.append(x)
            ys.append(y)
    figure.add_trace(
        scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"shape": "hv", "color": _FRONT, "width": 1.5},
            hoverinfo="skip",
            showlegend=False,
            legendgroup="Pareto front",
        ),
        row=1,
        col=column,
    )


def _value(trial: Tried, cost: str) -> float | None:
    value = None if trial.outcome.cost is None else getattr(trial.outcome.cost, cost)
    return None if value is None or not math.isfinite(value) else float(value)


def _hover(trial: Tried) -> str:
    cost = trial.outcome.cost
    lines = [f"<b>{trial.configuration}</b>", f"metric {trial.outcome.metric:.4f}"]
    if cost is not None:
        if cost.step_us is not None:
            lines.append(f"{cost.step_us:.2f} us a step")
        lines.append(f"{cost.nbytes:,} bytes")
        if cost.cycles is not None:
            lines.append(f"{cost.cycles:,} cycles a step")
    lines.append(f"stage: {trial.stage}")
    return "<br>".join(lines)
