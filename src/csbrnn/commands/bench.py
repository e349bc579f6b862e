"""``csbrnn bench``: race a packed model, or one of the papers' models, against other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.bench import CASES, MODES, Case, run_bench
from csbrnn.bench import generate as generate_case
from csbrnn.commands.progress import progress_bar
from csbrnn.model import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

__all__ = ["bench_model"]


def bench_model(
    name: str,
    *,
    layout: str,
    threads: Sequence[int],
    seconds: float,
    cold: bool,
    console: Console,
) -> dict[str, Any]:
    """Measures, prints the table, and returns the result as JSON-able values.

    Args:
        name: Directory of a packed model, or one of `csbrnn.bench.CASES`.
        layout: Of a case's random weights.
        threads: Thread counts to measure, one after the other.
        seconds: Measuring time, about.
        cold: Whether to measure with emptied caches as well.
        console: Where progress and the table go.
    """
    if name in CASES and not Path(name).exists():
        case = generate_case(name, layout)
    else:
        case = Case(Path(name).name, load(Path(name)))
    with progress_bar(console, f"racing {case.name}", 1.0) as report:
        result = run_bench(
            [case],
            threads=threads,
            seconds=seconds,
            modes=MODES if cold else ("step",),
            progress=lambda text, share: report(share, text),
        )
    console.print(result.table())
    return result.to_dict()
