"""Writes a verb's result as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from csbrnn.errors import ArgumentError

__all__ = ["write_json"]


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write a result to a file, if there is one to write to.

    Raises:
        ArgumentError: The file can't be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"{path}: can't be written: {error.strerror}") from None
