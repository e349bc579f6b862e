"""`explore`: one worker of an exploration; any number may share a storage."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

import optuna

from csbrnn.errors import ArgumentError
from csbrnn.explore.outcome import Outcome
from csbrnn.explore.pruner import BoundPruner
from csbrnn.explore.recipe import ExploreRecipe
from csbrnn.explore.result import ExploreResult, Tried, pareto_front
from csbrnn.explore.space import Configuration
from csbrnn.explore.stages import Plan, plan
from csbrnn.explore.storage import MAX_DEATHS, Ledger, quiet, told_in_a_line
from csbrnn.explore.trial import Laboratory
from csbrnn.files import load_json, make_directory, write_json

__all__ = ["DATABASE", "RESULT", "explore"]

DATABASE: Final = "explore.db"
"""The storage where none is named: an SQLite file."""
RESULT: Final = "result.json"

_PROPOSALS: Final = 12
"""What a sampler is asked for before chance decides: in a small space it repeats itself."""
_BY_CHANCE: Final = 10
"""Trials before a sampler can know more than chance does; Optuna's own default for TPE."""


def explore(
    recipe: ExploreRecipe,
    directory: Path | str,
    *,
    storage: str | None = None,
    report: Callable[[str], object] = lambda line: None,
    progress: Callable[[str, float], object] = lambda what, share: None,
) -> ExploreResult:
    """Explores a space until its budget is spent or nothing is left to try.

    Stages bound blocks, cells and layer sizes first (see `csbrnn.explore.stages`); then Optuna's
    multi-objective TPE chooses. Each trial is in the storage before it begins, and its outcome
    when it ends. The same call after a kill goes on; the trial that was killed is begun again, from
    its last checkpoint if it is the same directory.

    Args:
        recipe: What to explore.
        directory: Of this worker, for networks, ``result.json``, and the database if no storage is
            given. Workers on one machine may share it.
        storage: URL of a database that workers share, as SQLAlchemy has it.
        report: Told in a line what has been found, as it is found.
        progress: Called after each training step with what is trained and the share done.

    Raises:
        ArgumentError: The storage can't be used, or holds another exploration of this name.
    """
    directory = Path(directory)
    make_directory(directory)
    _check_ours(directory / RESULT, recipe.name)
    if recipe.reference is None and recipe.bounds.metric is None:
        raise ArgumentError("an accuracy bound is needed: bound.loss or bound.metric")
    metric_direction = "minimize" if recipe.bounds.lower_is_better else "maximize"
    url = storage or f"sqlite:///{directory.resolve() / DATABASE}"
    with told_in_a_line(url):
        ledger = Ledger(
            url,
            recipe.name,
            recipe.settings(),
            recipe.choices(),
            [metric_direction, *["minimize"] * len(recipe.costs)],  # type: ignore[list-item]
            recipe.budget.trials,
        )
        try:
            return _Worker(recipe, directory, ledger, report, progress).run()
        finally:
            ledger.close()


@final
class _Worker:
    """One call of `explore`."""

    def __init__(
        self,
        recipe: ExploreRecipe,
        directory: Path,
        ledger: Ledger,
        report: Callable[[str], object],
        progress: Callable[[str, float], object],
    ) -> None:
        self.recipe, self.directory, self.ledger = recipe, directory, ledger
        self.report = report
        self.laboratory = Laboratory(recipe, directory, progress)
        self.random = random.Random()  # workers that chose alike would get in each other's way
        self.noted: set[str] = set()

    def run(self) -> ExploreResult:
        began = time.monotonic()
        hours = self.recipe.budget.hours
        try:
            while not (why := self._why_stop(began, hours)):
                self.ledger.run_one(self._run_trial)
                self._write("at work")
        except BaseException:
            self._write("interrupted")
            raise
        return self._write(why)

    def _why_stop(self, began: float, hours: float | None) -> str:
        """Puts the next trial into the queue; or says why there is none."""
        self.ledger.reap()
        if hours is not None and time.monotonic() - began >= hours * 3600:
            return f"the budget of {hours:g} hours is spent"
        if self.ledger.waiting():
            return ""
        claimed = self.ledger.claimed()
        budget = self.recipe.budget.trials
        if budget is not None and len(claimed) >= budget:
            return f"the budget of {budget} trials is spent"
        now = self._plan()
        for note in now.notes:
            if note not in self.noted:
                self.noted.add(note)
                self.report(note)
        free = [c for c in now.candidates if c not in claimed]
        stage = now.stage
        if not free:
            left = [c for c in now.left if c not in claimed]
            if not left:
                return "nothing in the space is left to try"
            free, stage = [self._sampled(left)], "free"
        self.ledger.add(free[0], stage)
        return ""

    def _plan(self) -> Plan:
        space, reference = self.recipe.space, self.recipe.reference
        outcomes = self.ledger.outcomes()
        if reference is not None and reference in outcomes and outcomes[reference].ended:
            raise ArgumentError(
                f"the dense reference, {reference}, could not be trained:"
                f" {outcomes[reference].reason}. Change [network] or [finish], and the name"
            )
        if self.recipe.stages or (reference is not None and reference not in outcomes):
            return plan(space, reference, self.recipe.bounds, outcomes)
        return Plan("free", (), space.configurations, ())

    def _sampled(self, left: list[Configuration]) -> Configuration:
        """What Optuna's sampler would try next, among configurations that are left."""
        allowed, history = set(left), self._history()
        if len(left) == 1 or len(history) < _BY_CHANCE:
            return self.random.choice(left)
        with quiet():
            scratch = optuna.create_study(
                directions=self.ledger.directions,
                sampler=optuna.samplers.TPESampler(
                    seed=self.random.getrandbits(32), n_startup_trials=0
                ),
            )
            scratch.add_trials(history)
            for _ in range(_PROPOSALS):
                proposal = scratch.ask(self.ledger.distributions)
                configuration = Configuration(**proposal.params)
                if configuration in allowed:
                    return configuration
                scratch.tell(proposal, state=optuna.trial.TrialState.FAIL)
        return self.random.choice(left)

    def _history(self) -> list[optuna.trial.FrozenTrial]:
        """What a sampler learns from: trials beyond the bounds count as its worst."""
        history = []
        for tried in self._tried():
            values = self._values(tried.outcome) if tried.within else None
            state = optuna.trial.TrialState.COMPLETE if values else optuna.trial.TrialState.PRUNED
            history.append(
                optuna.create_trial(
                    state=state,
                    params=tried.configuration.to_dict(),
                    distributions=self.ledger.distributions,
                    values=values,
                )
            )
        return history

    def _run_trial(self, trial: optuna.Trial, configuration: Configuration) -> list[float]:
        stage = trial.user_attrs["stage"]
        deaths = trial.user_attrs.get("deaths", 0)
        self.report(f"trial {trial.number} ({stage}): {configuration}")
        curve = self.ledger.curves.ask() if self.recipe.prune_early and stage == "free" else None
        if deaths < MAX_DEATHS:
            outcome = self.laboratory.run(
                configuration,
                None if curve is None else lambda step, metric: self._behind(curve, step, metric),
                bounded=stage == "free",  # stages ask about accuracy alone
            )
        else:
            outcome = Outcome(math.nan, None, "refused", f"{deaths} workers died in it")
        values = self._values(outcome)
        if outcome.complete and values is None and stage != "reference":
            outcome = replace(
                outcome, ended="refused", reason="a cost that is an objective can't be measured"
            )
        trial.set_user_attr("outcome", outcome.to_dict())
        if curve is not None:
            self._end_curve(curve, outcome)
        self.report(f"trial {trial.number}: {_told(outcome)}")
        if values is None:
            raise optuna.TrialPruned(outcome.reason)
        return values

    def _behind(self, curve: optuna.Trial, step: int, metric: float) -> bool:
        curve.report(metric, step)
        bounds = self.recipe.bounds
        threshold = bounds.threshold(self._reference_metric(self.ledger.outcomes()))
        pruner = BoundPruner(threshold, lower_is_better=bounds.lower_is_better)
        study = self.ledger.curves  # of all workers
        return pruner.prune(study, study.get_trials(deepcopy=False)[curve.number])

    def _end_curve(self, curve: optuna.Trial, outcome: Outcome) -> None:
        """Curves that were cut off teach nothing about how far training goes."""
        if outcome.complete:
            self.ledger.curves.tell(curve, outcome.metric)
        else:
            self.ledger.curves.tell(curve, state=optuna.trial.TrialState.FAIL)

    def _reference_metric(self, outcomes: dict[Configuration, Outcome]) -> float | None:
        reference = self.recipe.reference
        outcome = None if reference is None else outcomes.get(reference)
        return None if outcome is None or not outcome.complete else outcome.metric

    def _values(self, outcome: Outcome) -> list[float] | None:
        """The objectives; None if there are none."""
        if not outcome.complete:
            return None
        costs = [getattr(outcome.cost, name) for name in self.recipe.costs]
        if any(value is None or not math.isfinite(value) for value in costs):
            return None
        return [outcome.metric, *map(float, costs)]

    def _tried(self) -> list[Tried]:
        ended = [t for t in self.ledger.trials() if t.state.is_finished()]
        outcomes = self.ledger.outcomes()
        reference = self._reference_metric(outcomes)
        bounds = self.recipe.bounds
        tried = []
        for trial in ended:
            configuration = Configuration(**trial.user_attrs["configuration"])
            outcome = outcomes[configuration]
            within = self._values(outcome) is not None and bounds.violation(outcome, reference) <= 0
            tried.append(Tried(configuration, trial.user_attrs["stage"], outcome, within))
        return tried

    def _write(self, why: str) -> ExploreResult:
        tried = self._tried()
        good = [trial for trial in tried if trial.within]
        front = pareto_front(
            [trial.outcome for trial in good],
            self.recipe.costs,
            lower_is_better=self.recipe.bounds.lower_is_better,
        )
        best = {t.configuration for t, on in zip(good, front, strict=True) if on}
        trials = tuple(replace(t, best=t.configuration in best) for t in tried)
        result = ExploreResult(
            name=self.recipe.name,
            metric=self.recipe.protocol.task.metric,
            bounds=self.recipe.bounds,
            reference=next((t for t in trials if t.configuration == self.recipe.reference), None),
            costs=self.recipe.costs,
            trials=trials,
            left_out=self.recipe.space.left_out,
            notes=self._plan().notes,
            why=why,
        )
        write_json(self.directory / RESULT, result.to_dict())
        return result


def _check_ours(result: Path, name: str) -> None:
    """Refuses to write over another exploration's result."""
    if not result.is_file():
        return
    found = load_json(result)
    other = found.get("name") if isinstance(found, dict) else None
    if other != name:
        raise ArgumentError(
            f"{result} must be the result of the exploration {name!r}, and is that of {other!r};"
            " give another --out"
        )


def _told(outcome: Outcome) -> str:
    if outcome.ended:
        return {"accuracy": "given up", "cost": "too costly", "refused": "refused"}[
            outcome.ended
        ] + f": {outcome.reason}"
    cost: dict[str, Any] = {} if outcome.cost is None else outcome.cost.to_dict()
    time_us = cost.get("step_us")
    step = "not timed" if time_us is None else f"{time_us:.2f} us a step"
    return f"{outcome.metric:.4f}, {step}, {cost.get('nbytes', 0):,} bytes"
