"""Tables in Markdown, made from result files alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from csbrnn.bench.cases import SHAPES
from csbrnn.bench.goals import Reached, fastest, reached
from csbrnn.bench.report import duration, one_line, short_layout
from csbrnn.markdown import markdown_table

__all__ = ["case_markdown", "goals_markdown", "peers_markdown"]

Data = Mapping[str, Any]

_COLUMNS: Final = (
    # heading, mode, cold, threads
    ("1 thread", "step", False, 1),
    ("2 threads", "step", False, 2),
    ("cold", "step", True, 1),
    ("sequence", "sequence", False, 1),
    ("mat-vec", "matvec", False, 1),
)


def case_markdown(result: Data) -> str:
    """One row a contender, precision, layout and variant; medians, the fastest step first.

    Columns: a step, hot, on one and on two threads; a step with cold caches, a step within a long
    sequence, and the mat-vec part alone, each on one thread; the 99th percentile and the share of
    the floor are those of the first.
    """
    medians: dict[tuple[str, ...], dict[str, Data]] = {}
    for row in result["rows"]:
        for heading, mode, cold, threads in _COLUMNS:
            if (row["mode"], row["cold"], row["threads"]) == (mode, cold, threads):
                medians.setdefault(_who(row), {})[heading] = row
    headings = [heading for heading, *_ in _COLUMNS]
    lines = []
    ranked = sorted(medians.items(), key=lambda item: _first(item[1]))
    for who, rows in ranked:
        own = "**" * (who[0] == "csbrnn")
        cells = [duration(rows[h]["median_us"]) if h in rows else "" for h in headings]
        hot = rows.get("1 thread")
        fraction = None if hot is None else hot["fraction"]
        cells += [
            "" if hot is None else duration(hot["p99_us"]),
            "" if fraction is None else f"{fraction:.0%}",
        ]
        names = [f"{own}{who[0]}{own}", *who[1:]]
        lines.append([*names, *cells])
    skipped = {
        (f"{s['contender']} {s['precision']}", s["variant"], one_line(s["reason"]))
        for s in result["skipped"]
    }
    table = markdown_table(
        ["contender", "precision", "", *headings, "p99", "of the floor"],
        lines,
        "lllr",
        f"*Measured* on {_machine(result)}; median us a step.",
    )
    notes = [f"- Not run: {who}, {what}: {why}" for who, what, why in sorted(skipped)]
    return "\n".join([table, "", *notes]).rstrip()


def goals_markdown(machines: Mapping[str, Iterable[Data]]) -> str:
    """Each goal, and what was reached on each machine: bold where it is enough.

    Args:
        machines: Name -> results.
    """
    columns = [reached(results) for results in machines.values()]
    rows = []
    for line in zip(*columns, strict=True):
        goal = line[0].goal
        sign = "<" if goal.kind == "time" else ">="
        rows.append([goal.text, f"{sign} {goal.show(goal.target)}", *map(_reached, line)])
    return markdown_table(["", "goal", *machines], rows, "lr")


def _reached(entry: Reached) -> str:
    if entry.value is None:
        return "not measured yet"
    mark = "**" * entry.met
    compared = entry.detail.split(";")[0]  # the variants of peers are in tables of their own
    return f"{mark}{entry.goal.show(entry.value)}{mark}" + f" ({compared})" * bool(compared)


_PEERS: Final = {
    "csbrnn": "csbrnn",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "pytorch": "PyTorch",
}


def peers_markdown(results: Iterable[Data]) -> str:
    """One row a case: the engines at their fastest.

    Columns: a hot step on one thread of each contender, in its fastest precision and variant; how
    many times as long as csbrnn's the fastest peer's takes.
    """
    results = list(results)
    lines = []
    for result in results:
        rows = result["rows"]
        best = [fastest((r for r in rows if r["contender"] == name), threads=1) for name in _PEERS]
        ours, *peers = best
        assert ours is not None
        least = min(row["median_us"] for row in peers if row is not None)
        cells = [
            "" if row is None else f"{duration(row['median_us'])} ({row['precision']})"
            for row in best
        ]
        gain = f"{least / ours['median_us']:.1f}x"
        lines.append([_network(ours["case"]), f"**{cells[0]}**", *cells[1:], gain])
    return markdown_table(
        ["", *_PEERS.values(), ""],
        lines,
        "lr",
        f"One step at batch 1, one thread, us, *measured* on {_machine(results[0])}, each engine "
        "at its fastest of fp32, bf16 and int8:",
    )


def _network(case: str) -> str:
    """What a case is, in words."""
    shape = SHAPES[case]
    stack, rate = shape.stack, shape.pruning_rate
    layers = f"{stack.num_layers} x " * (stack.num_layers > 1)
    pruned = "dense" if rate == 1 else f"pruned {rate:g}x"
    return f"`{case}`: {stack.cell.name.upper()} {layers}{stack.hidden_size}, {pruned}"


def _who(row: Data) -> tuple[str, ...]:
    if row["contender"] == "csbrnn" and row["variant"] != "unpruned":
        return row["contender"], row["precision"], short_layout(row["layout"])
    return row["contender"], row["precision"], row["variant"]


def _first(rows: Mapping[str, Data]) -> float:
    """What rows are sorted by: the leftmost column that they have."""
    return next(float(rows[heading]["median_us"]) for heading, *_ in _COLUMNS if heading in rows)


def _machine(result: Data) -> str:
    environment = result["environment"]
    packages = environment["packages"]
    peers = ", ".join(
        f"{name} {packages[name]}"
        for name in ("torch", "onnxruntime", "openvino")
        if packages.get(name)
    )
    return f"{environment['cpu']}, {environment['cpus_usable']} CPUs" + f" ({peers})" * bool(peers)
