"""The emitted Verilog under cocotb, in Icarus Verilog, or in Verilator where that is missing.

Slow, as Python takes part in every cycle: for small archs, and for hosts written in Python.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Final

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.emit import TOP, emit_verilog
from csbrnn.accelerator.rtl.verilator import PCH_OVERRIDE, verilator_environment
from csbrnn.accelerator.tools import has_tool, require_tool, run_tool
from csbrnn.errors import ArgumentError, HungError

__all__ = ["FOLDER", "simulate_cocotb"]

FOLDER: Final = "CSBRNN_COCOTB_FOLDER"
"""Environment variable: where the bench, in the simulator's process, finds its stimulus."""

_BENCH: Final = "csbrnn.accelerator.rtl.cocotb_bench"

_LIMIT_S: Final = 1800.0
"""Ours; small engines take seconds. `Stimulus.limit` stops an engine that hangs, this anything
else that might."""


def simulate_cocotb(arch: Arch, stimulus: Stimulus, *, simulator: str | None = None) -> Outcome:
    """Build the emitted Verilog, load and run it.

    Args:
        arch: The sizes.
        stimulus: What it is given.
        simulator: "icarus" or "verilator"; None: the first of them that is installed.

    Raises:
        ArgumentError: The simulator is not one of the two.
        MissingDependencyError: cocotb or the simulator is missing.
        HungError: It ran beyond the limit.
        ToolError: The simulator failed, or took too long.
    """
    command = require_tool("cocotb")
    simulator = simulator or ("icarus" if has_tool("iverilog") else "verilator")
    if simulator not in ("icarus", "verilator"):
        raise ArgumentError(f"simulator must be icarus or verilator, not {simulator!r}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**_environment(simulator), FOLDER: name}
        (folder / "csbrnn.v").write_text(emit_verilog(arch), "utf-8")
        (folder / "stimulus").write_bytes(pickle.dumps(stimulus))
        run_tool([*command, simulator], folder, env=environment, limit_s=_LIMIT_S)
        outcome = pickle.loads((folder / "outcome").read_bytes())
    if isinstance(outcome, HungError):
        raise outcome
    assert isinstance(outcome, Outcome)
    return outcome


def _environment(simulator: str) -> dict[str, str]:
    """The environment in which cocotb finds the simulator."""
    # cocotb would take a test's name for its own results.
    kept = {name: v for name, v in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    if simulator == "icarus":
        require_tool("iverilog")
        return kept
    verilator = require_tool("verilator")[0]
    path = os.pathsep.join([str(Path(verilator).parent), kept.get("PATH", "")])
    # Compiling takes longer than simulating; the quicker it is, the better.
    make = f"{PCH_OVERRIDE} OPT_FAST=-O0 OPT_GLOBAL=-O0"
    return {**kept, **verilator_environment(verilator), "PATH": path, "MAKEFLAGS": make}


def _launch(simulator: str) -> None:
    """Build and run in the working directory; in a process of its own."""
    from cocotb_tools.runner import get_runner

    runner = get_runner(simulator)
    # Without a time scale a delay of the clock's half period would be rounded to nothing.
    runner.build(
        sources=["csbrnn.v"],
        hdl_toplevel=TOP,
        build_dir="build",
        timescale=("1ns", "1ps"),
    )
    runner.test(hdl_toplevel=TOP, hdl_toplevel_lang="verilog", test_module=_BENCH)


if __name__ == "__main__":
    _launch(sys.argv[1])
