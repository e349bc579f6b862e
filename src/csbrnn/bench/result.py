"""`BenchResult`: what a run of the benchmark found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["Bandwidth", "BenchResult", "Row", "Skipped"]


@dataclass(frozen=True)
class Row:
    """One contender's time for one case.

    Attributes:
        case: Name of the case.
        contender: Who: "csbrnn", "pytorch", ...
        variant: In which configuration.
        precision: Of the weights.
        layout: Of the weights: "dense", or block and row group.
        threads: Threads it was given.
        mode: "step": one call a time step, state carried. "sequence": time a step within a call
            over many. "matvec": the matrix-vector products of a step, and nothing else.
        cold: Whether caches were flushed before each call.
        median_us: Median time a step.
        p99_us: 99th percentile.
        iqr_us: Distance of the quartiles.
        min_us: The shortest.
        n: Calls timed.
        max_abs_error: Largest deviation from what `Contender.model` defines, before timing.
        nbytes: Bytes of weights and indices that a step reads.
        floor_us: Time to read them, at the bandwidth measured in the same run; None if not
            measured.
        fraction: floor_us / median_us: 1 is as fast as memory allows.
        label: "measured".
    """

    case: str
    contender: str
    variant: str
    precision: str
    layout: str
    threads: int
    mode: str
    cold: bool
    median_us: float
    p99_us: float
    iqr_us: float
    min_us: float
    n: int
    max_abs_error: float
    nbytes: int
    floor_us: float | None
    fraction: float | None
    label: str = "measured"


@dataclass(frozen=True)
class Skipped:
    """A contender that was not timed, and why.

    Attributes:
        case: Name of the case.
        contender: Who.
        variant: In which configuration.
        precision: Of the weights.
        threads: Threads it would have been given.
        reason: Why not: not installed, can't take the model, or wrong results.
        failed: Whether it broke, or computed something else.
    """

    case: str
    contender: str
    variant: str
    precision: str
    threads: int
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Bandwidth:
    """Read bandwidth of this machine at one size.

    Attributes:
        threads: Threads that read.
        nbytes: Bytes they read, together, again and again.
        gb_per_s: 10^9 bytes a second.
        cold: Whether it stands for reads from memory: too large for any cache.
    """

    threads: int
    nbytes: int
    gb_per_s: float
    cold: bool = False


@dataclass(frozen=True)
class BenchResult:
    """Everything a run found.

    Attributes:
        environment: The machine and the software; see `csbrnn.bench.environment`.
        settings: How it was measured.
        bandwidth: What the floors are computed from.
        rows: One entry a contender, case, thread count and mode.
        skipped: Who is missing from the rows, and why.
    """

    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    bandwidth: tuple[Bandwidth, ...]
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {
            "environment": dict(self.environment),
            "settings": dict(self.settings),
            "bandwidth": [asdict(entry) for entry in self.bandwidth],
            "rows": [asdict(row) for row in self.rows],
            "skipped": [asdict(entry) for entry in self.skipped],
        }

    def best(
        self,
        contender: str,
        precision: str | None = "fp32",
        threads: int | None = 1,
        *,
        case: str | None = None,
        mode: str = "step",
        cold: bool = False,
    ) -> Row | None:
        """The row of a contender's fastest variant by median, or None if it has none.

        Args:
            contender: Who.
            precision: Of the weights; None for any.
            threads: Thread count; None for any.
            case: Name of the case; only needed where there are several.
            mode: "step", "sequence" or "matvec".
            cold: Whether caches were flushed.
        """
        rows = [
            row
            for row in self.rows
            if row.contender == contender
            and precision in (None, row.precision)
            and threads in (None, row.threads)
            and case in (None, row.case)
            and (row.mode, row.cold) == (mode, cold)
        ]
        return min(rows, key=lambda row: row.median_us, default=None)

    def table(self) -> Group:
        """The rows as tables to print; see `csbrnn.bench.report`."""
        from csbrnn.bench.report import table

        return table(self)
