"""What a simulation of the RTL is given, `Stimulus`, and what comes back, `Outcome`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Outcome", "Stimulus"]

_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads consecutive cycles


@dataclass(frozen=True)
class Stimulus:
    """One run of the engine.

    Attributes:
        load: Beats of the load stream. Shape: (beats,) uint32.
        inputs: Values of the input stream. Shape: (beats, W) int64, 16 bits each.
        input_last: TLAST of each. Shape: (beats,).
        steps: Time steps.
        input_gaps, output_gaps: Share of cycles, 0 .. 0.99, in which the host doesn't offer or
            take.
        seed: Of the gaps.
        reset_at: Cycle of a first run in which the engine is reset; everything is then loaded and
            started anew. None: it isn't.
        limit: Cycles after which a run that has not ended counts as hung.
        drain_cycles: Once the run is over, output is taken, without gaps, until none has come for
            so many cycles. Where G / W is large, the output queue alone holds more than that.
    """

    load: NDArray[np.uint32]
    inputs: NDArray[np.int64]
    input_last: NDArray[np.bool_]
    steps: int
    input_gaps: float = 0.0
    output_gaps: float = 0.0
    seed: int = 0
    reset_at: int | None = None
    limit: int = 1_000_000
    drain_cycles: int = 160

    def offers(self, cycle: int) -> bool:
        """Whether the host offers input in this cycle."""
        return _hash(2 * cycle, self.seed) >= self.input_gaps

    def takes(self, cycle: int) -> bool:
        """Whether the host takes output in this cycle."""
        return _hash(2 * cycle + 1, self.seed) >= self.output_gaps


@dataclass(frozen=True)
class Outcome:
    """What the engine did.

    Attributes:
        outputs: Values of the output stream. Shape: (beats, W) int64.
        output_last: TLAST of each. Shape: (beats,).
        output_cycles: When each was taken; the cycle of ``start`` is 0. Shape: (beats,).
        cycles: Of the run, counted by the engine.
        state: `csbrnn.accelerator.rtl.State`.
        code: `csbrnn.accelerator.rtl.Code`.
        pc: Of the last instruction.
    """

    outputs: NDArray[np.int64]
    output_last: NDArray[np.bool_]
    output_cycles: NDArray[np.int64]
    cycles: int
    state: int
    code: int
    pc: int


def _hash(counter: int, seed: int) -> float:
    """A number in [0, 1) that is the same in every simulator's driver (splitmix64)."""
    z = ((counter + 1) * _MULTIPLIER + seed * 0xBF58476D1CE4E5B9) & (1 << 64) - 1
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & (1 << 64) - 1
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & (1 << 64) - 1
    return (z ^ z >> 31) / 2**64
