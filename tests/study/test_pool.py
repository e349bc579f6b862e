"""Jobs over processes, with work that takes no time instead of training."""

import json
import os
import time

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.study import Job, pool, run_jobs
from csbrnn.study.job import REPORT


def job(name, **needs):
    return Job("trial", name, name.upper(), {}, "", needs, 3, 0)


JOBS = [job("a"), job("b", start="a"), job("c"), job("d", start="b", teacher="c")]


def work(job, root, *, device, progress):
    """Notes who ran, and fails if told to by a file."""
    for done in range(1, job.steps + 1):
        progress(done, 1.0)
    if (root / f"{job.name}.fail").exists():
        raise ArgumentError(f"{job.name} must not be")
    if (root / f"{job.name}.defect").exists():
        raise ZeroDivisionError(job.name)
    if (root / f"{job.name}.crash").exists():
        os._exit(7)
    assert all((root / need / REPORT).exists() for need in job.needs.values())
    job.directory(root).mkdir(exist_ok=True)
    (job.directory(root) / REPORT).write_text(json.dumps({"pid": os.getpid(), "device": device}))


class Notes:
    def __init__(self):
        self.lines, self.steps = [], {}

    def begun(self, job):
        self.lines.append(f"+{job.name}")

    def stepped(self, job, done, loss):
        self.steps[job.name] = done

    def ended(self, job, failure):
        self.lines.append(f"-{job.name}" if failure is None else f"!{job.name}")


def run(root, parallel=1, jobs=JOBS, until=None):
    notes = Notes()
    failures = run_jobs(
        jobs,
        root,
        work,
        parallel=parallel,
        threads=1,
        device="cpu",
        watcher=notes,
        until=until,
    )
    return notes, {failure.job.name: failure.reason for failure in failures}


def test_one_at_a_time_runs_here_and_in_order(tmp_path):
    notes, failures = run(tmp_path)
    assert notes.lines == ["+a", "-a", "+b", "-b", "+c", "-c", "+d", "-d"]
    assert notes.steps == {"a": 3, "b": 3, "c": 3, "d": 3}
    assert failures == {}
    assert json.loads((tmp_path / "a" / REPORT).read_text()) == {
        "pid": os.getpid(),
        "device": "cpu",
    }


def test_what_is_done_is_not_run_again(tmp_path):
    run(tmp_path)
    before = (tmp_path / "a" / REPORT).stat().st_mtime_ns
    assert run(tmp_path)[0].lines == []
    assert (tmp_path / "a" / REPORT).stat().st_mtime_ns == before


def test_a_failure_stops_those_that_need_it_and_no_others(tmp_path):
    (tmp_path / "b.fail").touch()
    notes, failures = run(tmp_path)
    assert notes.lines == ["+a", "-a", "+b", "!b", "+c", "-c"]
    assert failures == {"b": "b must not be", "d": "needs what failed: B"}
    (tmp_path / "b.fail").unlink()
    assert run(tmp_path)[0].lines == ["+b", "-b", "+d", "-d"]


@pytest.mark.parametrize("parallel", [1, 2])
def test_time_that_is_up_ends_it(tmp_path, parallel):
    notes, failures = run(tmp_path, parallel, until=time.monotonic() - 1)
    assert (notes.lines, failures) == ([], {})


def test_time_that_is_up_ends_a_job_between_two_steps(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 0.0, 9.0])  # before "a", after its first two steps, after the third
    monkeypatch.setattr(pool.time, "monotonic", lambda: next(clock))
    notes, failures = run(tmp_path, until=5.0)
    assert (notes.lines, notes.steps, failures) == (["+a"], {"a": 3}, {})
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_several_at_a_time_run_in_processes_of_their_own(tmp_path):
    (tmp_path / "b.crash").touch()
    notes, failures = run(tmp_path, parallel=2)
    assert set(notes.lines) == {"+a", "-a", "+c", "-c", "+b", "!b"}
    assert failures == {"b": "exit status 7", "d": "needs what failed: B"}
    pids = {json.loads((tmp_path / name / REPORT).read_text())["pid"] for name in "ac"}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_defect_in_one_job_keeps_no_other_from_running(tmp_path, parallel):
    (tmp_path / "c.defect").touch()
    _, failures = run(tmp_path, parallel)
    assert "ZeroDivisionError: c" in failures["c"]
    assert {job.name for job in JOBS if job.done(tmp_path)} == {"a", "b"}


def test_a_process_whose_parent_is_gone_does_nothing(tmp_path):
    """It may have been killed before the process had imported what it needs."""
    child = os.fork()
    if child == 0:
        pool._work(JOBS[0], tmp_path, work, 1, "cpu", None, parent=os.getppid() + 1_000_000)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert not JOBS[0].done(tmp_path)
