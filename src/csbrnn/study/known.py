"""What an earlier result file tells: its rows need no training, and outlive the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from csbrnn.errors import ArgumentError
from csbrnn.study.job import Job

__all__ = ["NOTHING", "Known", "missing", "read_known"]


@final
@dataclass(frozen=True)
class Known:
    """Rows that were found before.

    Attributes:
        rows: Name of the job -> row. The name has a digest of all that the outcome depends on, so
            rows of other settings, sizes or data are never met.
        timing: How the networks were timed.
    """

    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timing: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, newer: Known) -> Known:
        """Returns the rows of both; of those that both have, the newer ones."""
        older = {name: self.row(name, newer.timing) for name in self.rows}
        return Known({**older, **newer.rows}, newer.timing or self.timing)

    def row(self, name: str, timing: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a row for a table of which other rows are timed anew.

        Its own time is left out if that was measured on another machine, or by another commit's
        engine.

        Args:
            name: Of the job.
            timing: How other rows were timed; empty if they were not.
        """
        row = dict(self.rows[name])
        then, now = (_where(t) for t in (self.timing, timing))
        if timing and now != then and row["us_per_step"] is not None:
            row |= {
                "us_per_step": None,
                "us_per_step_iqr": None,
                "notes": [*row.get("notes", ()), f"timed before, not beside the others: {then}"],
            }
        return row


NOTHING: Final = Known()
"""No row is known."""


def read_known(result: Mapping[str, Any]) -> Known:
    """Takes what ``csbrnn study`` has written.

    Raises:
        ArgumentError: It is something else, or rows do not tell their jobs.
    """
    if result.get("kind") != "study":
        raise ArgumentError("what is known must be the result.json of a study; this is none")
    if nameless := [row["label"] for row in result["rows"] if "job" not in row]:
        raise ArgumentError(
            f"study {result['name']!r}: {len(nameless)} rows do not say by 'job' what they are of "
            f"(the first: {nameless[0]}); run that study again"
        )
    return Known({row["job"]: row for row in result["rows"]}, result["timing"])


def missing(jobs: Sequence[Job], known: Known) -> tuple[Job, ...]:
    """Returns what is left to train, in order: unknown rows, and what they are made of.

    A trial needs the start, and the reference for its gap if not as a teacher: these are trained
    again, known or not, but only for seeds that have an unknown trial.

    Args:
        jobs: From `csbrnn.study.job.jobs_of`.
        known: What need not be trained.
    """
    unknown = [job for job in jobs if job.kind != "start" and job.name not in known.rows]
    seeds = {job.seed for job in unknown}
    wanted = {job.name for job in unknown}
    return tuple(
        job for job in jobs if job.name in wanted or (job.kind != "trial" and job.seed in seeds)
    )


def _where(timing: Mapping[str, Any]) -> str:
    """The machine, and the engine's commit: with these, times may stand in one table."""
    environment = timing.get("environment", {})
    return f"{environment.get('cpu')}, commit {environment.get('git_commit')}"
