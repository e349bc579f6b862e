"""The engine in Amaranth's own simulator: slow, needs nothing but Python; for small archs."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import hdl
from amaranth.sim import Simulator

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.engine import Engine
from csbrnn.accelerator.rtl.status import State
from csbrnn.errors import HungError

__all__ = ["simulate_amaranth"]

_MASK = (1 << X_BITS) - 1
_SIGN = 1 << (X_BITS - 1)


def simulate_amaranth(arch: Arch, stimulus: Stimulus) -> Outcome:
    """Load, start and run the engine, and collect what it puts out.

    Raises:
        HungError: It has not stopped after ``stimulus.limit`` cycles.
    """
    bench = _Bench(arch, stimulus)
    simulator = Simulator(hdl.ResetInserter(bench.reset)(bench.engine))
    # Amaranth 0.6 wants a Period, 0.5 has none.
    simulator.add_clock(hdl.Period(us=1) if hasattr(hdl, "Period") else 1e-6)
    simulator.add_testbench(bench.run)
    simulator.run()
    assert bench.outcome is not None
    return bench.outcome


class _Bench:
    """The host."""

    def __init__(self, arch: Arch, stimulus: Stimulus) -> None:
        self.engine, self.reset = Engine(arch), hdl.Signal()
        self.outcome: Outcome | None = None
        self._arch, self._stimulus = arch, stimulus

    async def run(self, context: Any) -> None:
        """Load, start, and, where that is asked for, reset and do it again."""
        stimulus = self._stimulus
        if stimulus.reset_at is not None:
            await self._load(context)
            await self._steps(context, stimulus.reset_at)
            for signal in (self.engine.load.valid, self.engine.input.valid, self.engine.start):
                context.set(signal, 0)
            context.set(self.reset, 1)
            await context.tick()
            context.set(self.reset, 0)
        await self._load(context)
        self.outcome = await self._steps(context, stimulus.limit)
        if context.get(self.engine.state) == State.RUNNING:
            raise HungError(
                f"the engine must stop; after {stimulus.limit} cycles it still runs, at pc"
                f" {self.outcome.pc}"
            )

    async def _load(self, context: Any) -> None:
        engine = self.engine
        context.set(engine.load.valid, 1)
        for beat in self._stimulus.load.tolist():
            context.set(engine.load.payload, beat)
            while not context.get(engine.load.ready):
                await context.tick()
            await context.tick()
        context.set(engine.load.valid, 0)
        await context.tick().repeat(4)  # the load bus is registered on its way
        while not context.get(engine.ready) and context.get(engine.state) != State.ERROR:
            await context.tick()

    async def _steps(self, context: Any, until: int) -> Outcome:
        engine, stimulus, lanes = self.engine, self._stimulus, self._arch.x_write
        beats = stimulus.inputs.tolist()
        offered, cycle, idle = 0, 0, 0
        outputs: list[list[int]] = []
        last: list[bool] = []
        cycles: list[int] = []
        context.set(engine.start, 1)
        context.set(engine.steps, stimulus.steps)
        while idle < stimulus.drain_cycles and cycle <= until:
            valid = offered < len(beats) and stimulus.offers(cycle)
            context.set(engine.input.valid, valid)
            if valid:
                packed = sum((v & _MASK) << (X_BITS * k) for k, v in enumerate(beats[offered]))
                context.set(engine.input.payload.data, packed)
                context.set(engine.input.payload.last, int(stimulus.input_last[offered]))
            ready = idle > 0 or stimulus.takes(cycle)
            context.set(engine.output.ready, ready)
            if valid and context.get(engine.input.ready):
                offered += 1
            if ready and context.get(engine.output.valid):
                word = context.get(engine.output.payload.data)
                parts = [word >> (X_BITS * k) & _MASK for k in range(lanes)]
                outputs.append([(part ^ _SIGN) - _SIGN for part in parts])
                last.append(bool(context.get(engine.output.payload.last)))
                cycles.append(cycle)
            await context.tick()
            context.set(engine.start, 0)
            cycle += 1
            idle += context.get(engine.state) != State.RUNNING
        return Outcome(
            outputs=np.array(outputs, np.int64).reshape(-1, lanes),
            output_last=np.array(last, np.bool_),
            output_cycles=np.array(cycles, np.int64),
            inputs_taken=offered,
            cycles=context.get(engine.cycles),
            state=context.get(engine.state),
            code=context.get(engine.code),
            pc=context.get(engine.pc),
        )
