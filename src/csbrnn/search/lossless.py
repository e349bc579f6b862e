"""`search`: the highest pruning rate at no loss, with any training function."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from csbrnn.checks import is_finite, is_integer, make_plain
from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.files import make_directory, write_json
from csbrnn.search.criterion import Criterion
from csbrnn.search.journal import Journal
from csbrnn.search.rates import Ladder, RateSearch
from csbrnn.search.result import RateTrial, SearchResult, Stop

__all__ = ["Budget", "Run", "search"]

LOG: Final = "log.jsonl"
"""The journal: one line a run."""
RESULT: Final = "result.json"
"""What the journal comes to; written anew after each rate."""


@final
@dataclass(frozen=True)
class Run:
    """One training run that a search asks for.

    Attributes:
        pruning_rate: Weights before / weights after; None for the dense network, which must be
            trained as long as the pruned ones.
        seed: Of everything random in it.
        directory: A directory of its own, for checkpoints and the trained network. After a kill
            the same run comes again with the same directory, and what is in it.
        start: The directory of the same seed's run at the last rate that held, to go on from its
            weights; None to start from the dense network.
    """

    pruning_rate: float | None
    seed: int
    directory: Path
    start: Path | None

    def __str__(self) -> str:
        rate = "dense" if self.pruning_rate is None else f"{self.pruning_rate:g}x"
        return f"{rate}, seed {self.seed}"


@final
@dataclass(frozen=True)
class Budget:
    """When to stop, whatever the search has found.

    Attributes:
        trials: Most rates to try; a rate is all its seeds.
        hours: No run begins after so much time spent in runs, those of earlier calls included. Of a
            run that was cut off, only what was left of it counts.

    Raises:
        ArgumentError: A value is out of range.
    """

    trials: int | None = None
    hours: float | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        if self.trials is not None and not is_integer(self.trials, 1):
            raise ArgumentError(f"trials must be a whole number, at least 1, not {self.trials!r}")
        if self.hours is not None and not (is_finite(self.hours) and self.hours > 0):
            raise ArgumentError(f"hours must be a positive number, not {self.hours!r}")


class _OutOfTimeError(Exception):
    """The budget's hours are spent."""


def search(
    train_and_evaluate: Callable[[Run], float],
    directory: Path | str,
    *,
    ladder: Ladder | None = None,
    criterion: Criterion | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    budget: Budget | None = None,
    warm_start: bool = False,
    metric: str = "metric",
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str], object] = lambda line: None,
) -> SearchResult:
    """Raises the pruning rate while accuracy holds, and finds where it stops to.

    ::

        def train_and_evaluate(run):
            model = load_dense(run.seed)
            if run.pruning_rate is not None:
                csbrnn.prune_(model, Recipe(..., pruning_rate=run.pruning_rate))
            ...
            return bits_per_character

        found = search(train_and_evaluate, "out", seeds=(0, 1, 2))

    First the dense network is trained, once a seed; then one rate after another, as `RateSearch`
    says. Each result is written to ``directory/log.jsonl`` at once. The same call after a kill, or
    with a larger budget, goes on where the last one ended.

    Args:
        train_and_evaluate: Trains the network that a `Run` describes and returns its metric on
            held-out data. A value that is not finite says that training diverged. A `RecipeError`
            says that the rate is impossible: the first one then ends the search, a later one counts
            as failed.
        directory: For the log and for what runs leave.
        ladder: First rate, step, highest rate.
        criterion: When a network counts as lossless.
        seeds: Each rate is trained once with each.
        budget: Rates or hours to stop after.
        warm_start: Whether each rate goes on from the weights of the last one that held, as the
            CSB-RNN paper does. Then pruned networks have had more training than the dense one
            they are compared with. Otherwise each starts from the dense network.
        metric: What ``train_and_evaluate`` returns, for the table.
        settings: Whatever else results depend on, JSON-able: a log made with other settings is
            refused.
        report: Told in a line what has been found, as it is found.

    Raises:
        ArgumentError: A setting is out of range, the directory is in use or holds another search,
            or the dense network's metric is not finite.
        FormatError: The log is damaged.
    """
    ladder, criterion, budget = ladder or Ladder(), criterion or Criterion(), budget or Budget()
    if not seeds or len(set(seeds)) != len(seeds):
        raise ArgumentError(f"seeds must be one or more different numbers, not {list(seeds)}")
    if criterion.tolerance is None and len(seeds) < 2:
        criterion.limit([0.0], 1)  # raises: better now than after hours
    identity = {
        "ladder": asdict(ladder),
        "criterion": asdict(criterion),
        "seeds": list(seeds),
        "warm_start": warm_start,
        "metric": metric,
        "settings": dict(settings or {}),
    }
    directory = Path(directory)
    with Journal(directory / LOG, "lossless search", identity) as journal:
        work = _Search(
            train_and_evaluate, directory, journal, criterion, tuple(seeds), budget, report
        )
        return work.run(RateSearch(ladder), warm_start, metric)


@dataclass
class _Search:
    """One call of `search`."""

    train_and_evaluate: Callable[[Run], float]
    directory: Path
    journal: Journal
    criterion: Criterion
    seeds: tuple[int, ...]
    budget: Budget
    report: Callable[[str], object]

    def __post_init__(self) -> None:
        self.known = {
            (row["rate"], row["seed"]): row for row in self.journal.rows if "metric" in row
        }

    @property
    def spent(self) -> float:
        """Seconds in runs that have ended, of earlier calls as well."""
        return math.fsum(row["seconds"] for row in self.known.values())

    def run(self, rates: RateSearch, warm_start: bool, metric: str) -> SearchResult:
        """Replays what is known, and does the rest."""
        dense: dict[int, float] = {}
        trials: list[RateTrial] = []
        stop: Stop = "step"
        try:
            dense = {seed: self._metric(None, seed, None) for seed in self.seeds}
            self.criterion.limit(list(dense.values()), len(self.seeds))
            while (rate := rates.next()) is not None:
                if self.budget.trials is not None and len(trials) >= self.budget.trials:
                    stop = "trials"
                    break
                trials.append(self._try(rate, rates.best if warm_start else None, dense))
                rates.record(rate, trials[-1].verdict.holds)
                self._write(self._result(metric, dense, trials, rates, "unfinished"))
        except _OutOfTimeError:
            stop = "hours"
        result = self._result(metric, dense, trials, rates, stop)
        end = {"stop": result.stop, "why": result.why, "pruning_rate": result.pruning_rate}
        if not self.journal.rows or self.journal.rows[-1] != end:
            self.journal.append(end)
        self._write(result)
        return result

    def _result(
        self,
        metric: str,
        dense: Mapping[int, float],
        trials: Sequence[RateTrial],
        rates: RateSearch,
        stop: Stop,
    ) -> SearchResult:
        best = rates.best
        return SearchResult(
            metric=metric,
            dense=dense,
            trials=tuple(trials),
            pruning_rate=best,
            directories={}
            if best is None
            else {seed: self._place(best, seed) for seed in self.seeds},
            stop=stop,
            why=rates.why if stop == "step" else self._why(stop),
            seconds=self.spent,
        )

    def _try(self, rate: float, best: float | None, dense: Mapping[int, float]) -> RateTrial:
        metrics = {seed: self._metric(rate, seed, best) for seed in self.seeds}
        verdict = self.criterion.judge(list(dense.values()), list(metrics.values()))
        rows = [self.known[rate, seed] for seed in self.seeds]
        refusal = next((str(row["refusal"]) for row in rows if "refusal" in row), "")
        self.report(
            f"{rate:g}x can't be had: {refusal}"
            if refusal
            else f"{rate:g}x {'holds' if verdict.holds else 'fails'}: loss {verdict.loss:+.4f}, "
            f"limit {verdict.limit:.4f}"
        )
        seconds = math.fsum(row["seconds"] for row in rows)
        return RateTrial(rate, metrics, verdict, seconds, refusal)

    def _metric(self, rate: float | None, seed: int, best: float | None) -> float:
        """The metric of one run: from the journal, or by training."""
        row = self.known.get((rate, seed))
        if row is None:
            row = self.known[rate, seed] = self._train(rate, seed, best)
        metric = row["metric"]
        return math.nan if metric is None else float(metric)

    def _train(self, rate: float | None, seed: int, best: float | None) -> dict[str, Any]:
        if self.budget.hours is not None and self.spent >= self.budget.hours * 3600:
            raise _OutOfTimeError
        run = Run(
            pruning_rate=rate,
            seed=seed,
            directory=self.directory / self._place(rate, seed),
            start=None if best is None else self.directory / self._place(best, seed),
        )
        make_directory(run.directory)
        began = time.monotonic()
        refusal: dict[str, str] = {}
        try:
            value = float(self.train_and_evaluate(run))
        except RecipeError as error:
            if not any(known is not None for known, _ in self.known):
                raise  # no rate has been trained: the recipe is wrong, not the rate
            value, refusal = math.nan, {"refusal": str(error)}
        seconds = time.monotonic() - began
        metric = value if math.isfinite(value) else None
        row = {
            "rate": rate,
            "seed": seed,
            "from_rate": best,
            "metric": metric,
            "seconds": round(seconds, 3),
            **refusal,
        }
        self.journal.append(row)
        if not refusal:
            self.report(f"{run}: {'diverged' if metric is None else f'{metric:.4f}'}")
        return row

    def _place(self, rate: float | None, seed: int) -> str:
        """A run's directory, as a path within that of the search."""
        return f"runs/{'dense' if rate is None else f'{rate:.10g}x'}-seed{seed}"

    def _why(self, stop: Stop) -> str:
        if stop == "unfinished":
            return "the search goes on, or was interrupted; the same call finishes it"
        if stop == "trials":
            return f"the budget of {self.budget.trials} rates is spent"
        return f"the budget of {self.budget.hours:g} hours is spent"

    def _write(self, result: SearchResult) -> None:
        """Replaces the result file at once or not at all."""
        write_json(self.directory / RESULT, result.to_dict())
