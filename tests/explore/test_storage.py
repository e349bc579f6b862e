import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

import optuna

from csbrnn.explore import storage
from csbrnn.explore.outcome import Cost, Outcome
from csbrnn.explore.space import Configuration
from csbrnn.explore.storage import Ledger

ONE, OTHER = (Configuration("gru", size, 1, "dense", 1.0, "fp32") for size in (8, 16))
CHOICES = {key: [value] for key, value in ONE.to_dict().items()} | {"hidden_size": [8, 16]}


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(
        f"sqlite:///{tmp_path}/x.db", "test", {"a": 1}, CHOICES, ["minimize"] * 2, budget=2
    )
    yield opened
    opened.close()


def finish(trial, configuration):
    trial.set_user_attr("outcome", Outcome(1.0, Cost(2.0, 3)).to_dict())
    return [1.0, 2.0]


def test_what_is_added_is_claimed_and_run_once(ledger):
    ledger.add(ONE, "block")
    assert ledger.claimed() == {ONE}
    assert ledger.waiting()
    assert ledger.outcomes() == {}
    ran = []

    def run(trial, configuration):
        ran.append((configuration, trial.user_attrs["stage"]))
        return finish(trial, configuration)

    ledger.run_one(run)
    assert ran == [(ONE, "block")]
    assert ledger.outcomes() == {ONE: Outcome(1.0, Cost(2.0, 3))}
    (trial,) = ledger.trials()
    assert trial.params == ONE.to_dict()
    assert trial.values == [1.0, 2.0]


def test_of_two_trials_of_a_configuration_the_first_is_run(ledger):
    for _ in range(2):  # as two workers would that decided at once
        ledger.add(ONE, "free")
    ran = []
    for _ in range(2):
        ledger.run_one(lambda trial, made: ran.append(made) or finish(trial, made))
    assert ran == [ONE]
    assert not ledger.waiting()


def test_the_budget_holds_even_if_too_much_is_in_the_queue(ledger):
    ran = []
    for configuration in (ONE, OTHER):
        ledger.add(configuration, "free")
    ledger.budget = 1
    for _ in range(2):
        ledger.run_one(lambda trial, made: ran.append(made) or finish(trial, made))
    assert ran == [ONE]


def test_an_empty_queue_is_no_harm(ledger):
    ledger.run_one(finish)
    assert ledger.trials() == []


def test_a_worker_taken_for_dead_does_not_break(ledger):
    ledger.add(ONE, "free")

    def slow(trial, configuration):
        ledger.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # by another worker
        return [1.0, 2.0]

    ledger.run_one(slow)
    assert ledger.outcomes() == {}


def test_other_errors_are_not_swallowed(ledger):
    ledger.add(ONE, "free")
    with pytest.raises(ZeroDivisionError):
        ledger.run_one(lambda trial, configuration: 1 / 0)
    assert ledger.claimed() == set()  # it may be tried again


def test_processes_are_told_apart():
    alive = storage._identity()
    assert not storage._died_here(alive)
    assert storage._died_here(alive | {"started": "0"})  # its number was given to another one
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    assert storage._died_here(alive | {"pid": int(done.stdout), "started": "1"})
    assert not storage._died_here(alive | {"host": "elsewhere", "started": "0"})
    assert alive["pid"] == os.getpid()


def test_passwords_stay_out_of_messages():
    for url, shown in (
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:///file.db", "sqlite:///file.db"),
    ):
        assert storage._without_password(url) == shown
