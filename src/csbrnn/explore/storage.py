"""`Ledger`: trials in a database that workers on any number of machines share."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, final

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from csbrnn.errors import ArgumentError
from csbrnn.explore.outcome import Outcome
from csbrnn.explore.space import Configuration

__all__ = ["MAX_DEATHS", "Ledger", "Withdrawn", "quiet", "told_in_a_line"]

HEARTBEAT_S: Final = 20
"""Seconds between two signs of life of a worker."""
GRACE_S: Final = 120
"""Seconds of silence after which a worker of another machine is taken for dead."""
MAX_DEATHS: Final = 3
"""Workers that may die in a trial (of want of memory, say) before it is given up."""

_OPENINGS: Final = 6
"""Attempts to open a storage: two workers that make its tables at once get in each other's way."""


class Withdrawn(Exception):  # noqa: N818 - no error: another trial has this work, or there is none
    """A trial that was drawn, and must not be run."""


@final
class Ledger:
    """The trials of one exploration.

    What a trial is for is fixed when it is put in the queue, in one transaction with its number.
    So of two trials of one configuration each worker knows which is the second, and no
    configuration is trained twice, whoever draws what.

    Args:
        url: Of the database, as SQLAlchemy has it: sqlite, postgresql, mysql.
        name: Of the exploration in it.
        settings: All that outcomes depend on, JSON-able.
        choices: Values of each field of a configuration.
        directions: "minimize" or "maximize", one an objective.
        budget: Most trials of all workers together; None for any number.

    Raises:
        ArgumentError: The database can't be opened, or holds an exploration of this name with
            other settings.
    """

    def __init__(
        self,
        url: str,
        name: str,
        settings: Mapping[str, Any],
        choices: Mapping[str, Sequence[Any]],
        directions: Sequence[Literal["minimize", "maximize"]],
        budget: int | None = None,
    ) -> None:
        self.name, self.budget = name, budget
        self.distributions: dict[str, optuna.distributions.BaseDistribution] = {
            key: optuna.distributions.CategoricalDistribution(tuple(values))
            for key, values in choices.items()
        }
        self.directions = tuple(directions)
        self._storage = _open(url)
        with quiet():
            self.study = optuna.create_study(
                storage=self._storage, study_name=name, directions=directions, load_if_exists=True
            )
        known = self.study.user_attrs.get("settings")
        wanted = json.loads(json.dumps(settings))
        if known is None:
            self.study.set_user_attr("settings", wanted)
        elif known != wanted:
            changed = [key for key in {*known, *wanted} if known.get(key) != wanted.get(key)]
            raise ArgumentError(
                f"the exploration {name!r} in this storage has other {', '.join(sorted(changed))};"
                " give yours another name and --out, or another storage"
            )
        # Optuna prunes trials with one objective only, so learning curves have their own study.
        with quiet():
            self.curves = optuna.create_study(
                storage=self._storage,
                study_name=f"{name}, learning curves",
                direction=directions[0],
                load_if_exists=True,
            )

    def close(self) -> None:
        """Closes the connections to the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self) -> list[FrozenTrial]:
        """Trials that hold a configuration, by number; not those that failed."""
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state != TrialState.FAIL and "configuration" in trial.user_attrs
        ]

    def outcomes(self) -> dict[Configuration, Outcome]:
        """What is known: of all trials that have ended."""
        return {
            configuration_of(trial): Outcome.from_dict(trial.user_attrs["outcome"])
            for trial in self.trials()
            if trial.state.is_finished() and "outcome" in trial.user_attrs
        }

    def claimed(self) -> set[Configuration]:
        """What has been tried, is being tried, or waits for a worker."""
        return {configuration_of(trial) for trial in self.trials()}

    def waiting(self) -> bool:
        """Whether a trial is in the queue."""
        return any(trial.state == TrialState.WAITING for trial in self.trials())

    def add(self, configuration: Configuration, stage: str) -> None:
        """Puts a configuration into the queue."""
        # With its parameters from the start: enqueue_trial() would have each suggested again.
        self.study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=configuration.to_dict(),
                distributions=self.distributions,
                user_attrs={"configuration": configuration.to_dict(), "stage": stage},
            )
        )

    def run_one(self, run: Callable[[optuna.Trial, Configuration], Sequence[float]]) -> None:
        """Draws a trial from the queue and runs it.

        Args:
            run: Returns the objectives; raises `optuna.TrialPruned` if the trial ends early.
                Interrupted (Ctrl-C), its trial goes back into the queue. Does nothing if another
                worker was given the trial meanwhile.
        """
        drawn: list[int] = []
        ended: list[int] = []

        def objective(trial: optuna.Trial) -> Sequence[float]:
            configuration = self._accept(trial)
            drawn.append(trial.number)
            try:
                values = run(trial, configuration)
            except optuna.TrialPruned:
                ended.append(trial.number)
                raise
            ended.append(trial.number)
            return values

        try:
            with quiet():
                self.study.optimize(objective, n_trials=1, catch=(Withdrawn,))
        except KeyboardInterrupt:
            for number in drawn:
                _again(self.study, self.study.get_trials(deepcopy=False)[number], died=False)
            raise
        except Exception:
            # Where this process stood still for so long that others took it for dead, they have
            # failed its trial. Optuna can't tell it anything then, and raises one thing or another.
            states = [self.study.get_trials(deepcopy=False)[number].state for number in ended]
            if TrialState.FAIL not in states:
                raise

    def reap(self) -> None:
        """Puts trials of workers that died on this machine back into the queue.

        Those of other machines are put back when their heartbeat has been missing for `GRACE_S`.
        """
        for trial in self.trials():
            worker = trial.user_attrs.get("worker")
            if trial.state != TrialState.RUNNING or worker is None or not _died_here(worker):
                continue
            try:
                self.study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, RuntimeError, optuna.exceptions.UpdateFinishedTrialError):
                continue  # another worker was faster
            _again(self.study, trial)

    def _accept(self, trial: optuna.Trial) -> Configuration:
        """Checks that a drawn trial is to be run, by this worker and now.

        Raises:
            Withdrawn: It is not.
        """
        trial.set_user_attr("worker", _identity())
        if "configuration" not in trial.user_attrs:
            raise Withdrawn("the queue was empty")
        configuration = Configuration(**trial.user_attrs["configuration"])
        before = [other for other in self.trials() if other.number < trial.number]
        if any(configuration_of(other) == configuration for other in before):
            raise Withdrawn("another trial has this configuration")
        if self.budget is not None and len(before) >= self.budget:
            raise Withdrawn("the budget is spent")
        return configuration


def configuration_of(trial: FrozenTrial) -> Configuration:
    """What a trial is for."""
    return Configuration(**trial.user_attrs["configuration"])


def _again(study: optuna.Study, trial: FrozenTrial, *, died: bool = True) -> None:
    """Puts what a lost trial was for back into the queue."""
    if "configuration" in trial.user_attrs:
        kept = {key: trial.user_attrs[key] for key in ("configuration", "stage")}
        deaths = trial.user_attrs.get("deaths", 0) + died
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**kept, "deaths": deaths},
            )
        )


@contextlib.contextmanager
def told_in_a_line(url: str) -> Iterator[None]:
    """Says in a line what a database refuses: to be written, say.

    Raises:
        ArgumentError: It has failed.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ArgumentError(
            f"{_without_password(url)}: the storage has failed:"
            f" {_first_line(error.__cause__ or error)}. Trials that have ended are in it; the same"
            " command goes on when it can be written"
        ) from error


def _open(url: str) -> optuna.storages.RDBStorage:
    engine = (
        {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    )
    for attempt in range(_OPENINGS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                storage = optuna.storages.RDBStorage(
                    url,
                    engine_kwargs=engine,
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=_again,
                )
            if url.startswith("sqlite"):
                event.listen(storage.engine, "begin", _begin_immediately)
            return storage
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            reason = _first_line(error)
        except (ImportError, ValueError, RuntimeError) as error:
            reason = str(error)
            break
        time.sleep(0.2 * 2**attempt if attempt + 1 < _OPENINGS else 0)
    raise ArgumentError(
        f"{_without_password(url)}: the storage can't be opened: {reason}. It must be an SQLAlchemy"
        " URL such as postgresql+psycopg://user@host/name, of a database that exists"
    ) from None


def _begin_immediately(connection: Connection) -> None:
    """Makes each transaction lock the file at its beginning.

    SQLite knows no SELECT FOR UPDATE: two workers would both see a trial waiting in the queue, and
    both take it.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.split(':')[0]}{at}{tail}" if at else url


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Optuna from logging: what matters is reported by us, withdrawn trials don't."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Curves have no heartbeat: the trials that they belong to do.
            warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _identity() -> dict[str, Any]:
    """This process, told apart from all others of this machine, past ones included."""
    return {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}


def _died_here(worker: Mapping[str, Any]) -> bool:
    return bool(worker["host"] == _host()) and _started(worker["pid"]) != worker["started"]


def _host() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return socket.gethostname() + (f" {boot.read_text().strip()}" if boot.exists() else "")


def _started(pid: int) -> str:
    """When a process began, in the kernel's own units; "" if there is none."""
    try:
        # The name, in parentheses, may hold blanks; the 20th field after it is the start time.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "running"
