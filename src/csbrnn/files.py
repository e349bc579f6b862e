"""Users' files: read whole and replaced whole, with errors that name them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from csbrnn.errors import ArgumentError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "load_json",
    "load_toml",
    "make_directory",
    "replace_file",
    "unused",
    "write_json",
    "write_text",
]

T = TypeVar("T")


def load_json(path: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        ArgumentError: It can't be read, or is something else.
    """
    return _load(path, "JSON", json.loads)


def load_toml(path: Path) -> dict[str, Any]:
    """Returns what a TOML file holds.

    Raises:
        ArgumentError: It can't be read, or is something else.
    """
    return _load(path, "TOML", tomllib.loads)


def unused(path: Path) -> Path:
    """Returns a path at which nothing is: the one given, or one with a number at the end."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def make_directory(path: Path) -> None:
    """Makes a directory, and those above it, where they aren't there yet.

    Raises:
        ArgumentError: It can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"{path}: can't be made a directory: {error.strerror}") from None


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Replaces a file at once or not at all: a kill leaves the old one or the new one, never half.

    What is no file of its own (a link, a pipe, ``/dev/stdout``) is written to as it stands.

    Args:
        path: The file.
        write: Writes the new one, to the path that it is given.

    Raises:
        ArgumentError: It can't be written.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            write(path)
            return
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            write(partial)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ArgumentError(f"{path}: can't be written: {error.strerror or error}") from None


def write_text(path: Path, text: str) -> None:
    """Replaces a text file as `replace_file` does.

    Raises:
        ArgumentError: It can't be written.
    """
    replace_file(path, lambda file: file.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    """Replaces a JSON file as `replace_file` does; numbers in it are finite.

    Raises:
        ArgumentError: It can't be written.
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def _load(path: Path, kind: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: is no {kind}: {error}") from None
