"""`table`: a benchmark's rows for people to read."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from csbrnn.bench.result import BenchResult, Row

__all__ = ["speedups", "table"]

_OWN = "csbrnn"


def table(result: BenchResult) -> Table:
    """Makes a table to print with rich, fastest first, the skipped in the caption.

    The last column compares with csbrnn's best row of any precision in the same section: the same
    case, threads, mode and caches.
    """
    shown = Table(
        title="Time a step at batch 1, measured (us)",
        caption=Text(_caption(result)),  # reasons may hold what rich takes for markup
        caption_justify="left",
    )
    for heading in ("case", "threads", "mode", "contender", "layout", "precision"):
        shown.add_column(heading, justify="right" if heading == "threads" else "left")
    for heading in ("median", "p99", "iqr", "n", "error", "MB read", "of bandwidth", "csbrnn is"):
        shown.add_column(heading, justify="right")
    for group in _groups(result.rows):
        own = min((row.median_us for row in group if row.contender == _OWN), default=None)
        for row in group:
            shown.add_row(*_cells(row, own), style="bold" if row.contender == _OWN else None)
        shown.add_section()
    return shown


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
            f"{_duration(own[1])} us" + (f", {ratios}, each at its best." if ratios else ".")
        )
    return lines


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows that compare with each other, each group's fastest first, in order of appearance."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case, row.threads, row.mode, row.cold), []).append(row)
    return [sorted(group, key=lambda row: row.median_us) for group in groups.values()]


def _cells(row: Row, own: float | None) -> tuple[str, ...]:
    return (
        row.case,
        str(row.threads),
        row.mode + (", cold" if row.cold else ""),
        f"{row.contender}: {row.variant}",
        row.layout,
        row.precision,
        _duration(row.median_us),
        _duration(row.p99_us),
        _duration(row.iqr_us),
        str(row.n),
        f"{row.max_abs_error:.1e}",
        f"{row.nbytes / 1e6:.2f}",
        "" if row.fraction is None else f"{row.fraction:.0%}",
        "" if own is None or row.contender == _OWN else _ratio(row.median_us / own),
    )


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def _duration(us: float) -> str:
    """Three significant digits."""
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}" if us >= 10 else f"{us:.2f}"


def _caption(result: BenchResult) -> str:
    environment, settings = result.environment, result.settings
    lines = [
        f"{environment.get('cpu')}, {environment.get('cpus_usable')} CPUs usable, load "
        f"{environment.get('load_average')}; {settings.get('seconds')} s, seed "
        f"{settings.get('seed')}; disturbed {sum(settings.get('preemptions', ()))} times. "
        "Outputs checked against the reference before timing."
    ]
    lines += speedups(result)
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in result.skipped:
        where = f"{entry.case} at {entry.threads}"
        reasons.setdefault((f"{entry.contender}: {entry.variant}", entry.reason), []).append(where)
    lines += [
        f"Skipped {who} ({', '.join(where)}): {reason}" for (who, reason), where in reasons.items()
    ]
    return "\n".join(lines)
