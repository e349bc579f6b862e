"""`packed_directory`: an argument that names a case, or the directory of a packed model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from csbrnn.errors import ArgumentError

__all__ = ["packed_directory"]


def packed_directory(name: str, cases: Iterable[str]) -> Path | None:
    """Returns the directory, which goes before a case of its name; None for a case.

    Raises:
        ArgumentError: It is neither.
    """
    path = Path(name)
    if path.exists():
        return path
    if name in cases:
        return None
    raise ArgumentError(
        f"{name} must be a case ({', '.join(cases)}) or the directory of a packed model, and no"
        " such file or directory exists"
    )
