"""`run_jobs`: jobs over several processes, each begun when what it needs is done.

A single job at a time runs in this process: starting another costs seconds (torch).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from csbrnn.errors import CsbrnnError
from csbrnn.study.job import Job

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

__all__ = ["Failure", "Watcher", "run_jobs"]

#: Seconds between two looks at the processes, and between two of a process's reports.
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Failure:
    """A job that did not end well, and why."""

    job: Job
    reason: str


class Watcher(Protocol):
    """Who is told what happens."""

    def begun(self, job: Job) -> None:
        """A job's process was started."""

    def stepped(self, job: Job, done: int, loss: float) -> None:
        """A job has done so many steps."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A job has ended, well or not."""


@dataclass
class _Running:
    job: Job
    process: SpawnProcess
    reasons: list[str] = field(default_factory=list)


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    run: Callable[..., None],
    *,
    parallel: int,
    threads: int,
    device: str,
    watcher: Watcher,
    until: float | None = None,
) -> list[Failure]:
    """Runs all jobs that are not done, in order, so many at a time.

    A job that fails keeps those from running that need it, and no others. On any exception in
    this process, Ctrl-C among them, running jobs are stopped; they go on from their checkpoints
    the next time.

    Args:
        jobs: What to run; needs come before their users.
        root: The study's directory.
        run: `csbrnn.study.training_job.run_job`, or something with its arguments that can be
            pickled.
        parallel: Processes at a time.
        threads: Threads of each.
        device: Passed on.
        watcher: Told what happens.
        until: Time, as of `time.monotonic`, after which running jobs are stopped as well.

    Returns:
        What failed, jobs included that could not run for want of what failed.
    """
    waiting = [job for job in jobs if not job.done(root)]
    settings = _Settings(root, run, threads, device, watcher, until)
    return _here(waiting, settings) if parallel == 1 else _over(waiting, settings, parallel)


@dataclass(frozen=True)
class _Settings:
    root: Path
    run: Callable[..., None]
    threads: int
    device: str
    watcher: Watcher
    until: float | None

    @property
    def time_is_up(self) -> bool:
        return self.until is not None and time.monotonic() > self.until


class _TimeUpError(Exception):
    pass


def _here(waiting: list[Job], settings: _Settings) -> list[Failure]:
    import torch

    failures: dict[str, Failure] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        for job in waiting:
            if settings.time_is_up:
                break
            if _skipped(job, failures):
                continue
            settings.watcher.begun(job)

            def progress(done: int, loss: float, job: Job = job) -> None:
                settings.watcher.stepped(job, done, loss)
                if settings.time_is_up:
                    raise _TimeUpError

            failure = None
            try:
                settings.run(job, settings.root, device=settings.device, progress=progress)
            except _TimeUpError:
                raise
            except CsbrnnError as error:
                failure = failures[job.name] = Failure(job, str(error))
            except Exception:  # a defect, or torch's: other jobs may do all the same
                failure = failures[job.name] = Failure(job, traceback.format_exc())
            settings.watcher.ended(job, failure)
    except _TimeUpError:
        pass
    finally:
        torch.set_num_threads(threads)
    return list(failures.values())


def _over(waiting: list[Job], settings: _Settings, parallel: int) -> list[Failure]:
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    watcher, root = settings.watcher, settings.root
    running: dict[str, _Running] = {}
    failures: dict[str, Failure] = {}
    try:
        while (waiting or running) and not settings.time_is_up:
            waiting = [job for job in waiting if not _skipped(job, failures)]
            ready = [job for job in waiting if job.ready(root)]
            for job in ready[: max(parallel - len(running), 0)]:
                waiting.remove(job)
                process = context.Process(
                    target=_work,
                    args=(
                        *(job, root, settings.run, settings.threads, settings.device, reports),
                        os.getpid(),
                    ),
                    daemon=True,
                )
                process.start()
                running[job.name] = _Running(job, process)
                watcher.begun(job)
            _pass_on(reports, running, watcher)
            for name, entry in list(running.items()):
                if entry.process.exitcode is None:
                    continue
                _pass_on(reports, running, watcher)  # its last words
                del running[name]
                failure = None
                if not entry.job.done(root):
                    reason = "; ".join(entry.reasons) or f"exit status {entry.process.exitcode}"
                    failure = failures[name] = Failure(entry.job, reason)
                watcher.ended(entry.job, failure)
    finally:
        for entry in running.values():
            entry.process.terminate()
        for entry in running.values():
            entry.process.join()
        reports.close()
    return list(failures.values())


def _skipped(job: Job, failures: dict[str, Failure]) -> bool:
    """Whether a job needs what failed; it then counts as failed itself."""
    need = next((need for need in job.needs.values() if need in failures), None)
    if need is not None:
        failures[job.name] = Failure(job, f"needs what failed: {failures[need].job.label}")
    return need is not None


def _pass_on(reports: Any, running: dict[str, _Running], watcher: Watcher) -> None:
    """Tells the watcher what processes have reported; waits a moment for the first report."""
    wait = _LOOK_EVERY_S
    with suppress(queue.Empty):
        while True:
            name, done, what = reports.get(timeout=wait)
            wait = 0.001
            entry = running.get(name)
            if entry is None:
                continue
            if isinstance(what, str):
                entry.reasons.append(what)
            else:
                watcher.stepped(entry.job, done, what)


def _work(
    job: Job,
    root: Path,
    run: Callable[..., None],
    threads: int,
    device: str,
    reports: Any,
    parent: int,
) -> None:
    """A process's whole life; it ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops us
    import torch

    torch.set_num_threads(threads)
    last = time.monotonic()

    def progress(done: int, loss: float) -> None:
        nonlocal last
        if os.getppid() != parent:  # it was killed: whoever goes on must not meet us
            os._exit(1)
        now = time.monotonic()
        if now - last > _LOOK_EVERY_S or done == job.steps:
            last = now
            reports.put((job.name, done, loss))

    try:
        if os.getppid() != parent:
            os._exit(1)
        run(job, root, device=device, progress=progress)
    except CsbrnnError as error:
        reports.put((job.name, 0, str(error)))
        sys.exit(1)
    except Exception:
        reports.put((job.name, 0, traceback.format_exc()))
        sys.exit(1)
