"""``csbrnn study``: patterns, methods and rates compared on a task, from a recipe file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.files import load_json, make_directory, unused, write_json
from csbrnn.lock import locked
from csbrnn.optional import needed_for

with needed_for("a study", "study"):
    from csbrnn.study import (
        NOTHING,
        Failure,
        Job,
        Known,
        collect,
        jobs_of,
        missing,
        read_known,
        read_recipe,
        read_report,
        run_job,
        run_jobs,
        time_models,
    )
    from csbrnn.tasks.device import check_device

from csbrnn.commands.progress import bars, progress_bar
from csbrnn.commands.report import read_result, write_report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

__all__ = ["run_study"]

#: Held by the process that runs a study in a directory; the system lets go of it at any death.
_LOCK = "lock"
_RESULT, _TIMES = "result.json", "times.json"


def run_study(
    path: Path,
    *,
    out: Path | None,
    data: str | None,
    parallel: int,
    threads: int,
    device: str,
    hours: float | None,
    timing: bool,
    known: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Runs what is left of a study, times its networks, and writes and shows what was found.

    Args:
        path: The recipe.
        out: Directory for everything; ``studies-out/NAME`` if None.
        data: Where the task's data lies, in place of what the recipe says.
        parallel: Processes at a time.
        threads: Threads of each.
        device: What to train on, as torch names it.
        hours: Stop after so long, to go on later; None for never.
        timing: Whether to time the networks at the end.
        known: Result file of an earlier run, whose rows need no training.
        console: Where progress and tables go.

    Returns:
        What ``result.json`` holds.

    Raises:
        ArgumentError: The recipe can't work, what is known can't be read, or another process runs
            a study in the directory.
        UnsupportedModelError: Some jobs failed: all of them, with reasons.
    """
    check_device(device)
    if hours is not None and not hours >= 0:
        raise ArgumentError(f"--hours must be a number, at least 0, not {hours}")
    recipe = read_recipe(path, data)
    before = NOTHING if known is None else read_known(read_result(known))
    root = Path("studies-out") / recipe.name if out is None else out
    make_directory(root)
    busy = f"{root}: another process runs a study here; wait for it, or give another --out"
    with locked(root / _LOCK, busy=busy):
        jobs = jobs_of(recipe)
        before = _kept(root / _RESULT, recipe.name, jobs, before, console)
        todo = missing(jobs, before)
        done = len(jobs) - sum(not job.done(root) for job in todo)
        console.print(
            f"{recipe.name}: {len(jobs)} networks, {done} of them done; in {root}", highlight=False
        )
        until = None if hours is None else time.monotonic() + 3600 * hours

        def found() -> dict[str, Any]:
            return collect(recipe, jobs, root, _times(root), before)

        try:
            failures = _train(todo, root, parallel, threads, device, until, found, console)
            if timing:
                with progress_bar(console, "timing the networks", 1.0) as report:
                    times = time_models(jobs, root, lambda text, share: report(share, text[:40]))
                write_json(root / _TIMES, times)
        except KeyboardInterrupt:
            write_json(root / _RESULT, found())
            console.print("Interrupted. The same command goes on where this one stopped.")
            raise
        result = found()
        write_json(root / _RESULT, result)
    console.print(f"Written: {root / _RESULT}", highlight=False)
    if left := result["jobs"] - result["done"] - len(failures):
        console.print(f"{left} networks are left; the same command goes on with them")
    if any(row["pattern"] == "dense" for row in result["rows"]):
        write_report(result, root, console)
    if failures:
        raise UnsupportedModelError(
            f"{len(failures)} of {len(jobs)} networks have failed (the same command tries again)",
            [f"{failure.job.label}: {failure.reason}" for failure in failures],
        )
    return result


def _kept(path: Path, name: str, jobs: tuple[Job, ...], before: Known, console: Console) -> Known:
    """Adds the rows of an earlier run in the directory: they outlive networks that are deleted.

    A file with rows that the recipe does not ask for any more is kept aside.

    Raises:
        ArgumentError: The file is no result of this study.
    """
    if not path.exists():
        return before
    found = read_result(path)
    if found.get("name") != name:
        raise ArgumentError(
            f"{path}: must be the result of the study {name!r}, but is that of"
            f" {found.get('name')!r}; give another --out"
        )
    mine = read_known(found)
    if dropped := mine.rows.keys() - {job.name for job in jobs}:
        aside = unused(path.with_suffix(".old.json"))
        shutil.copyfile(path, aside)
        console.print(
            f"{len(dropped)} rows of an earlier recipe are not asked for any more; they are in"
            f" {aside}",
            highlight=False,
        )
    return before | mine


def _train(
    jobs: tuple[Job, ...],
    root: Path,
    parallel: int,
    threads: int,
    device: str,
    until: float | None,
    found: Callable[[], dict[str, Any]],
    console: Console,
) -> list[Failure]:
    with bars(console, 44) as progress:
        watcher = _Bars(jobs, root, found, progress)
        return run_jobs(
            jobs,
            root,
            run_job,
            parallel=parallel,
            threads=threads,
            device=device,
            watcher=watcher,
            until=until,
        )


class _Bars:
    """A bar for the study, one for each running job, and a line for each that has ended."""

    def __init__(
        self,
        jobs: tuple[Job, ...],
        root: Path,
        found: Callable[[], dict[str, Any]],
        progress: Progress,
    ) -> None:
        self._root, self._found, self._progress = root, found, progress
        self._done = {job.name: job.steps * job.done(root) for job in jobs}
        self._bars: dict[str, TaskID] = {}
        total = sum(job.steps for job in jobs)
        self._all = progress.add_task("all", total=total, note="", completed=self._sum())

    def begun(self, job: Job) -> None:
        """See `csbrnn.study.Watcher`."""
        self._bars[job.name] = self._progress.add_task(job.label[:44], total=job.steps, note="")

    def stepped(self, job: Job, done: int, loss: float) -> None:
        """See `csbrnn.study.Watcher`."""
        self._progress.update(self._bars[job.name], completed=done, note=f"loss {loss:.3f}")
        self._done[job.name] = done
        self._progress.update(self._all, completed=self._sum())

    def ended(self, job: Job, failure: Failure | None) -> None:
        """See `csbrnn.study.Watcher`."""
        self._progress.remove_task(self._bars.pop(job.name))
        if failure is not None:
            text = f"FAILED {job.label}: {failure.reason}"
        else:
            self._done[job.name] = job.steps
            report = read_report(job, self._root)
            text = f"{job.label}: {report['score']['value']:.4f} {report['metric']}"
            write_json(self._root / _RESULT, self._found())
        self._progress.console.print(text, markup=False, highlight=False)
        self._progress.update(self._all, completed=self._sum())

    def _sum(self) -> int:
        return sum(self._done.values())


def _times(root: Path) -> dict[str, Any]:
    """What the last race in the directory has measured."""
    path = root / _TIMES
    try:
        times: dict[str, Any] = load_json(path) if path.exists() else {}
    except ArgumentError as error:
        raise ArgumentError(f"{error}; delete it: the next race writes it anew") from None
    return times
