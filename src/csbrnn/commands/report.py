"""``csbrnn report``: a study's tables and pictures from its result file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.checks import is_number
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

#: What a row must have: texts; and numbers, which may be unknown but for those always there.
_NAMES = ("label", "pattern", "method", "machine")
_ALWAYS = ("pruning_rate", "seed", "value")
_NUMBERS = (
    *(*_ALWAYS, "stderr", "gap", "gap_stderr", "value_int8", "kept_weights", "total_weights"),
    *("total_bits_int8", "total_bits_fp32", "nbytes_int8", "us_per_step"),
)


def read_result(path: Path) -> dict[str, Any]:
    """Reads a result file.

    Raises:
        ArgumentError: It can't be read, or does not hold what ``csbrnn study`` writes.
    """
    result = load_json(path)
    if not isinstance(result, dict):
        raise ArgumentError(
            f"{path}: must hold the result of a study, not a {type(result).__name__}"
        )
    if result.get("kind") == "study" and (wrong := _damage(result)):
        raise ArgumentError(f"{path}: is damaged: {wrong}; run the study again")
    return result


def _damage(result: Mapping[str, Any]) -> str:
    """What is wrong with a study's result; empty if nothing is."""
    for key, kind in (("rows", list), ("task", dict), ("recipe", dict), ("timing", dict)):
        if not isinstance(result.get(key), kind):
            return f"{key!r} must be a {kind.__name__}, not {result.get(key)!r:.40}"
    if missing := {"metric", "lower_is_better"} - result["task"].keys():
        return f"'task' lacks {', '.join(sorted(missing))}"
    for number, row in enumerate(result["rows"]):
        where = f"row {number}"
        if not isinstance(row, dict):
            return f"{where} must be an object, not {row!r:.40}"
        if missing := {*_NAMES, *_NUMBERS} - row.keys():
            return f"{where} lacks {', '.join(sorted(missing))}"
        for key in _NUMBERS:
            unknown = row[key] is None and key not in _ALWAYS
            if not unknown and not is_number(row[key]):
                return f"{key!r} of {where} must be a number, not {row[key]!r:.40}"
    return ""


def write_report(result: Mapping[str, Any], out: Path, console: Console) -> None:
    """Writes a study's tables, and pictures of it, into a directory, and prints the tables.

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
    make_directory(out)
    # Files before anything is printed: whoever reads may leave early.
    write_text(out / f"{study.name}.md", text)
    lines = [f"Written: {out / study.name}.md"]
    for draw, suffix in ((draw_png, "png"), (draw_html, "html")):
        path = out / f"{study.name}.{suffix}"
        try:
            draw(study, path)
        except MissingDependencyError as error:
            lines.append(f"{path} is left out: {error}")
        else:
            lines.append(f"Written: {path}")
    console.print(terminal_tables(study))
    for line in lines:
        console.print(line, highlight=False)
