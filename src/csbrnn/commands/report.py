"""``csbrnn report``: a study's tables and pictures from its result file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.errors import ArgumentError, MissingDependencyError
from csbrnn.files import load_json, make_directory, write_text
from csbrnn.report import (
    draw_html,
    draw_png,
    grid_markdown,
    no_loss_markdown,
    read_study,
    terminal_tables,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["read_result", "write_report"]


def read_result(path: Path) -> dict[str, Any]:
    """Reads a result file.

    Raises:
        ArgumentError: It can't be read, or is no JSON object.
    """
    result = load_json(path)
    if not isinstance(result, dict):
        raise ArgumentError(
            f"{path}: must hold the result of a study, not a {type(result).__name__}"
        )
    return result


def write_report(result: Mapping[str, Any], out: Path, console: Console) -> None:
    """Prints a study's tables and writes them, and pictures of it, into a directory.

    Pictures whose library is not installed are left out, with a line that says so.

    Args:
        result: What ``csbrnn study`` has written.
        out: Gets ``NAME.md``, ``NAME.png`` and ``NAME.html``.
        console: Where the tables go.

    Raises:
        ArgumentError: The result is not that of a study.
    """
    study = read_study(result)
    text = f"{no_loss_markdown(study)}\n\n{grid_markdown(study)}\n"
    console.print(terminal_tables(study))
    make_directory(out)
    write_text(out / f"{study.name}.md", text)
    console.print(f"Written: {out / study.name}.md", highlight=False)
    for draw, suffix in ((draw_png, "png"), (draw_html, "html")):
        path = out / f"{study.name}.{suffix}"
        try:
            draw(study, path)
        except MissingDependencyError as error:
            console.print(f"{path} is left out: {error}", highlight=False)
        else:
            console.print(f"Written: {path}", highlight=False)
