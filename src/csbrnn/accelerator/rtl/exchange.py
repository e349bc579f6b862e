"""Stimulus and outcome as files, between this process and a compiled simulation."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import numpy as np

from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.errors import HungError

__all__ = ["read_outcome", "write_stimulus"]

_MAGIC: Final = 0x314D495362737263  # drivers/driver.h has the same
_HEAD: Final = struct.Struct("<10Q2d")
_OUTCOME_HEAD: Final = struct.Struct("<7Q")


def write_stimulus(path: Path, stimulus: Stimulus, *, direct: bool) -> None:
    """Write what a driver reads.

    Args:
        path: File to write.
        stimulus: What to write.
        direct: Put contents straight into the memories, where the simulator can.
    """
    beats, lanes = stimulus.inputs.shape
    head = _HEAD.pack(
        _MAGIC,
        len(stimulus.load),
        beats,
        lanes,
        stimulus.steps,
        stimulus.seed,
        stimulus.limit,
        stimulus.drain_cycles,
        direct,
        stimulus.limit if stimulus.reset_at is None else stimulus.reset_at,
        stimulus.input_gaps,
        stimulus.output_gaps,
    )
    with path.open("wb") as file:
        file.write(head)
        file.write(stimulus.load.astype("<u4").tobytes())
        file.write(stimulus.inputs.astype("<i2").tobytes())
        file.write(stimulus.input_last.astype("u1").tobytes())


def read_outcome(path: Path, lanes: int, limit: int) -> Outcome:
    """Read what a driver wrote.

    Raises:
        HungError: The engine was still running at the limit.
    """
    data = path.read_bytes()
    _, beats, cycles, state, code, pc, hung = _OUTCOME_HEAD.unpack_from(data)
    if hung:
        raise HungError(f"the engine must stop; after {limit} cycles it still runs, at pc {pc}")
    at = _OUTCOME_HEAD.size
    output_cycles = np.frombuffer(data, "<u8", beats, at)
    values = np.frombuffer(data, "<i2", beats * lanes, at + 8 * beats)
    last = np.frombuffer(data, "u1", beats, at + 8 * beats + 2 * beats * lanes)
    return Outcome(
        outputs=values.reshape(beats, lanes).astype(np.int64),
        output_last=last.astype(bool),
        output_cycles=output_cycles.astype(np.int64),
        cycles=cycles,
        state=state,
        code=code,
        pc=pc,
    )
