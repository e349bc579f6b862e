"""`locked`: one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csbrnn.errors import ArgumentError

__all__ = ["locked"]


@contextmanager
def locked(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Holds a lock file, which the system lets go of at any death.

    Args:
        path: The file; made if it isn't there, and left.
        busy: What to say if another process holds it; None waits until it doesn't.

    Raises:
        ArgumentError: Another process holds it, or the file can't be made.
    """
    try:
        file = path.open("w")
    except OSError as error:
        raise ArgumentError(f"{path}: can't be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if busy is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(busy) from None
        yield
