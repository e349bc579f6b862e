"""Workers, with a laboratory that trains nothing: what is tried, shared, resumed, given up."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from csbrnn.errors import ArgumentError
from csbrnn.explore import storage, worker
from csbrnn.explore.outcome import Outcome
from csbrnn.explore.worker import explore

from .models import FakeLaboratory, outcome_of, recipe

FORK = multiprocessing.get_context("fork")

# Of Python 3.12 on, about forks of processes with threads; the children here use none of them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    monkeypatch.setattr(worker, "Laboratory", FakeLaboratory)


def began(directory):
    return (directory / "began").read_text().splitlines()


def test_it_ends_with_its_budget_and_a_front_within_the_bound(tmp_path):
    said = []
    read = recipe(tmp_path)
    result = explore(read, tmp_path / "out", report=said.append)
    assert result.why == "the budget of 12 trials is spent"
    assert len(result.trials) == len(began(tmp_path / "out")) == 12
    assert len({trial.configuration for trial in result.trials}) == 12
    assert result.reference.outcome.metric == 2.0
    assert result.threshold == pytest.approx(2.3)
    assert result.front
    assert all(trial.outcome.metric <= 2.3 for trial in result.front)
    stages = [trial.stage for trial in result.trials]
    assert stages[0] == "reference"
    assert stages.index("free") > max(k for k, s in enumerate(stages) if s == "cell")
    assert any("misses the accuracy bound" in line for line in said)
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(stored["trials"]) == 12
    assert stored["why"] == result.why

    # With nothing left of the budget nothing is done again; with more of it, it goes on.
    again = explore(read, tmp_path / "out")
    assert again.trials == result.trials
    more = explore(recipe(tmp_path, explore={"trials": 13}), tmp_path / "out")
    assert len(more.trials) == 13
    assert more.trials[:12] == tuple(
        next(t for t in more.trials if t.configuration == old.configuration)
        for old in result.trials
    )


def test_a_space_is_tried_to_its_end_and_no_further(tmp_path):
    space = {"cell": ["gru"], "hidden_size": [12, 16], "pattern": ["csb(block=4x4)", "dense"]}
    read = recipe(tmp_path, space=space, explore={"trials": None, "stages": False})
    result = explore(read, tmp_path / "out")
    assert result.why == "nothing in the space is left to try"
    # The reference is a dense LSTM, and so outside of the space.
    assert {t.configuration for t in result.trials} == {
        *read.space.configurations,
        read.reference,
    }
    assert max(Counter(began(tmp_path / "out")).values()) == 1
    best = min(
        (t for t in result.trials if t.within),
        key=lambda t: (t.outcome.metric, t.outcome.cost.nbytes),
    )
    assert best.best


def test_hours_are_kept(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])

    def pass_time(self, configuration, check, bounded):
        now[0] += 1800.0

    monkeypatch.setattr(FakeLaboratory, "meanwhile", pass_time)
    read = recipe(tmp_path, explore={"trials": None, "hours": 2})
    result = explore(read, tmp_path / "out")
    assert (len(result.trials), result.why) == (4, "the budget of 2 hours is spent")


def test_bound_and_budget_may_change_but_nothing_that_outcomes_depend_on(tmp_path):
    explore(recipe(tmp_path, explore={"trials": 2}), tmp_path / "out")
    explore(recipe(tmp_path, explore={"trials": 3}, bound={"loss": 0.5}), tmp_path / "out")
    other = recipe(tmp_path, finish={"steps": 20})
    with pytest.raises(ArgumentError, match="has other finish, pruned; give yours another name"):
        explore(other, tmp_path / "out")


def test_trials_that_fall_behind_are_given_up(tmp_path, monkeypatch):
    asked = []

    def look(self, configuration, check, bounded):
        self.gave_up = False
        if check is not None:
            for step in (4, 8):
                asked.append(configuration)
                if check(step, outcome_of(configuration).metric + 1 / step):
                    self.gave_up = True
                    return

    run = FakeLaboratory.run

    def run_or_give_up(self, configuration, check=None, *, bounded=True):
        outcome = run(self, configuration, check, bounded=bounded)
        gave_up = Outcome(float("nan"), None, "accuracy", "behind")
        return gave_up if self.gave_up else outcome

    def best_first(self, left):
        return min(left, key=lambda configuration: outcome_of(configuration).metric)

    monkeypatch.setattr(FakeLaboratory, "meanwhile", look)
    monkeypatch.setattr(FakeLaboratory, "run", run_or_give_up)
    monkeypatch.setattr(worker._Worker, "_sampled", best_first)
    changes = {"trials": None, "stages": False}
    space = {"cell": ["gru"], "pattern": ["csb(block=4x4)", "dense"], "precision": ["fp32"]}
    space |= {"pruning_rate": [1, 2, 4], "hidden_size": [12, 16]}
    result = explore(recipe(tmp_path, explore=changes, space=space), tmp_path / "out")
    given_up = [t for t in result.trials if t.outcome.ended == "accuracy"]
    # From step 4 on all improve by 1/4, from step 8 on by 1/8. With 1.25 times that to come, 2.33
    # may end within the bound of 2.3, and 2.41 may not.
    assert [outcome_of(t.configuration).metric for t in given_up] == [pytest.approx(2.41)]
    assert sum(t.within for t in result.trials) == 6 + 1  # with the reference

    asked.clear()
    changes |= {"prune_early": False, "trials": 3}
    explore(recipe(tmp_path, explore=changes, space=space, name="other"), tmp_path / "other")
    assert not asked


def test_a_reference_that_fails_ends_it(tmp_path, monkeypatch):
    def diverge(self, configuration, check=None, *, bounded=True):
        return Outcome(float("nan"), None, "accuracy", "training diverged")

    monkeypatch.setattr(FakeLaboratory, "run", diverge)
    with pytest.raises(ArgumentError, match=r"dense reference, lstm 1 x 16.*training diverged"):
        explore(recipe(tmp_path), tmp_path / "out")


def test_an_interrupted_trial_goes_back_into_the_queue(tmp_path, monkeypatch):
    read = recipe(tmp_path, explore={"trials": 6})

    def interrupt(self, configuration, check, bounded):
        if len(began(self.directory)) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(FakeLaboratory, "meanwhile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        explore(read, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["why"] == "interrupted"
    result = explore(read, tmp_path / "out")
    names = began(tmp_path / "out")
    assert len(result.trials) == 6
    assert names[3] == names[2]  # first of all, the same again
    assert len(set(names)) == 6


def child(function, *args):
    process = FORK.Process(target=function, args=args)
    process.start()
    return process


def test_kill_9_loses_nothing_and_does_nothing_twice(tmp_path, monkeypatch):
    read = recipe(tmp_path, explore={"trials": 7})

    def die(self, configuration, check, bounded):
        if len(began(self.directory)) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(FakeLaboratory, "meanwhile", die)
    killed = child(explore, read, tmp_path / "out")
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    result = explore(read, tmp_path / "out")
    names = began(tmp_path / "out")
    assert names[5] == names[4]
    assert len(result.trials) == len(set(names)) == 7
    assert len(names) == 8


def test_a_trial_that_kills_all_its_workers_is_refused(tmp_path, monkeypatch):
    space = {"pattern": ["csb(block=4x4)"]}
    read = recipe(tmp_path, explore={"trials": 2}, space=space)

    def die(self, configuration, check, bounded):
        if "csb" in configuration.pattern:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(FakeLaboratory, "meanwhile", die)
    deaths = 0
    while True:
        process = child(explore, read, tmp_path / "out")
        process.join(60)
        if process.exitcode == 0:
            break
        deaths += 1
        assert deaths <= 3 * storage.MAX_DEATHS
    refused = [
        trial
        for trial in json.loads((tmp_path / "out" / "result.json").read_text())["trials"]
        if trial["ended"] == "refused"
    ]
    assert refused
    assert all(trial["reason"] == "3 workers died in it" for trial in refused)
    assert deaths == storage.MAX_DEATHS * len(refused)


def share(read, directory, url, barrier):
    barrier.wait()
    explore(read, directory, storage=url)


def check_that_workers_share(tmp_path, monkeypatch, url, workers=2):
    """Several processes on one storage: all of the work is done, and none of it twice."""

    def take_a_moment(self, configuration, check, bounded):
        time.sleep(0.02)

    monkeypatch.setattr(FakeLaboratory, "meanwhile", take_a_moment)
    # Few configurations, so that workers want the same ones all the time.
    space = {"cell": ["gru"], "hidden_size": [12, 16], "pattern": ["csb(block=4x4)", "dense"]}
    read = recipe(tmp_path, space=space, explore={"trials": None, "stages": False})
    barrier = FORK.Barrier(workers)
    processes = [child(share, read, tmp_path / f"worker{k}", url, barrier) for k in range(workers)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    done = [began(tmp_path / f"worker{k}") for k in range(workers)]
    everything = [name for names in done for name in names]
    wanted = {c.key for c in (*read.space.configurations, read.reference)}
    assert sorted(everything) == sorted(wanted)
    assert all(done)  # each had a share
    final = explore(read, tmp_path / "last", storage=url)
    assert len(final.trials) == len(wanted)
    assert final.why == "nothing in the space is left to try"


def test_two_processes_share_an_sqlite_file(tmp_path, monkeypatch):
    check_that_workers_share(tmp_path, monkeypatch, f"sqlite:///{tmp_path / 'shared.db'}")


def test_a_budget_is_that_of_all_workers_together(tmp_path, monkeypatch):
    read = recipe(tmp_path, explore={"trials": 6})
    monkeypatch.setattr(FakeLaboratory, "meanwhile", lambda self, *_: time.sleep(0.02))
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    barrier = FORK.Barrier(3)
    processes = [child(share, read, tmp_path / f"worker{k}", url, barrier) for k in range(3)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    files = [tmp_path / f"worker{k}" / "began" for k in range(3)]
    done = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    assert len(done) == len(set(done)) == 6


def test_storages_that_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_OPENINGS", 1)
    for url, text in (
        (f"sqlite:///{tmp_path}/missing/x.db", "unable to open"),
        ("nonsense", "can't be opened"),
        ("nosuchdb://user:secret@host/name", "nosuchdb://user@host/name: the storage"),
    ):
        with pytest.raises(ArgumentError, match=text) as error:
            explore(recipe(tmp_path), tmp_path / "out", storage=url)
        assert "secret" not in str(error.value)


def test_a_storage_that_cannot_be_written_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_OPENINGS", 1)
    explore(recipe(tmp_path, explore={"trials": 2}), tmp_path / "out")
    database = tmp_path / "out" / worker.DATABASE
    with pytest.raises(ArgumentError, match="attempt to write a readonly database") as error:
        explore(
            recipe(tmp_path, explore={"trials": 3}),
            tmp_path / "out",
            storage=f"sqlite:///file:{database}?mode=ro&uri=true",
        )
    assert "\n" not in str(error.value)


def test_another_exploration_s_result_is_not_written_over(tmp_path):
    explore(recipe(tmp_path, explore={"trials": 2}), tmp_path / "out")
    before = (tmp_path / "out" / "result.json").read_text()
    with pytest.raises(ArgumentError, match=r"is that of '.*'; give another --out"):
        explore(recipe(tmp_path, name="another", explore={"trials": 2}), tmp_path / "out")
    assert (tmp_path / "out" / "result.json").read_text() == before
