"""`GOALS`: what the engine must reach, and `reached`, which compares result files with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["GOALS", "Goal", "Reached", "fastest", "reached"]

Kind = Literal["peer", "threads", "floor", "time"]

_STRIPES: Final = "block={0}x64 row_group={0}"
_FREE: Final = "block=64x64 row_group=1"


@dataclass(frozen=True)
class Goal:
    """One line of what must be shown, always for a hot step at batch 1.

    Attributes:
        case: Name of the case.
        precision: Of csbrnn's weights.
        layout: Of csbrnn's weights; None for its fastest.
        kind: What is compared. "peer": how many times csbrnn's median the fastest peer takes, both
            with one thread; "threads": how many times faster csbrnn is with two threads than with
            one; "floor": share of the read-bandwidth floor that its products alone reach, on one
            thread; "time": its median on one thread.
        target: At least so many times, at least such a share, or fewer microseconds.
        peer: (contender, precision) for "peer"; None for the fastest of all, in any precision.
    """

    case: str
    precision: str
    layout: str | None
    kind: Kind
    target: float
    peer: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        """The goal in words."""
        layout = f", {self.layout}" if self.layout and self.layout != "dense" else ""
        ours = f"{self.case} {self.precision}{layout}"
        match self.kind:
            case "peer":
                rival = "the fastest peer" if self.peer is None else " ".join(self.peer)
                return f"{ours}: faster than {rival}"
            case "threads":
                return f"{ours}: 2 threads faster than 1"
            case "floor":
                return f"{ours}: mat-vec alone, of the read-bandwidth floor"
            case "time":
                return f"{ours}: below the paper's FPGA"

    def show(self, value: float | None) -> str:
        """A number in the goal's unit."""
        if value is None:
            return "not measured"
        if self.kind == "floor":
            return f"{value:.0%}"
        if self.kind == "threads":
            return f"{value:.2f}x"
        return f"{value:.1f} us" if self.kind == "time" else f"{value:.1f}x"


_ORT_INT8: Final = ("onnxruntime", "int8")
_ORT_FP32: Final = ("onnxruntime", "fp32")
_S16: Final = _STRIPES.format(16)

GOALS: Final = (
    Goal("sr", "int8", _S16, "peer", 16, _ORT_INT8),
    Goal("sr", "int8", _STRIPES.format(8), "peer", 11, _ORT_INT8),
    Goal("sr", "int8", _STRIPES.format(4), "peer", 7, _ORT_INT8),
    Goal("sr", "int8", _FREE, "peer", 9, _ORT_INT8),
    Goal("sr", "fp32", _S16, "peer", 45, _ORT_FP32),
    Goal("mt", "int8", _S16, "peer", 40, _ORT_INT8),
    Goal("gru512", "int8", None, "peer", 10),
    Goal("small16", "fp32", "dense", "peer", 10, _ORT_FP32),
    Goal("small64", "fp32", "dense", "peer", 8, _ORT_FP32),
    Goal("sr", "int8", _S16, "threads", 1.8),
    Goal("mt", "int8", _S16, "threads", 1.8),
    Goal("sr", "int8", _S16, "floor", 0.85),
    Goal("mt", "int8", _S16, "floor", 0.85),
    # CSB-RNN (Shi et al., 2020): a step on 256 PEs.
    Goal("sr", "int8", _S16, "time", 23),
    Goal("mt", "int8", _S16, "time", 67),
)
"""What the engine is to reach."""


@dataclass(frozen=True)
class Reached:
    """What was measured for a goal.

    Attributes:
        goal: The goal.
        value: In the goal's unit; None if rows are missing.
        detail: What was compared, in microseconds.
    """

    goal: Goal
    value: float | None
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether it was measured and is enough."""
        if self.value is None:
            return False
        if self.goal.kind == "time":
            return self.value < self.goal.target
        return self.value >= self.goal.target

    @property
    def line(self) -> str:
        """Goal and result in one line."""
        sign = "<" if self.goal.kind == "time" else ">="
        verdict = "reached" if self.met else "missed" if self.value is not None else "open"
        got, target = self.goal.show(self.value), self.goal.show(self.goal.target)
        detail = f" ({self.detail})" if self.detail else ""
        return f"{verdict:8}{self.goal.text}: {got}, goal {sign} {target}{detail}"


def reached(
    results: Iterable[Mapping[str, Any]], goals: Sequence[Goal] = GOALS
) -> tuple[Reached, ...]:
    """Compares results, as `BenchResult.to_dict` gives them, with goals.

    Rows of different results are never compared with each other: they may be of different machines
    or moments. Where several results measured a goal, the last counts.
    """
    results = list(results)
    found = []
    for goal in goals:
        measured = [_measured(goal, result.get("rows", ())) for result in results]
        known = [entry for entry in measured if entry.value is not None]
        found.append(known[-1] if known else Reached(goal, None))
    return tuple(found)


def _measured(goal: Goal, rows: Sequence[Mapping[str, Any]]) -> Reached:
    hot = [row for row in rows if row["case"] == goal.case and not row["cold"]]
    own = [
        row
        for row in hot
        if row["contender"] == "csbrnn"
        and row["precision"] == goal.precision
        and goal.layout in (None, row["layout"])
        and row["variant"] != "unpruned"
    ]
    one = fastest(own, threads=1)
    match goal.kind:
        case "peer":
            peers = [
                row
                for row in hot
                if row["contender"] != "csbrnn"
                and goal.peer in (None, (row["contender"], row["precision"]))
            ]
            return _ratio(goal, fastest(peers, threads=1), one, _variants(goal, peers, one))
        case "threads":
            return _ratio(goal, one, fastest(own, threads=2))
        case "floor":
            row = fastest(own, threads=1, mode="matvec")
            fraction = None if row is None else row["fraction"]
            return Reached(goal, fraction, "" if row is None else _told(row))
        case "time":
            return Reached(goal, None if one is None else one["median_us"])


def _variants(goal: Goal, peers: Iterable[Mapping[str, Any]], own: Mapping[str, Any] | None) -> str:
    """How many times our time each configuration of the goal's peer takes."""
    if own is None or goal.peer is None:
        return ""
    steps = [row for row in peers if (row["threads"], row["mode"]) == (1, "step")]
    ratios = {row["variant"]: row["median_us"] / own["median_us"] for row in steps}
    ranked = sorted(ratios.items(), key=lambda item: item[1])
    return "; " + ", ".join(f"{variant} {ratio:.1f}x" for variant, ratio in ranked)


def _ratio(
    goal: Goal,
    slow: Mapping[str, Any] | None,
    fast: Mapping[str, Any] | None,
    more: str = "",
) -> Reached:
    if slow is None or fast is None:
        return Reached(goal, None)
    detail = f"{_told(slow)} / {_told(fast)}{more}"
    return Reached(goal, slow["median_us"] / fast["median_us"], detail)


def fastest(
    rows: Iterable[Mapping[str, Any]], threads: int, mode: str = "step"
) -> Mapping[str, Any] | None:
    """The row of the least median, of those with hot caches; None if there is none."""
    wanted = (threads, mode, False)
    fit = [row for row in rows if (row["threads"], row["mode"], row["cold"]) == wanted]
    return min(fit, key=lambda row: float(row["median_us"]), default=None)


def _told(row: Mapping[str, Any]) -> str:
    who = f"{row['contender']} {row['precision']}" if row["contender"] != "csbrnn" else "csbrnn"
    return f"{who} {row['median_us']:.4g} us"
