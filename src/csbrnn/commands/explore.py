"""``csbrnn explore``: which network to deploy, as a recipe file says where to look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.optional import needed_for

with needed_for("an exploration", "explore"):
    import torch

    from csbrnn.explore.picture import draw
    from csbrnn.explore.recipe import read_recipe
    from csbrnn.explore.space import in_groups
    from csbrnn.explore.worker import RESULT, explore
    from csbrnn.tasks.device import check_device

from csbrnn.commands.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PICTURE", "run_explore"]

PICTURE = "pareto.html"


def run_explore(
    recipe: Path,
    out: Path,
    *,
    storage: str | None = None,
    data: str | None = None,
    threads: int = 1,
    device: str = "cpu",
    console: Console,
) -> dict[str, Any]:
    """Works on an exploration, prints the Pareto front, and returns all as JSON-able values.

    Args:
        recipe: The TOML file.
        out: Directory for networks, result and picture; and for the database, if no storage is
            given.
        storage: URL of a database that any number of workers share.
        data: Where the task's data lies, in place of what the recipe says.
        threads: Threads to train with.
        device: What to train on, as torch names it.
        console: Where progress and the table go.

    Raises:
        CsbrnnError: The recipe can't work, or the storage can't be used.
    """
    check_device(device)
    read = read_recipe(recipe, data, device)
    console.print(f"{len(read.space.configurations)} configurations")
    for reason in in_groups(read.space.left_out):
        console.print(f"left out: {reason}", markup=False)
    torch.set_num_threads(threads)
    try:
        with progress_bar(console, f"exploring {read.name}", 1.0) as report:
            result = explore(
                read,
                out,
                storage=storage,
                report=lambda line: console.print(line, markup=False),
                progress=lambda what, share: report(share, what),
            )
    except KeyboardInterrupt:
        console.print(
            "Interrupted. The same command goes on where this one stopped; "
            f"{out / RESULT} has what is known."
        )
        raise
    console.print(result.table())
    console.print(f"Stopped: {result.why}.")
    draw(result, out / PICTURE)
    console.print(f"Written: {out / RESULT}, {out / PICTURE}; packed models: {out / 'trials'}")
    return result.to_dict()
