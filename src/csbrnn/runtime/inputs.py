"""What callers pass as input: checked once, with one clear message, and made ready for C."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import Stream
from csbrnn.errors import ArgumentError

__all__ = ["checked_input"]


def checked_input(x: object, stream: Stream, *, sequence: bool) -> NDArray[Any]:
    """Return a caller's input as an array, with its axes in the order of `run`.

    Anything that NumPy can read without copying its meaning away is taken: arrays, lists, CPU
    tensors of any framework. Floats of other widths are rounded to float32; integers and booleans
    are refused as features, since they are mostly a mistake; tokens must be integers in range.

    Args:
        x: The input.
        stream: The model's input.
        sequence: Whether the first axis is time.

    Shape:
        x: features ([time,] [batch,] width), tokens ([time,] [batch])
        returns: ([time,] [batch,] width), width 1 for tokens

    Raises:
        ArgumentError: The shape, type or range is wrong.
    """
    token = stream.dtype == "int32"
    if isinstance(x, np.ma.MaskedArray):
        raise ArgumentError(
            f"{_must(stream, sequence=sequence)}; of a masked array, say what masked values are:"
            " x.filled(0)"
        )
    try:
        array = np.asarray(x)
    except Exception as error:  # a foreign __array__ may raise anything
        must = _must(stream, sequence=sequence)
        raise ArgumentError(f"{must}; NumPy can't read a {type(x).__name__}: {error}") from error
    rank = sequence + (not token)
    fits = array.ndim in (rank, rank + 1) and (token or array.shape[-1] == stream.width)
    if not fits or array.dtype.kind not in ("iu" if token else "f"):
        must = _must(stream, sequence=sequence)
        raise ArgumentError(f"{must}, got {array.dtype} of shape {array.shape}")
    if array.dtype == np.float32:
        return np.ascontiguousarray(array)
    if not token:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, np.float32)
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < stream.bound:
        raise ArgumentError(
            f"tokens must lie in 0..{stream.bound - 1}, got {array.min()}..{array.max()}"
        )
    # asarray keeps a single token without axes as it is; ascontiguousarray would add one.
    return np.asarray(array, np.int32, order="C")[..., None]


def _must(stream: Stream, *, sequence: bool) -> str:
    """What an input must be, in words."""
    token = stream.dtype == "int32"
    axes, tail = ("seq_len",) * sequence, () if token else (str(stream.width),)
    shapes = [_shape((*axes, *tail)), _shape((*axes, "batch", *tail))]
    what = "integers" if token else "floats"
    return f"{'xs' if sequence else 'x'} must be {what} of shape {shapes[0]} or {shapes[1]}"


def _shape(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"
