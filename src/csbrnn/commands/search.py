"""``csbrnn search``: the highest pruning rate at no loss, as a recipe file says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.optional import needed_for

with needed_for("a search", "train"):
    import torch

    from csbrnn.search.recipe import read_recipe
    from csbrnn.search.task_search import PACKED, search_task
    from csbrnn.tasks.device import check_device

from csbrnn.commands.progress import progress_bar
from csbrnn.search.lossless import LOG, RESULT

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["run_search"]


def run_search(
    recipe: Path,
    out: Path,
    *,
    data: str | None = None,
    threads: int = 1,
    device: str = "cpu",
    console: Console,
) -> dict[str, Any]:
    """Searches, prints the table, and returns the result as JSON-able values.

    Args:
        recipe: The TOML file.
        out: Directory for the log and the networks; what an interrupted search left is gone on
            from.
        data: Where the task's data lies, in place of what the recipe says.
        threads: Threads to train with.
        device: What to train on, as torch names it.
        console: Where progress and the table go.

    Raises:
        CsbrnnError: The recipe can't work, or the directory holds another search.
    """
    check_device(device)
    read = read_recipe(recipe, data, device)
    torch.set_num_threads(threads)
    try:
        with progress_bar(console, f"searching {read.pattern}", 1.0) as report:
            result = search_task(
                read,
                out,
                report=console.print,
                progress=lambda what, share: report(share, what),
            )
    except KeyboardInterrupt:
        console.print(
            f"Interrupted. The same command goes on where this one stopped; {out / LOG} has what"
            " is known."
        )
        raise
    console.print(result.table())
    console.print(f"Written: {out / LOG}, {out / RESULT}")
    for place in result.directories.values():
        console.print(f"Packed model: {out / place / PACKED}")
    return result.to_dict()
