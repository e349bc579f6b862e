"""The engine in Amaranth's own simulator: slow, needs nothing but Python; for small archs."""

from __future__ import annotations

from typing import Any

from amaranth import hdl
from amaranth.sim import Simulator

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.axi import Accelerator
from csbrnn.accelerator.rtl.host import run_host

__all__ = ["simulate_amaranth"]


def simulate_amaranth(arch: Arch, stimulus: Stimulus) -> Outcome:
    """Load, start and run the engine, and collect what it puts out.

    Raises:
        HungError: It has not stopped after ``stimulus.limit`` cycles.
    """
    reset, top = hdl.Signal(), Accelerator(arch)
    simulator = Simulator(hdl.ResetInserter(reset)(top))
    # Amaranth 0.6 wants a Period, 0.5 has none.
    simulator.add_clock(hdl.Period(us=1) if hasattr(hdl, "Period") else 1e-6)
    outcomes: list[Outcome] = []

    async def host(context: Any) -> None:
        outcomes.append(await run_host(_Pins(context, top, reset), stimulus))

    simulator.add_testbench(host)
    simulator.run()
    return outcomes[0]


class _Pins:
    """The ports, as `csbrnn.accelerator.rtl.host.Pins`."""

    def __init__(self, context: Any, top: Accelerator, reset: hdl.Signal) -> None:
        self._context, self._top, self._reset = context, top, reset

    def get(self, name: str) -> int:
        return int(self._context.get(getattr(self._top, name)))

    def set(self, name: str, value: int) -> None:
        self._context.set(self._reset if name == "rst" else getattr(self._top, name), value)

    async def tick(self) -> None:
        await self._context.tick()
