"""Writing safetensors files, and reading those of strangers in place.

The safetensors package checks its files too, but copies every tensor; here they are mapped, and
the subset is stricter: few dtypes, aligned, nothing between or behind the tensors. Neither does its
NumPy half write bf16.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import FormatError
from csbrnn.formats import MAX_WEIGHTS, Fields, shown
from csbrnn.model.strict_json import parse_json

__all__ = [
    "MAX_HEADER_NBYTES",
    "open_regular",
    "parse_tensors",
    "read_tensors",
    "serialize_tensors",
]

MAX_HEADER_NBYTES: Final = 4 << 20
"""Largest tensor header. Ours: a tensor's entry takes about 100 bytes, so 40,000 of them."""

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "BF16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
"""Name in files -> dtype here; tensors are written in this order. NumPy has no bf16: its bits are a
uint16."""


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; never a link, a device, or a pipe that would block.

    Raises:
        FormatError: It is something else, is missing, or can't be read.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FormatError(f"{path}: must be a file, not a link; copy the file here") from None
        raise FormatError(f"{path}: can't be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError(f"{path}: must be a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_tensors(path: Path, *, in_place: bool = True) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file, read-only.

    Args:
        path: A safetensors file.
        in_place: Map the file rather than read it. The file must then not be truncated while the
            tensors are in use.

    Raises:
        FormatError: Whatever is wrong with the file.
    """
    with open_regular(path) as file:
        if in_place and os.fstat(file.fileno()).st_size:
            return parse_tensors(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
        return parse_tensors(file.read(), str(path))


def parse_tensors(data: bytes | mmap.mmap, where: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file in memory, as views of it.

    Raises:
        FormatError: Whatever is wrong with the file.
    """
    header_nbytes = int.from_bytes(data[:8], "little")
    room = len(data) - 8
    if room < 0 or header_nbytes > min(room, MAX_HEADER_NBYTES):
        raise FormatError(
            f"{where}: the header must have at most {MAX_HEADER_NBYTES} bytes and lie in the file;"
            f" it says {header_nbytes}, of a file of {len(data)}"
        )
    header = parse_json(data[8 : 8 + header_nbytes], where)
    start, size = 8 + header_nbytes, room - header_nbytes
    tensors: dict[str, NDArray[Any]] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in Fields(header, where).rest().items():
        fields = Fields(entry, f"{where}: tensor {shown(name)}")
        dtype = _DTYPES[fields.choice("dtype", _DTYPES)]
        shape = fields.items("shape", 2)
        shape_fields = Fields({"shape": shape}, fields.where)
        sizes = shape_fields.integers("shape", len(shape), 0, 8 * MAX_WEIGHTS)
        begin, end = fields.integers("data_offsets", 2, 0, size)
        fields.done()
        count = math.prod(sizes)
        if end - begin != count * dtype.itemsize:
            raise FormatError(
                f"{fields.where}: {count} values of {dtype.itemsize} bytes must take"
                f" {count * dtype.itemsize}, not {begin} to {end}"
            )
        if (start + begin) % dtype.itemsize:
            raise FormatError(f"{fields.where} must begin at a multiple of {dtype.itemsize} bytes")
        spans.append((begin, end, name))
        # frombuffer refuses an empty view at the very end.
        values = np.frombuffer(data, dtype, count, start + begin) if count else np.zeros(0, dtype)
        tensors[name] = values.reshape(sizes)
    covered = 0
    for begin, end, name in sorted(spans):
        if begin != covered:
            raise FormatError(
                f"{where}: tensor {shown(name)} must begin where the one before ends,"
                f" at {covered}, not {begin}"
            )
        covered = end
    if covered != size:
        raise FormatError(f"{where}: {size - covered} bytes belong to no tensor")
    return tensors


def serialize_tensors(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a safetensors file of C-ordered tensors, which `parse_tensors` reads.

    Byte for byte what the package would write: wider dtypes come first, so that all are aligned.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    ranks = list(names)
    order = sorted(tensors.items(), key=lambda item: (ranks.index(item[1].dtype), item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, values in order:
        begin, end = end, end + values.nbytes
        header[name] = {
            "dtype": names[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = (values.tobytes() for _, values in order)
    return b"".join([len(text).to_bytes(8, "little"), text, *data])
