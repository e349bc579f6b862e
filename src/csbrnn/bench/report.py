"""`table`: a benchmark's rows for people to read, in 80 columns; the details are in the JSON."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from csbrnn.bench.result import BenchResult, Row

__all__ = ["duration", "one_line", "short_layout", "speedups", "table"]

_OWN = "csbrnn"
_MODES = {"step": "one step", "sequence": "in a sequence, each step", "matvec": "mat-vec alone"}


def table(result: BenchResult) -> Group:
    """Makes one table a case to print with rich, and notes below.

    A section for each mode and thread count, fastest first. The last column compares with csbrnn's
    best row of any precision in the same section.
    """
    cases = dict.fromkeys(row.case for row in result.rows)
    tables = [_case_table(name, [r for r in result.rows if r.case == name]) for name in cases]
    # Reasons may hold what rich takes for markup.
    return Group(*tables, Text("\n".join(_notes(result))))


def speedups(result: BenchResult) -> list[str]:
    """How csbrnn's best row compares with each peer's best, one line a case and thread count.

    Hot steps only. Everyone may use fewer threads than given: some are slower with more, and who
    has two cores would then use one.
    """
    lines = []
    for case, threads in dict.fromkeys((row.case, row.threads) for row in result.rows):
        best: dict[str, float] = {}
        for row in result.rows:
            if (row.case, row.mode, row.cold) == (case, "step", False) and row.threads <= threads:
                who = f"{row.contender} {row.precision}"
                best[who] = min(best.get(who, row.median_us), row.median_us)
        ranked = sorted(best.items(), key=lambda item: item[1])
        own = next((item for item in ranked if item[0].startswith(_OWN)), None)
        if own is None:
            continue
        ratios = ", ".join(
            f"{_ratio(us / own[1])} than {who}" for who, us in ranked if not who.startswith(_OWN)
        )
        lines.append(
            f"{case} with at most {threads} thread{'s' if threads > 1 else ''}: {own[0]} takes "
            f"{duration(own[1])} us" + (f", {ratios}, each at its best." if ratios else ".")
        )
    return lines


def short_layout(layout: str) -> str:
    """A layout in few letters: ``"16x64 g16"``, ``"8x4 whole"``."""
    text = layout.replace("block=", "").replace("row_group=", "g")
    blocks, whole, _ = text.partition(" all-or-nothing")
    return f"{blocks.split()[0]} whole" if whole else text


def _case_table(name: str, rows: Iterable[Row]) -> Table:
    shown = Table(title=f"{name}: time a step at batch 1, measured", box=box.SIMPLE_HEAD)
    shown.add_column("contender", no_wrap=True)
    for heading in ("median\nus", "p99\nus", "floor\n%", "times\ncsbrnn"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for group in _groups(rows):
        row = group[0]
        threads = f"{row.threads} thread{'s' * (row.threads > 1)}"
        caches = ", cold caches" if row.cold else ""
        shown.add_row(Text(f"{_MODES[row.mode]}, {threads}{caches}"), style="italic")
        own = min((row.median_us for row in group if row.contender == _OWN), default=None)
        for row in group:
            shown.add_row(*_cells(row, own), style="bold" if row.contender == _OWN else None)
        shown.add_section()
    return shown


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that compare with each other, each group's fastest first, in order of appearance."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.mode, row.cold, row.threads), []).append(row)
    return [sorted(group, key=lambda row: row.median_us) for group in groups.values()]


def _cells(row: Row, own: float | None) -> tuple[Text | str, ...]:
    if row.contender == _OWN:
        what = "unpruned" if row.variant == "unpruned" else short_layout(row.layout)
    else:
        what = "" if row.variant == "default" else row.variant
    return (
        Text(f"  {row.contender} {row.precision} {what}".rstrip()),
        duration(row.median_us),
        duration(row.p99_us),
        "" if row.fraction is None else f"{100 * row.fraction:.0f}",
        "" if own is None else _times(row.median_us / own),
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.1f}x"


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def duration(us: float) -> str:
    """Three significant digits or more, in at most six letters."""
    if us >= 99_999.5:
        return f"{us / 1000:,.0f}k"
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}" if us >= 10 else f"{us:.2f}"


def one_line(reason: str) -> str:
    """A reason of one line or more, in one."""
    first, *others = reason.splitlines() or [""]
    return " ".join([first, "; ".join(line.strip(" -") for line in others)]).strip()


def _notes(result: BenchResult) -> list[str]:
    environment, settings = result.environment, result.settings
    lines = [
        f"{environment.get('cpu')}, {environment.get('cpus_usable')} CPUs usable, load "
        f"{environment.get('load_average')}; {settings.get('seconds')} s, seed "
        f"{settings.get('seed')}; disturbed {sum(settings.get('preemptions', ()))} times. Outputs "
        "were checked before timing. Floor: the time to read the weights, as a share of the "
        "median."
    ]
    lines += speedups(result)
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for entry in result.skipped:
        reason = one_line(entry.reason)
        where = f"{entry.case}, {entry.threads} thread{'s' * (entry.threads > 1)}"
        who = (f"{entry.contender} {entry.precision}", where, reason)
        reasons.setdefault(who, []).append(entry.variant)
    return lines + [
        f"Skipped {who} ({where}: {', '.join(dict.fromkeys(variants))}): {reason}"
        for (who, where, reason), variants in reasons.items()
    ]
