"""The progress bar of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["bars", "progress_bar"]


def bars(console: Console, width: int) -> Progress:
    """Returns a display of bars: what, how far, the task's field ``note``, the time left.

    Args:
        console: Where to show it.
        width: Characters that descriptions take at the least.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn(f"{{task.description:{width}}}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
    )


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
    with bars(console, 32) as progress:
        task = progress.add_task(what, total=total, note="")

        def report(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield report
