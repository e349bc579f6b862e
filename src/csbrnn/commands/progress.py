"""The progress bar of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(
    console: Console, what: str, total: float
) -> Iterator[Callable[[float, str], None]]:
    """Shows a bar while the block runs.

    Args:
        console: Where to show it.
        what: The work, in a few words.
        total: What counts as done.

    Yields:
        A function of what is done so far and a note to show beside the bar.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total, note="")

        def report(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield report
