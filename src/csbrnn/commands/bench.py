"""``csbrnn bench``: race a packed model, or one of the papers' models, against other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from csbrnn.bench import (
    CASES,
    CONTENDERS,
    DEFAULT_LAYOUT,
    SLOW_TO_OPEN,
    BenchResult,
    Case,
    Contender,
    csbrnn_contenders,
    run_bench,
    supported_precisions,
)
from csbrnn.bench import generate as generate_case
from csbrnn.bench.contender_csbrnn import Csbrnn
from csbrnn.commands.named import packed_directory
from csbrnn.commands.progress import progress_bar
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.model import load
from csbrnn.numerics import precision_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DEFAULT_MODES", "bench_model", "check_own", "race"]

DEFAULT_MODES: Final = ("step", "matvec")
"""What is timed if nothing else is asked for."""


def bench_model(
    name: str,
    *,
    layouts: Sequence[str],
    precisions: Sequence[str],
    contenders: Sequence[str],
    threads: Sequence[int],
    modes: Sequence[str],
    seconds: float,
    console: Console,
) -> dict[str, Any]:
    """Measures, prints the table, and returns the result as JSON-able values.

    Args:
        name: Directory of a packed model, or one of `csbrnn.bench.CASES`.
        layouts: Of a case's random weights; csbrnn runs all of them.
        precisions: Of csbrnn; empty for all that the installed engine supports, or for the model's
            own where it comes quantized.
        contenders: Names from `csbrnn.bench.CONTENDERS`; empty for all that open quickly.
        threads: Thread counts to measure, one after the other.
        modes: What to time; empty for `DEFAULT_MODES`.
        seconds: Measuring time, about.
        console: Where progress and the table go.

    Raises:
        ArgumentError: A name is not known, or a packed model is asked for in other layouts.
    """
    directory = packed_directory(name, CASES)
    if directory is None:
        case = generate_case(name, layouts or DEFAULT_LAYOUT)
    elif layouts:
        raise ArgumentError(
            f"only cases ({', '.join(CASES)}) have layouts to choose; {name} has its own"
        )
    else:
        case = Case(directory.name, load(directory))
    with progress_bar(console, f"racing {case.name}", 1.0) as report:
        result = race(
            case,
            precisions=precisions,
            contenders=contenders,
            threads=threads,
            modes=modes,
            seconds=seconds,
            progress=lambda text, share: report(share, text),
        )
    console.print(result.table())
    return result.to_dict()


def check_own(result: Mapping[str, Any]) -> None:
    """Refuse a result in which csbrnn itself failed. Peers may.

    Raises:
        CsbrnnError: It broke, or gave wrong results; says which configuration did.
    """
    for skipped in result["skipped"]:
        if skipped["contender"] == Csbrnn.name and skipped["failed"]:
            raise CsbrnnError(
                f"csbrnn itself failed in {skipped['precision']} with {skipped['threads']} threads:"
                f" {skipped['reason']}. This should not happen: please report it"
            )


def race(
    case: Case,
    *,
    precisions: Sequence[str] = (),
    contenders: Sequence[str] = (),
    threads: Sequence[int] = (1, 2),
    modes: Sequence[str] = (),
    seconds: float = 20.0,
    progress: Callable[[str, float], object] | None = None,
) -> BenchResult:
    """Runs a case with csbrnn in every layout it has; for the arguments see `bench_model`."""
    return run_bench(
        [case],
        threads=threads,
        contenders=_contenders(case, precisions, contenders),
        seconds=seconds,
        modes=tuple(modes) or DEFAULT_MODES,
        progress=progress,
    )


def _contenders(
    case: Case, precisions: Sequence[str], names: Sequence[str]
) -> list[str | Contender]:
    """The peers, and csbrnn in every precision and layout."""
    chosen = tuple(precision_of(precision).name for precision in precisions)
    if not chosen:  # weights that were rounded before are not rounded again
        own = case.model.precision
        chosen = supported_precisions() if own == "fp32" else (own,)
    ours = csbrnn_contenders(chosen, case.layouts, unpruned=not case.is_dense)
    found: list[str | Contender] = []
    for name in names or [name for name in CONTENDERS if name not in SLOW_TO_OPEN]:
        found.extend(ours if name == "csbrnn" else [name])
    return found
