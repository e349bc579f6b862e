"""What streams run in: their memory, input and output.

`Lane` is that of one stream, with the call of a step, and `Lanes` that of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import Stream
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.library import Call, Model, bound_step

__all__ = ["Lane", "Lanes", "addresses"]


class Lane:
    """Buffers that stay where they are, and a step that reads and writes them.

    Args:
        model: The opened image.
        pool: Threads that share the work, or None.
        nbytes: Of the memory, and of the states at its start.
        source: The model's input.
        width: Of its output.

    Attributes:
        x: Input, (input,) float32, or (1,) int32 for tokens.
        y: Output, (output,) float32.
        states: All states, as the C library lays them out.
        step: Runs one step; returns a ``csbrnn_error``, 0 if there was none.
    """

    def __init__(
        self, model: Model, pool: int | None, nbytes: tuple[int, int], source: Stream, width: int
    ) -> None:
        memory = aligned(nbytes[0])
        self.x: NDArray[Any] = aligned(4 * source.width).view(source.dtype)
        self.y: NDArray[np.float32] = aligned(4 * width).view(np.float32)
        self.states: NDArray[np.float32] = memory[: nbytes[1]].view(np.float32)
        places = (memory.ctypes.data, self.x.ctypes.data, self.y.ctypes.data)
        self._record = Call(model, pool, *places)  # the model's fields are copied
        self.step: Callable[[], int] = bound_step(self._record)


class Lanes:
    """Buffers for a step of several streams.

    Args:
        count: Streams.
        stride: Bytes from one's memory to the next one's.
        nbytes: Of each one's states, at its memory's start.
        source: The model's input.
        width: Of its output.

    Attributes:
        x: Inputs, (count, input).
        y: Outputs, (count, output) float32.
        states: All states, (count, floats).
        pointers: Where the addresses of all memories, inputs and outputs are.
    """

    def __init__(self, count: int, stride: int, nbytes: int, source: Stream, width: int) -> None:
        memories = aligned(count * stride).view(np.float32).reshape(count, stride // 4)
        x = aligned(count * 4 * source.width).view(source.dtype)
        self.x: NDArray[Any] = x.reshape(count, source.width)
        y = aligned(count * 4 * width).view(np.float32)
        self.y: NDArray[np.float32] = y.reshape(count, width)
        self.states: NDArray[np.float32] = memories[:, : nbytes // 4]
        self._places = [addresses(array) for array in (memories, self.x, self.y)]
        self.pointers: tuple[int, ...] = tuple(place.ctypes.data for place in self._places)


def addresses(array: NDArray[Any]) -> NDArray[np.uintp]:
    """Return where each element of the first axis begins."""
    steps = np.arange(len(array)) * array.strides[0]
    return (array.ctypes.data + steps).astype(np.uintp)
