"""`SearchResult`: what a lossless search tried, what it found, and why it stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from csbrnn.search.criterion import Verdict

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["RateTrial", "SearchResult", "Stop"]

Stop = Literal["step", "trials", "hours", "unfinished"]
"""Why a search stopped: no rate left to try, or a budget; or it did not stop yet."""


@final
@dataclass(frozen=True)
class RateTrial:
    """One rate: all its seeds, and what was decided.

    Attributes:
        pruning_rate: Weights before / weights after, as asked for.
        metrics: By seed. NaN or infinite where training diverged or could not be.
        verdict: Whether it holds.
        seconds: Time that the runs took, without what kills have cost.
        refusal: Why the rate can't be had; empty where it can.
    """

    pruning_rate: float
    metrics: Mapping[int, float]
    verdict: Verdict
    seconds: float
    refusal: str = ""


@final
@dataclass(frozen=True)
class SearchResult:
    """The end of a search.

    Attributes:
        metric: What was measured.
        dense: The dense network's metric, by seed.
        trials: Rates in the order in which they were tried.
        pruning_rate: The highest that held; None if none did.
        directories: Where the runs at that rate left their files, by seed.
        stop: Why it stopped.
        why: The same as a sentence.
        seconds: Time that all runs took.
    """

    metric: str
    dense: Mapping[int, float]
    trials: tuple[RateTrial, ...]
    pruning_rate: float | None
    directories: Mapping[int, str]
    stop: Stop
    why: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; numbers that are not finite are None."""
        data: dict[str, Any] = _jsonable(asdict(self))
        return data

    def table(self) -> Table:
        """What was tried, as a table to print."""
        from rich import box
        from rich.table import Table

        table = Table(title="Lossless search (measured)", box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("rate", self.metric, "loss", "limit"):
            table.add_column(heading, justify="right")
        table.add_column("")
        table.add_row("dense", _values(self.dense), "", "", "")
        for trial in self.trials:
            verdict = trial.verdict
            table.add_row(
                f"{trial.pruning_rate:g}x",
                _values(trial.metrics),
                f"{verdict.loss:+.4f}" if math.isfinite(verdict.loss) else "",
                f"{verdict.limit:.4f}",
                "can't be had" if trial.refusal else "holds" if verdict.holds else "fails",
            )
        found = "none" if self.pruning_rate is None else f"{self.pruning_rate:g}x"
        table.caption = f"Highest rate that held: {found}. Stopped: {self.why}."
        return table


def _values(metrics: Mapping[int, float]) -> str:
    return " ".join(f"{value:.4f}" for value in metrics.values() if math.isfinite(value))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
