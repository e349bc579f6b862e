import json
import math
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.search import Budget, Criterion, Ladder, search

TOLERANT = Criterion(tolerance=0.1)


def curve(knee):
    """A network that loses 0.05 a unit of rate beyond a knee; a little better for each seed."""

    def metric(run):
        rate = run.pruning_rate or 1.0
        return 2.0 - 0.001 * run.seed + 0.05 * max(0.0, rate - knee)

    return metric


def rows(directory):
    lines = (directory / "log.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "seconds"}
        for line in lines
    ]


def refusing(above):
    def metric(run):
        if run.pruning_rate is not None and run.pruning_rate > above:
            raise RecipeError(f"no place for {run.pruning_rate:g}x")
        return 2.0

    return metric


def test_a_rate_that_cannot_be_had_fails_and_the_search_goes_on(tmp_path):
    said = []
    find = lambda: search(  # noqa: E731
        refusing(10), tmp_path, criterion=TOLERANT, seeds=(0, 1), report=said.append
    )
    result = find()
    assert result.pruning_rate == 10
    assert "12x can't be had: no place for 12x" in said
    assert [t.pruning_rate for t in result.trials if t.refusal] == [12, 11]
    assert json.loads((tmp_path / "result.json").read_text())["trials"][2]["refusal"]
    assert str(find()) == str(result)  # from its log; NaN is not itself


def test_a_first_rate_that_cannot_be_had_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="no place for 4x"):
        search(refusing(3), tmp_path, criterion=TOLERANT, seeds=(0,))


def test_an_interrupted_search_leaves_what_it_has_found(tmp_path):
    def metric(run):
        if run.pruning_rate == 12:
            raise KeyboardInterrupt
        return 2.0

    with pytest.raises(KeyboardInterrupt):
        search(metric, tmp_path, criterion=TOLERANT, seeds=(0,))
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["pruning_rate"], found["stop"]) == (8, "unfinished")


def test_it_finds_the_knee_and_says_so(tmp_path):
    said = []
    result = search(
        curve(10.5), tmp_path, criterion=TOLERANT, seeds=(0, 1), metric="bits", report=said.append
    )
    assert result.pruning_rate == 12  # the knee is at 10.5, and 2 units more cost 0.1
    assert [trial.pruning_rate for trial in result.trials] == [4, 8, 12, 16, 14, 13]
    assert result.stop == "step"
    assert result.dense == {0: 2.0, 1: 1.999}
    assert result.directories == {0: "runs/12x-seed0", 1: "runs/12x-seed1"}
    assert (tmp_path / result.directories[0]).is_dir()
    assert "16x fails: loss +0.2750, limit 0.1000" in said
    assert "12x, seed 1: 2.0740" in said

    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored == json.loads(json.dumps(result.to_dict()))
    assert stored["pruning_rate"] == 12
    assert rows(tmp_path)[-1] == {
        "stop": "step",
        "why": "the step fell below a quarter of the first one, 4",
        "pruning_rate": 12.0,
    }

    from rich.console import Console

    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(result.table())
    shown = console.export_text()
    for text in ("bits", "dense", "16x", "+0.2750", "fails", "Highest rate that held: 12x"):
        assert text in shown


def test_a_finished_search_trains_nothing_again(tmp_path):
    first = search(curve(10.5), tmp_path, criterion=TOLERANT, seeds=(0,))
    before = (tmp_path / "log.jsonl").read_bytes()

    def refuse(run):
        raise AssertionError(run)

    assert search(refuse, tmp_path, criterion=TOLERANT, seeds=(0,)) == first
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_warm_starts_go_on_from_the_last_rate_that_held(tmp_path):
    starts = {}

    def train(run):
        starts[run.pruning_rate] = None if run.start is None else run.start.name
        return curve(10.5)(run)

    search(train, tmp_path, criterion=TOLERANT, seeds=(3,), warm_start=True)
    assert starts == {
        None: None,
        4: None,
        8: "4x-seed3",
        12: "8x-seed3",
        16: "12x-seed3",
        14: "12x-seed3",
        13: "12x-seed3",
    }
    with pytest.raises(ArgumentError, match="warm_start was True, is False"):
        search(train, tmp_path, criterion=TOLERANT, seeds=(3,))


def test_budget_of_rates_and_more_of_it(tmp_path):
    short = search(curve(10.5), tmp_path, criterion=TOLERANT, seeds=(0,), budget=Budget(trials=2))
    assert (short.stop, short.pruning_rate, len(short.trials)) == ("trials", 8, 2)
    assert short.why == "the budget of 2 rates is spent"
    more = search(curve(10.5), tmp_path, criterion=TOLERANT, seeds=(0,), budget=Budget(trials=9))
    assert (more.stop, more.pruning_rate) == ("step", 12)


def test_budget_of_hours_counts_earlier_calls(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("csbrnn.search.lossless.time.monotonic", lambda: now[0])

    def train(run):
        now[0] += 1800.0
        return curve(10.5)(run)

    def go(hours):
        return search(train, tmp_path, criterion=TOLERANT, seeds=(0,), budget=Budget(hours=hours))

    first = go(1.0)
    assert (first.stop, first.pruning_rate, now[0]) == ("hours", 4, 3600)
    assert "1 hours is spent" in first.why
    assert go(1.0).stop == "hours"
    assert now[0] == 3600  # the hour is spent for good
    assert go(1.5).pruning_rate == 8
    assert now[0] == 5400


def test_hours_may_end_before_anything_is_known(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("csbrnn.search.lossless.time.monotonic", lambda: now[0])

    def train(run):
        now[0] += 7200.0
        return 1.0

    result = search(train, tmp_path, seeds=(0, 1), budget=Budget(hours=1))
    assert (result.stop, result.pruning_rate, result.trials) == ("hours", None, ())


def test_divergence_fails_a_rate_and_is_no_json(tmp_path):
    def train(run):
        return math.nan if run.pruning_rate == 8 else curve(10.5)(run)

    result = search(train, tmp_path, criterion=TOLERANT, seeds=(0,))
    assert result.pruning_rate == 7
    assert json.loads((tmp_path / "result.json").read_text())["trials"][1]["metrics"] == {"0": None}
    assert search(train, tmp_path, criterion=TOLERANT, seeds=(0,)).pruning_rate == 7


def test_a_dense_network_that_diverges_ends_it(tmp_path):
    with pytest.raises(ArgumentError, match="dense network's metric must be finite"):
        search(lambda run: math.inf, tmp_path, criterion=TOLERANT, seeds=(0,))


def test_seeds_are_checked_before_anything_is_trained(tmp_path):
    for seeds, text in (((), "one or more"), ((1, 1), "different"), ((1,), "two seeds at least")):
        with pytest.raises(ArgumentError, match=text):
            search(lambda run: 1 / 0, tmp_path, seeds=seeds)
    for budget in ({"trials": 0}, {"trials": 1.5}, {"hours": 0}, {"hours": math.inf}):
        with pytest.raises(ArgumentError, match="must be a"):
            Budget(**budget)


@settings(max_examples=30, deadline=None)
@given(
    knee=st.floats(1, 60),
    noise=st.floats(0, 0.3),
    trials=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    lower_is_better=st.booleans(),
)
def test_noisy_curves_end_within_budget_at_a_rate_that_held(
    tmp_path_factory, knee, noise, trials, seed, lower_is_better
):
    import random

    def train(run):
        rng = random.Random(f"{seed} {run.seed} {run.pruning_rate}")
        value = curve(knee)(run) + rng.gauss(0, noise)
        return value if lower_is_better else -value

    calls = []
    result = search(
        lambda run: calls.append(run) or train(run),
        tmp_path_factory.mktemp("search"),
        ladder=Ladder(4, 4, max_rate=64),
        criterion=Criterion(lower_is_better),
        seeds=(0, 1, 2),
        budget=Budget(trials=trials),
    )
    assert len(result.trials) <= trials
    assert len(calls) == 3 * (len(result.trials) + 1)
    held = [trial.pruning_rate for trial in result.trials if trial.verdict.holds]
    failed = [trial.pruning_rate for trial in result.trials if not trial.verdict.holds]
    assert result.pruning_rate == (max(held) if held else None)
    assert result.pruning_rate is None or result.pruning_rate < min(failed, default=math.inf)
    assert result.stop == "step" or len(result.trials) == trials


KILLED = """
import os, signal, sys
from pathlib import Path
from csbrnn.search import Criterion, search

out, fatal = Path(sys.argv[1]), int(sys.argv[2])
done = 0

def train(run):
    global done
    done += 1
    partial = run.directory / "checkpoint"
    if done == fatal:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    if partial.exists():
        (out / "resumed").write_text(str(run))
    rate = run.pruning_rate or 1.0
    return 2.0 - 0.001 * run.seed + 0.05 * max(0.0, rate - 10.5)

search(train, out, criterion=Criterion(tolerance=0.1), seeds=(0, 1))
"""


@pytest.mark.parametrize("fatal", [1, 5, 9])
def test_kill_9_loses_nothing(tmp_path, fatal):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    search(curve(10.5), whole, criterion=TOLERANT, seeds=(0, 1))

    def start(dies_at):
        command = [sys.executable, "-c", KILLED, str(broken), str(dies_at)]
        return subprocess.run(command, check=False).returncode

    assert start(fatal) == -signal.SIGKILL
    assert len(rows(broken)) == fatal  # the header, and the runs before
    assert start(0) == 0
    assert rows(broken) == rows(whole)
    assert (broken / "resumed").exists()  # the same run, with what it had left
    ours, theirs = (json.loads((d / "result.json").read_text()) for d in (broken, whole))
    for result in (ours, theirs):
        del result["seconds"]
        for trial in result["trials"]:
            del trial["seconds"]
    assert ours == theirs
