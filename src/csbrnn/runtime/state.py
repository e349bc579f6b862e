"""`State`: what a model remembers from step to step, as a value."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.runtime.memory import StateLayout

__all__ = ["State"]

_MAGIC: Final = b"csbrnn-s"
_HEADER: Final = struct.Struct("<8sQqQ")
"""Magic, fingerprint of the layout, batch (-1: none), floats that follow."""
_MAX_BATCH: Final = 2**31 - 1
"""Of bytes from elsewhere: a model without states would fit any."""


class State(Mapping[str, NDArray[np.float32]]):
    """The states of one stream or of a batch of streams, by public name (``"rnn.h"``).

    A mapping: ``state["rnn.h"]`` is a copy of a state, ``state["rnn.h"] = value`` sets it. Equal
    if names, sizes and values are equal (NaN included). Pickles; `to_bytes` and `from_bytes` are
    the same without pickle's dangers. Made by `Engine.initial_state` and `Engine.step`.

    Shape:
        values: (layers * directions, length), or (layers * directions, batch, length)

    Attributes:
        batch: Streams, or None for a single one without a batch axis.
    """

    __slots__ = ("_data", "_layout", "batch")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, layout: StateLayout, batch: int | None) -> None:
        self._layout, self.batch = layout, batch
        shape = (1 if batch is None else batch, layout.nbytes // 4)
        self._data: NDArray[np.float32] = np.zeros(shape, np.float32)

    @property
    def data(self) -> NDArray[np.float32]:
        """The states as the C library lays them out, padding included. Shape: (streams, floats)."""
        return self._data

    @property
    def layout(self) -> StateLayout:
        """Where each state lies."""
        return self._layout

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Return a copy of a state."""
        starts, length = self._place(name)
        streams = [self._data[:, start : start + length] for start in starts]
        return np.stack([s[0] for s in streams] if self.batch is None else streams)

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        """Set a state.

        Raises:
            ArgumentError: The value has another shape, or is not of real numbers.
        """
        starts, length = self._place(name)
        batch = () if self.batch is None else (self.batch,)
        expected = (len(starts), *batch, length)
        try:
            given = np.asarray(value)
        except Exception as error:  # a foreign __array__ may raise anything
            raise ArgumentError(
                f"state {name!r} must be real numbers of shape {expected}; NumPy can't read a"
                f" {type(value).__name__}: {error}"
            ) from error
        if given.shape != expected or given.dtype.kind not in "fiu":
            raise ArgumentError(
                f"state {name!r} must be real numbers of shape {expected},"
                f" got {given.dtype} of {given.shape}"
            )
        with np.errstate(over="ignore"):  # what float32 can't hold is infinite
            for start, part in zip(starts, given, strict=True):
                self._data[:, start : start + length] = part

    def _place(self, name: str) -> tuple[tuple[int, ...], int]:
        if name not in self._layout.places:
            raise KeyError(f"no state {name!r}; there are {list(self._layout.places)}")
        return self._layout.places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.places)

    def __len__(self) -> int:
        return len(self._layout.places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        same = self._layout.fingerprint == other._layout.fingerprint and self.batch == other.batch
        return same and np.array_equal(self._data, other._data, equal_nan=True)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {value.shape}" for name, value in self.items())
        return f"State({parts})"

    def copy(self) -> State:
        """Return an independent copy."""
        other = State(self._layout, self.batch)
        other._data[...] = self._data
        return other

    def to_bytes(self) -> bytes:
        """Return the state as bytes; `from_bytes` of the same engine's layout reads them."""
        batch = -1 if self.batch is None else self.batch
        header = _HEADER.pack(_MAGIC, self._layout.fingerprint, batch, self._data.size)
        return header + self._data.astype("<f4", copy=False).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, layout: StateLayout) -> State:
        """Read what `to_bytes` wrote, trusting nothing; see also `Engine.state_from_bytes`.

        Raises:
            FormatError: The bytes are not a state, or are of a model with other states.
        """
        if len(data) < _HEADER.size:
            raise FormatError(f"a state has at least {_HEADER.size} bytes, got {len(data)}")
        magic, fingerprint, batch, count = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise FormatError(f"a state must begin with {_MAGIC!r}, got {magic!r}")
        if fingerprint != layout.fingerprint:
            raise FormatError("the state belongs to a model with other states, or another layout")
        streams = 1 if batch == -1 else batch
        nbytes = len(data) - _HEADER.size
        fits = -1 <= batch <= _MAX_BATCH and count * 4 == nbytes
        if not fits or streams * layout.nbytes != nbytes:
            raise FormatError(
                f"a state of {streams} stream(s) must hold {streams * layout.nbytes} bytes,"
                f" got {nbytes}"
            )
        state = cls(layout, None if batch == -1 else batch)
        values = np.frombuffer(data, "<f4", offset=_HEADER.size)
        state._data[...] = values.reshape(state._data.shape)
        return state

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_bytes, (self.to_bytes(), self._layout)
