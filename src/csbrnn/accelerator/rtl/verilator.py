"""The emitted Verilog in Verilator: a second opinion on any size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.compiled import (
    DRIVERS,
    fresh_folder,
    kept_program,
    run_program,
    write_spaces,
)
from csbrnn.accelerator.rtl.emit import TOP, emit_verilog
from csbrnn.accelerator.tools import require_tool, run_tool

__all__ = ["PCH_OVERRIDE", "build_verilator", "simulate_verilator", "verilator_environment"]

PCH_OVERRIDE: Final = "CFG_CXXFLAGS_PCH_I=-include"
"""For make: Verilator's makefile would precompile a header with options that g++ refuses."""

_HIERARCHY: Final = "/*verilator hier_block*/"
"""Compiles a module once, however often it stands."""


def simulate_verilator(arch: Arch, stimulus: Stimulus) -> Outcome:
    """Build the emitted Verilog, unless that has been done before, load and run it.

    Raises:
        MissingDependencyError: Verilator, or what it needs, is missing.
        HungError: It ran beyond the limit.
    """
    return run_program(build_verilator(arch), arch, stimulus)


def build_verilator(arch: Arch) -> Path:
    """Return the simulation program of one arch; built once from the same."""
    verilator = require_tool("verilator")
    program = kept_program(arch, "verilator")
    if program.exists():
        return program
    with fresh_folder(program) as folder:
        text = emit_verilog(arch)
        if arch.groups > 1:
            text = _mark(text, "csbrnn_group")
        (folder / "csbrnn.v").write_text(text, "utf-8")
        write_spaces(folder, arch)
        command = [
            *verilator,
            "--cc",
            "--exe",
            "--build",
            "--top-module",
            TOP,
            "-O3",
            "--no-timing",
            "-CFLAGS",
            f"-std=c++17 -O2 -I{folder} -I{DRIVERS}",
            "-MAKEFLAGS",
            PCH_OVERRIDE,
            "-o",
            program.name,
            "csbrnn.v",
            str(DRIVERS / "verilator_main.cc"),
        ]
        if arch.groups > 1:
            command.insert(1, "--hierarchical")
        run_tool(command, folder, env=verilator_environment(verilator[0]))
        (folder / "obj_dir" / program.name).rename(folder / program.name)
    return program


def _mark(text: str, module: str) -> str:
    """Put Verilator's comment for hierarchical blocks into a module."""
    start = text.index(f"module {module}(")
    body = text.index(";", start) + 1
    return text[:body] + f" {_HIERARCHY}" + text[body:]


def verilator_environment(verilator: str) -> dict[str, str]:
    """Return the environment for a Verilator, which in a Python package does not know where it is.

    Args:
        verilator: Its path.
    """
    root = Path(verilator).parent.parent
    known = {"VERILATOR_ROOT": str(root)} if (root / "include" / "verilated.h").exists() else {}
    return {**os.environ, **known}
