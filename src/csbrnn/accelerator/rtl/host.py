"""The host of a simulation in Python: loads the engine, starts it, and takes what it puts out.

It knows the ports of `csbrnn.accelerator.rtl.axi.Accelerator` by name and nothing of the simulator
behind them. ``drivers/driver.h`` is the same in C++.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from csbrnn.accelerator.arch import X_BITS
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.status import State
from csbrnn.errors import HungError

__all__ = ["Pins", "run_host"]

_MASK: Final = (1 << X_BITS) - 1
_SIGN: Final = 1 << (X_BITS - 1)

_RESET_CYCLES: Final = 3
"""Icarus Verilog starts with registers unknown; they are known after the first."""

_SHOWN_LATE: Final = 3
"""Cycles from start until the state that is shown is that of the run."""


class Pins(Protocol):
    """The ports of the engine in some simulator."""

    def get(self, name: str) -> int:
        """A port's value, settled, without sign."""
        ...

    def set(self, name: str, value: int) -> None:
        """Drive a port, from this moment on."""
        ...

    async def tick(self) -> None:
        """Go on until after the next edge of the clock."""
        ...


async def run_host(pins: Pins, stimulus: Stimulus) -> Outcome:
    """Reset, load, start, and, where that is asked for, do all of it again.

    Raises:
        HungError: The engine has not stopped after ``stimulus.limit`` cycles.
    """
    await _reset(pins)
    if stimulus.reset_at is not None:
        await _load(pins, stimulus)
        await _steps(pins, stimulus, stimulus.reset_at)
        await _reset(pins)
    await _load(pins, stimulus)
    outcome = await _steps(pins, stimulus, stimulus.limit)
    if outcome.state == State.RUNNING:
        raise HungError(
            f"the engine must stop; after {stimulus.limit} cycles it still runs, at pc {outcome.pc}"
        )
    return outcome


async def _reset(pins: Pins) -> None:
    for name in ("start", "s_axis_load_tvalid", "s_axis_input_tvalid", "m_axis_output_tready"):
        pins.set(name, 0)
    pins.set("rst", 1)
    for _ in range(_RESET_CYCLES):
        await pins.tick()
    pins.set("rst", 0)


async def _load(pins: Pins, stimulus: Stimulus) -> None:
    pins.set("s_axis_load_tvalid", 1)
    for beat in stimulus.load.tolist():
        pins.set("s_axis_load_tdata", beat)
        while not pins.get("s_axis_load_tready"):
            await pins.tick()
        await pins.tick()
    pins.set("s_axis_load_tvalid", 0)
    for _ in range(8):  # the last entry is on its way
        await pins.tick()
    for _ in range(stimulus.limit):
        if pins.get("ready") or pins.get("state") == State.ERROR:
            return
        await pins.tick()
    raise HungError(f"the engine must become ready; after {stimulus.limit} cycles it isn't")


async def _steps(pins: Pins, stimulus: Stimulus, until: int) -> Outcome:
    """Run all steps, or until a cycle."""
    beats = stimulus.inputs.tolist()
    lanes = stimulus.inputs.shape[1]
    offered, cycle, idle = 0, 0, 0
    outputs: list[list[int]] = []
    last: list[bool] = []
    cycles: list[int] = []
    pins.set("start", 1)
    pins.set("steps", stimulus.steps)
    while idle < stimulus.drain_cycles and cycle <= until:
        valid = offered < len(beats) and stimulus.offers(cycle)
        pins.set("s_axis_input_tvalid", int(valid))
        if valid:
            packed = sum((v & _MASK) << (X_BITS * k) for k, v in enumerate(beats[offered]))
            pins.set("s_axis_input_tdata", packed)
            pins.set("s_axis_input_tlast", int(stimulus.input_last[offered]))
        ready = idle > 0 or stimulus.takes(cycle)
        pins.set("m_axis_output_tready", int(ready))
        # Both handshakes are registers: they don't change with what was set just now.
        if valid and pins.get("s_axis_input_tready"):
            offered += 1
        taken = ready and bool(pins.get("m_axis_output_tvalid"))
        if taken:
            word = pins.get("m_axis_output_tdata")
            parts = [word >> (X_BITS * k) & _MASK for k in range(lanes)]
            outputs.append([(part ^ _SIGN) - _SIGN for part in parts])
            last.append(bool(pins.get("m_axis_output_tlast")))
            cycles.append(cycle)
        await pins.tick()
        pins.set("start", 0)
        over = cycle > _SHOWN_LATE and pins.get("state") != State.RUNNING
        idle += over and not taken  # what is queued is part of the run
        cycle += 1
    return Outcome(
        outputs=np.array(outputs, np.int64).reshape(-1, lanes),
        output_last=np.array(last, np.bool_),
        output_cycles=np.array(cycles, np.int64),
        cycles=pins.get("cycles"),
        state=pins.get("state"),
        code=pins.get("code"),
        pc=pins.get("pc"),
    )
