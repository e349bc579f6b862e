"""`Lane`: what one stream runs in: its memory, its input and output, and the call of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import Stream
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.library import Call, Model, bound_step

__all__ = ["Lane"]


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
