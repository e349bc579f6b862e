"""Putting an export in place, without harm to anything else that lies there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from csbrnn.errors import ArgumentError

__all__ = ["MANIFEST", "check_folder", "write_folder"]

MANIFEST: Final = "csbrnn-export.json"
"""What marks a folder as an export, and lists the files that the next one may replace."""
_FORMAT: Final = "csbrnn-export"


def check_folder(folder: Path) -> None:
    """Refuses what is no place for an export, before any work is done for it.

    Raises:
        ArgumentError: It is neither an earlier export, nor empty, nor nothing.
    """
    try:
        _earlier_files(folder)
    except OSError as error:
        raise ArgumentError(f"{folder}: can't be read: {error.strerror}") from None


def write_folder(folder: Path, files: Mapping[str, bytes], name: str) -> None:
    """Write an export, replacing an earlier one; files that csbrnn did not write stay.

    All bytes are written beside the folder first, so that a full disk leaves it as it was. A new
    folder then appears at once. In one that is there, files are replaced one by one, each at once;
    cut short, it can be exported to again.

    Args:
        folder: Made if it isn't there, with its parents.
        files: Name -> what it holds.
        name: The model's.

    Raises:
        ArgumentError: The folder holds something else, or can't be written.
    """
    everything = {**files, MANIFEST: _manifest(name, {*files, MANIFEST})}
    try:
        earlier = _earlier_files(folder)
        foreign = sorted(f for f in everything if f not in earlier and _exists(folder / f))
        if foreign:
            raise ArgumentError(
                f"{folder}: {', '.join(foreign)} would be overwritten, and {MANIFEST} does not list"
                " them as written by csbrnn: move them, or choose another folder"
            )
        target = folder.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            for file, data in everything.items():
                (beside / file).write_bytes(data)
            if target.exists():
                # Until all is done, the manifest lists the files of both exports.
                (beside / "both").write_bytes(_manifest(name, earlier | set(everything)))
                (beside / "both").replace(target / MANIFEST)
                for file in files:
                    (beside / file).replace(target / file)
                for file in earlier - set(everything):  # `cc *.c` would compile a stale kernel file
                    (target / file).unlink(missing_ok=True)
                (beside / MANIFEST).replace(target / MANIFEST)
            else:
                beside.chmod(0o777 & ~_umask())  # mkdtemp's are their owner's alone
                beside.replace(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise ArgumentError(f"{folder}: can't be written: {error.strerror}") from None


def _manifest(name: str, files: Collection[str]) -> bytes:
    manifest = {"format": _FORMAT, "name": name, "files": sorted(files)}
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _earlier_files(folder: Path) -> set[str]:
    """Return what an earlier export wrote into the folder.

    Raises:
        ArgumentError: The folder is something else than an export, an empty folder, or nothing.
    """
    if not _exists(folder):
        return set()
    if not folder.is_dir():
        raise ArgumentError(f"{folder}: must be a folder, or not exist")
    if not any(folder.iterdir()):
        return set()
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = data["files"]
        plain = [f for f in files if f == Path(f).name and f not in ("", ".", "..")]
        if data["format"] != _FORMAT or plain != files:
            raise ValueError(data)
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        raise ArgumentError(
            f"{folder}: is not empty, and has no {MANIFEST} of an earlier export: choose another"
            " folder, or empty it"
        ) from None
    return set(files)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
