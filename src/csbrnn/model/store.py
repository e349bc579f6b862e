"""`save` and `load`: a packed model as a directory of config.json and model.safetensors."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.model.config import FORMAT_NAME, config_from_model, model_from_config
from csbrnn.model.graph import PackedModel, problems, verify
from csbrnn.model.strict_json import dump_json, parse_json
from csbrnn.model.tensors import open_regular, read_tensors, serialize_tensors

__all__ = ["CONFIG_FILE", "MAX_CONFIG_NBYTES", "TENSOR_FILE", "load", "save"]

CONFIG_FILE: Final = "config.json"
TENSOR_FILE: Final = "model.safetensors"

MAX_CONFIG_NBYTES: Final = 4 << 20
"""Largest config.json. Ours: a vocabulary of 100,000 words takes about 1 MB."""

_SHOWN_REASONS: Final = 32


def load(path: str | os.PathLike[str], *, in_place: bool = True) -> PackedModel:
    """Read a packed model, trusting nothing: what is returned has passed `verify`.

    Weights are mapped, not copied; an existing model saved over by `save` stays valid for those
    who have it loaded.

    Args:
        path: The model's directory. Only its two files are read, and only if they are regular
            files.
        in_place: Map the weights. Choose False where someone may truncate the file while the model
            is in use: the operating system ends a process that reads beyond the end of a mapped
            file.

    Raises:
        FormatError: It is not a valid packed model; the message names file and key.
    """
    directory = Path(path)
    config_path = directory / CONFIG_FILE
    config = parse_json(_read_config(config_path), str(config_path))
    tensors = read_tensors(directory / TENSOR_FILE, in_place=in_place)
    model = model_from_config(config, tensors, str(config_path))
    if found := problems(model):
        more = len(found) - _SHOWN_REASONS
        found = found[:_SHOWN_REASONS] + ([f"and {more} more"] if more > 0 else [])
        raise FormatError("\n  - ".join([f"{config_path}: not a valid model:", *found]))
    return model


def save(model: PackedModel, path: str | os.PathLike[str]) -> None:
    """Write a packed model so that ``path`` always holds a whole model: the old or the new.

    Everything is written to a directory beside ``path``, read back, and then renamed. A packed
    model that was there is moved aside first and removed last; should the process die between the
    two renames, it is beside ``path`` under a name that ends in ".old".

    Args:
        model: The model; `verify` is called.
        path: A directory: new, empty, or holding a packed model and nothing else. Its parent must
            exist.

    Raises:
        UnsupportedModelError: The model is not valid.
        FormatError: ``path`` holds something else, or metadata can't be written as JSON.
        OSError: The disk is full, the parent is missing, or the like; ``path`` is as it was.
    """
    if not isinstance(model, PackedModel):
        raise ArgumentError(
            f"save takes a PackedModel, not {type(model).__name__}: csbrnn.pack makes one of a"
            " PyTorch module"
        )
    verify(model)
    target = Path(os.path.realpath(path))
    _check_replaceable(target)
    config, tensors = config_from_model(model)
    text = dump_json(config, CONFIG_FILE)
    if len(text) > MAX_CONFIG_NBYTES:
        raise FormatError(
            f"{CONFIG_FILE} must have at most {MAX_CONFIG_NBYTES} bytes, not {len(text)};"
            " metadata or provenance must be shorter"
        )
    unique = secrets.token_hex(8)
    fresh = target.with_name(f".{target.name}.{unique}.new")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "The folder above must exist", str(path))
    fresh.mkdir()
    try:
        _write(fresh / CONFIG_FILE, text)
        _write(fresh / TENSOR_FILE, serialize_tensors(tensors))
        load(fresh)
        _sync(fresh)
        _replace(target, fresh, target.with_name(f".{target.name}.{unique}.old"))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _sync(target.parent)


def _replace(target: Path, fresh: Path, aside: Path) -> None:
    """Put ``fresh`` in the place of ``target``, which waits ``aside`` meanwhile."""
    try:
        os.rename(fresh, target)  # Enough where nothing, or an empty directory, is in the way.
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        os.rename(target, aside)
        try:
            os.rename(fresh, target)
        except BaseException:
            os.rename(aside, target)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    """Refuse to write where anything but an empty directory or a packed model is."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise FormatError(f"{target}: must be a directory, or not exist, to save a model there")
    entries = {entry.name for entry in target.iterdir()}
    if not entries:
        return
    if others := sorted(entries - {CONFIG_FILE, TENSOR_FILE}):
        raise FormatError(
            f"{target}: holds {others[0]!a}, which is no part of a packed model; saving would"
            " remove it: choose another directory"
        )
    config_path = target / CONFIG_FILE
    config = parse_json(_read_config(config_path), str(config_path))
    if not isinstance(config, dict) or config.get("format") != FORMAT_NAME:
        raise FormatError(f"{config_path}: is not of a packed model; choose another directory")


def _read_config(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(MAX_CONFIG_NBYTES + 1)
    if len(data) > MAX_CONFIG_NBYTES:
        raise FormatError(f"{path}: must have at most {MAX_CONFIG_NBYTES} bytes")
    return data


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    # Makes the renames last through a power cut, where the file system offers it.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
