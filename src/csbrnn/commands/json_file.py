"""Writes a verb's result as JSON, if it is asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csbrnn.files import write_json

__all__ = ["write_result"]


def write_result(path: Path | None, data: dict[str, Any]) -> None:
    """Write a result to a file, if there is one to write to.

    Raises:
        ArgumentError: The file can't be written.
    """
    if path is not None:
        write_json(path, data)
