"""The engine as RTLIL, and through Yosys as Verilog: each kind of part is written once."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

from amaranth.back import rtlil

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.rtl.axi import Accelerator
from csbrnn.accelerator.rtl.group import PEGroup
from csbrnn.accelerator.rtl.stream import WeightStream
from csbrnn.accelerator.tools import run_yosys

__all__ = ["NO_COLLISIONS", "TOP", "UNINITIALIZED", "emit_rtlil", "emit_verilog"]

TOP: Final = "csbrnn_accelerator"
"""Name of the top module."""

UNINITIALIZED: Final = "t:$meminit_v2 *.activation/* %d"
"""Yosys's selection of initial values nobody needs: zeros in memories that are always loaded or
cleared. Left in, they are most of the text."""

NO_COLLISIONS: Final = (
    "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 *.activation/* %d *.queue/* %d"
)
"""Tells Yosys that no place of a memory is read, to any use, in a cycle in which it is written.
Programs guarantee that (docs/spec/accelerator.md), and loading ends before they start. The table is
never written, and the output queue's memory is not ours to judge."""

_AWAKE: Final = re.compile(r"^( *reg )(\\\$auto\$verilog_backend\S+) += 0;$", re.MULTILINE)
"""The variable by which Yosys makes each ``always @*`` run at time 0. A SystemVerilog simulator
initializes it before there are processes that could notice."""

_HEADER: Final = """\
`timescale 1ns / 1ps
// Written by Yosys: operands are as wide as Verilog makes them, a case without a choice keeps what
// stands before it, small sizes leave comparisons one outcome, and variables that wake a process at
// time 0 are assigned as in one.
/* verilator lint_off WIDTHEXPAND */
/* verilator lint_off WIDTHTRUNC */
/* verilator lint_off CASEINCOMPLETE */
/* verilator lint_off CMPCONST */
/* verilator lint_off UNSIGNED */
/* verilator lint_off INITIALDLY */
"""
"""The testbench's time scale, for simulators complain where some files have one and others don't;
and what there is no need to be warned of."""

_STREAM: Final = "csbrnn_stream"
_GROUP: Final = "csbrnn_group"


def emit_rtlil(arch: Arch, folder: Path) -> list[Path]:
    """Write the engine as RTLIL, a file for each of stream, group and top, in this order.

    Amaranth writes every instance of a module anew, with the initial values of its memories, so
    streams and groups are emitted alone and instantiated by name.
    """
    parts = {
        _STREAM: WeightStream(arch),
        _GROUP: PEGroup(arch, _STREAM),
        TOP: Accelerator(arch, _GROUP),
    }
    paths = []
    for name, component in parts.items():
        path = folder / f"{name}.il"
        path.write_text(rtlil.convert(component, name=name, emit_src=False), "utf-8")
        paths.append(path)
    return paths


def emit_verilog(arch: Arch, *, collisions: bool = True) -> str:
    """Return the engine as Verilog-2001, top module `TOP`.

    Args:
        arch: The sizes.
        collisions: Whether a place of a memory may be read while it is written, and shows what it
            held. If not it shows x, for a test that synthesis, which doesn't care, is right.

    Raises:
        MissingDependencyError: Yosys is not installed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = emit_rtlil(arch, folder)
        script = [f"read_rtlil {path.name}" for path in paths]
        script += [
            f"delete {UNINITIALIZED}",
            *([] if collisions else [NO_COLLISIONS]),
            "proc -nomux -norom",
            "memory_collect",
            "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy"
            " -remove amaranth.decoding",
            "attrmap -modattr -remove generator -remove top -remove src"
            " -remove amaranth.hierarchy -remove amaranth.decoding",
            "write_verilog -norename csbrnn.v",
        ]
        run_yosys(script, folder)
        # A nonblocking assignment comes after all processes have begun to wait, in any simulator.
        text = (folder / "csbrnn.v").read_text("utf-8")
        return _HEADER + _AWAKE.sub(r"\1\2 ;\n  initial \2 <= 0;", text)
