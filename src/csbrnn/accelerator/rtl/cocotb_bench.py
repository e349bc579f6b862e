"""What cocotb runs inside the simulator: a stimulus is read, driven, and its outcome written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from csbrnn.accelerator.outcome import Outcome
from csbrnn.accelerator.rtl.cocotb import FOLDER
from csbrnn.accelerator.rtl.host import run_host
from csbrnn.errors import HungError

__all__ = ["run"]

_PERIOD_NS = 10


@cocotb.test()
async def run(dut: Any) -> None:
    """Run the engine as the stimulus says."""
    folder = Path(os.environ[FOLDER])
    stimulus = pickle.loads((folder / "stimulus").read_bytes())
    Clock(dut.clk, _PERIOD_NS, unit="ns").start()
    outcome: Outcome | HungError
    try:
        outcome = await run_host(_Pins(dut), stimulus)
    except HungError as error:
        outcome = error
    (folder / "outcome").write_bytes(pickle.dumps(outcome))


class _Pins:
    """The ports, as `csbrnn.accelerator.rtl.host.Pins`.

    All is done at the falling edge: what registers show has settled by then, in every simulator,
    and what is driven stands well before the next rising edge.
    """

    def __init__(self, dut: Any) -> None:
        self._dut, self._edge = dut, FallingEdge(dut.clk)

    def get(self, name: str) -> int:
        return int(getattr(self._dut, name).value)

    def set(self, name: str, value: int) -> None:
        getattr(self._dut, name).value = value

    async def tick(self) -> None:
        await self._edge
