"""Files that a verb writes in the end: refused before its work if they can't be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from csbrnn.errors import ArgumentError
from csbrnn.files import make_directory, write_json

__all__ = ["Json", "check_writable", "write_result"]


def check_writable(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """Return the path that an option was given: the callback of those that name a file to write.

    Raises:
        ArgumentError: No file can be written there.
    """
    if path is not None:
        there = next(folder for folder in path.resolve().parents if folder.exists())
        if path.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
            raise ArgumentError(
                f"{option.opts[0]} {path}: can't be written; it must name a file, new or old, in"
                " a folder that may be written to"
            )
    return path


Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=check_writable,
        help="Also write the result as JSON.",
    ),
]
"""The option of every verb."""


def write_result(path: Path | None, data: dict[str, Any]) -> None:
    """Write a result to a file, if there is one to write to.

    Raises:
        ArgumentError: The file can't be written.
    """
    if path is not None:
        make_directory(path.parent)  # it may be that of the verb's own output
        write_json(path, data)
