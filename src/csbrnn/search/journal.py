"""`Journal`: results on disk, one JSON object a line, of which a kill costs none."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.files import make_directory

__all__ = ["VERSION", "Journal"]

VERSION: Final = 1
"""Of the lines' meaning."""


@final
class Journal:
    """An append-only log that belongs to one kind of work with one set of settings.

    The first line says whose it is, each other one is a row. A row is on the disk when
    :meth:`append` returns. A half-written last line, which a kill may leave, is cut off. One
    process at a time may have a journal open.

    Args:
        path: The file; made if it isn't there.
        kind: What work it logs.
        settings: What its rows depend on, JSON-able: rows made with other settings are of no use.

    Raises:
        ArgumentError: Another process has it open, or it was made with other settings.
        FormatError: It is something else, or damaged.
    """

    def __init__(self, path: Path, kind: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        make_directory(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._read({"kind": kind, "version": VERSION, "settings": _plain(settings)})
        except BaseException:
            os.close(self._file)
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row; it survives a kill and a power failure from then on."""
        plain = _plain(row)
        line = json.dumps(plain, allow_nan=False).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(f"{self.path}: a row was written in part only; is the disk full?")
        os.fsync(self._file)
        self.rows.append(plain)

    def close(self) -> None:
        """Lets another process open the journal."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(
                f"{self.path}: another process is at work on it; wait for it, or name another"
                " directory"
            ) from None

    def _read(self, head: dict[str, Any]) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        lines = [self._parse(k, line) for k, line in enumerate(data[:whole].splitlines(), 1)]
        if not lines:
            # Nothing, or a part of what a killed process would have written first: of ours.
            if not json.dumps(head).encode().startswith(data):
                raise FormatError(f"{self.path}: must be the log of a {head['kind']}, is none")
            os.ftruncate(self._file, 0)
            self.append(head)
            self.rows.clear()
            return
        found = lines[0]
        if found.get("kind") != head["kind"] or found.get("version") != head["version"]:
            raise FormatError(
                f"{self.path}: must be the log of a {head['kind']}, version {VERSION}, but begins"
                f" with {str(found)[:80]}"
            )
        if found.get("settings") != head["settings"]:
            changed = _differences(found.get("settings"), head["settings"])
            raise ArgumentError(
                f"{self.path}: was made with other settings: {'; '.join(changed)}. Name another"
                " directory, or go back to those settings"
            )
        os.ftruncate(self._file, whole)
        self.rows = lines[1:]

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise FormatError(f"{self.path}, line {number}: no JSON ({error})") from None
        if not isinstance(row, dict):
            raise FormatError(f"{self.path}, line {number}: must be a JSON object, is {row!r}")
        return row


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same after a round trip through JSON, so that what is compared is what is stored."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    return plain


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two settings differ, as "key was 1, is 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in _differences(
                old.get(key), new.get(key), f"{where}.{key}" if where else str(key)
            )
        ]
    return [] if old == new else [f"{where} was {old!r}, is {new!r}"]
