"""Synthesis and place and route of the engine: what it takes, and how fast it can be clocked."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.rtl.emit import NO_COLLISIONS, TOP, UNINITIALIZED, emit_rtlil
from csbrnn.accelerator.rtl.output_registers import absorb_output_registers, count_cells
from csbrnn.accelerator.tools import require_tool, run_tool, run_yosys
from csbrnn.errors import ArgumentError

__all__ = ["ECP5_PARTS", "FAMILIES", "Part", "Placed", "Resources", "place_and_route", "synthesize"]

FAMILIES: Final = ("ecp5", "xilinx")
"""What can be synthesized for: Lattice ECP5, AMD UltraScale+."""


class Part(NamedTuple):
    """An FPGA, as nextpnr calls it, and of what it has how much."""

    name: str
    size: str
    package: str
    block_rams: int
    multipliers: int
    pins: int


ECP5_PARTS: Final = (
    Part("LFE5U-45F-8BG381", "45k", "CABGA381", 108, 72, 203),
    Part("LFE5U-85F-8BG756", "85k", "CABGA756", 208, 156, 365),
)
"""What place and route is for, at the fastest speed grade; the first one that is large enough. On a
smaller one ways are shorter. (Lattice FPGA-DS-02012, table 1.1)"""

_ROUTE_MHZ: Final = 150
"""What the router aims at."""

_COUNTED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "ecp5": {
        "lut": ("LUT4",),
        "ff": ("TRELLIS_FF",),
        "block_ram": ("DP16KD",),
        "dsp": ("MULT18X18D",),
        "carry": ("CCU2C",),
        "distributed_ram": ("TRELLIS_DPR16X4",),
    },
    "xilinx": {
        "lut": tuple(f"LUT{k}" for k in range(1, 7)),
        "ff": ("FDRE", "FDSE", "FDCE", "FDPE"),
        "block_ram": ("RAMB36E2", "RAMB18E2"),
        "ultra_ram": ("URAM288", "URAM288_BASE"),
        "dsp": ("DSP48E2",),
        "carry": ("CARRY8", "CARRY4"),
        "distributed_ram": ("RAM32M", "RAM32M16", "RAM64M", "RAM64M8", "RAM64X1D", "RAM32X1D"),
        "shift_register": ("SRL16E", "SRLC32E"),
    },
}
"""What a family's cells count as."""


@dataclass(frozen=True)
class Resources:
    """What an engine takes.

    Attributes:
        family: One of `FAMILIES`.
        cells: Cells by what they are; a 36-kbit block RAM counts once, as does one of 18.
    """

    family: str
    cells: dict[str, int]


@dataclass(frozen=True)
class Placed:
    """What place and route found.

    Attributes:
        part: The FPGA.
        fmax_mhz: Highest clock by seed of the placer, whose luck counts for some percent.
        used: Used and available cells by kind.
    """

    part: str
    fmax_mhz: dict[int, float]
    used: dict[str, tuple[int, int]]

    @property
    def best_mhz(self) -> float:
        """Of the placement that one would take."""
        return max(self.fmax_mhz.values())

    @property
    def median_mhz(self) -> float:
        """What any placement reaches."""
        return statistics.median(self.fmax_mhz.values())

    @property
    def luck(self) -> str:
        """Of which seeds the best one is, in words."""
        if len(self.fmax_mhz) == 1:
            return f"seed {next(iter(self.fmax_mhz))}"
        return f"best of {len(self.fmax_mhz)} seeds, median {self.median_mhz:.1f} MHz"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {
            "part": self.part,
            "fmax_mhz": self.best_mhz,
            "fmax_median_mhz": self.median_mhz,
            "fmax_mhz_by_seed": {str(seed): mhz for seed, mhz in self.fmax_mhz.items()},
            "utilization": {kind: list(pair) for kind, pair in self.used.items()},
        }


def synthesize(arch: Arch, family: str, netlist: Path | None = None) -> Resources:
    """Synthesize with Yosys and count cells.

    Args:
        arch: The engine.
        family: One of `FAMILIES`.
        netlist: Where place and route's input goes, for ECP5.

    Raises:
        ArgumentError: The family is not known.
        MissingDependencyError: Yosys is not installed.
    """
    if family not in FAMILIES:
        raise ArgumentError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = [f"read_rtlil {path.name}" for path in emit_rtlil(arch, folder)]
        script.append(f"delete {UNINITIALIZED}")
        # Else a block RAM gets comparators and multiplexers that give the old value.
        script.append(NO_COLLISIONS)
        if family == "ecp5":
            script.append(f"synth_ecp5 -top {TOP} -json netlist.json")
        else:
            script.append(f"synth_xilinx -family xcup -top {TOP} -noiopad")
            script.append("tee -o stat.json stat -json")
        run_yosys(script, folder)
        if family == "ecp5":
            design = json.loads((folder / "netlist.json").read_text("utf-8"))
            absorb_output_registers(design["modules"][TOP])
            cells = count_cells(design["modules"][TOP])
            if netlist is not None:
                netlist.write_text(json.dumps(design), "utf-8")
        else:
            cells = _cells((folder / "stat.json").read_text("utf-8"))
    return Resources(
        family,
        {kind: sum(cells[name] for name in names) for kind, names in _COUNTED[family].items()},
    )


def place_and_route(netlist: Path, seeds: Sequence[int] = (1,)) -> Placed:
    """Place and route on one of `ECP5_PARTS` with nextpnr, once for each seed; minutes each.

    As many at a time as there are CPUs.

    Args:
        netlist: Of `synthesize`.
        seeds: Of the placer, at least one.

    Raises:
        MissingDependencyError: nextpnr is not installed.
        ToolError: The engine doesn't fit.
    """
    part = _smallest(json.loads(netlist.read_text("utf-8"))["modules"][TOP])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = list(pool.map(lambda seed: _route(netlist, part, seed), seeds))
    fmax = {}
    for seed, report in zip(seeds, reports, strict=True):
        (clock,) = report["fmax"].values()
        fmax[seed] = float(clock["achieved"])
    used = {
        kind: (int(cells["used"]), int(cells["available"]))
        for kind, cells in reports[0]["utilization"].items()
        if cells["used"]
    }
    return Placed(part.name, fmax, used)


def _smallest(module: dict[str, Any]) -> Part:
    """The first part that is large enough, or the largest, which nextpnr will refuse."""
    cells = count_cells(module)
    pins = sum(len(port["bits"]) for port in module["ports"].values())
    for part in ECP5_PARTS:
        if (
            cells["DP16KD"] <= part.block_rams
            and cells["MULT18X18D"] <= part.multipliers
            and pins <= part.pins
        ):
            return part
    return ECP5_PARTS[-1]


def _route(netlist: Path, part: Part, seed: int) -> dict[str, Any]:
    """Run nextpnr once and return its report."""
    command = [
        *require_tool("nextpnr-ecp5"),
        f"--{part.size}",
        "--package",
        part.package,
        "--speed",
        "8",
        "--json",
        netlist.name,
        "--freq",
        str(_ROUTE_MHZ),
        "--seed",
        str(seed),
        "--report",
        f"report{seed}.json",
        "--lpf-allow-unconstrained",
        "--timing-allow-fail",
        "--quiet",
    ]
    run_tool(command, netlist.parent)
    report: dict[str, Any] = json.loads((netlist.parent / f"report{seed}.json").read_text("utf-8"))
    return report


def _cells(text: str) -> Counter[str]:
    """Cells of the whole design by type, from Yosys' statistics."""
    return Counter(json.loads(text[text.index("{") :])["design"]["num_cells_by_type"])
