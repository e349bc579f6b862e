"""``csbrnn hw synth``: what the engine takes on an FPGA, and how long a step is there."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from csbrnn.accelerator import (
    DEFAULT_INPUT_RANGE,
    Arch,
    Compiled,
    compile_model,
    count_cycles,
)
from csbrnn.accelerator.energy import estimate_energy
from csbrnn.accelerator.tools import tool_version
from csbrnn.compiler import lower
from csbrnn.errors import ArgumentError, MissingDependencyError, UnsupportedModelError
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["synth_hw"]

_ASSUMED_MHZ: Final = {"ecp5": 100.0, "xilinx": 200.0}
"""Clock where there is no place and route: the papers' 200 MHz on Xilinx; on ECP5 a round figure
below what `--pnr` finds."""

_TOOLS: Final = ("yosys", "nextpnr-ecp5")
"""In order of use; their versions go with the figures."""


def synth_hw(
    model: PackedModel,
    arch: Arch,
    *,
    console: Console,
    family: str = "ecp5",
    pnr: bool = False,
    clock_mhz: float | None = None,
    seeds: Sequence[int] = (1,),
    input_range: float = DEFAULT_INPUT_RANGE,
) -> dict[str, Any]:
    """Synthesize, print, and return the result as JSON-able values, each with its label.

    A model that does not fit the arch has no step there; the engine is synthesized all the same.

    Args:
        model: The model whose step is timed.
        arch: The accelerator.
        console: Where it prints.
        family: "ecp5" or "xilinx".
        pnr: Place and route, too; ECP5 only.
        clock_mhz: Clock for the times; None: what place and route found, else an assumption.
        seeds: Of the placer. The best one's clock counts.
        input_range: Largest magnitude of the input's features.

    Raises:
        ArgumentError: Place and route is asked for where there is none, or the family is unknown.
        MissingDependencyError: Amaranth, Yosys or nextpnr is not installed.
        ToolError: A tool fails, or the engine doesn't fit the part.
    """
    try:
        from csbrnn.accelerator.rtl.synthesis import place_and_route, synthesize
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"synthesis needs {error.name}, which is not installed: pip install 'csbrnn[fpga]'"
        ) from None
    if pnr and family != "ecp5":
        raise ArgumentError(
            f"place and route must be for ecp5, which has free tools; --family is {family}"
        )
    result: dict[str, Any] = {
        "arch": arch.name,
        "pes": arch.pes,
        "family": family,
        "tools": {name: tool_version(name) for name in _TOOLS[: 1 + pnr]},
    }
    with tempfile.TemporaryDirectory() as name:
        netlist = Path(name) / "netlist.json"
        resources = synthesize(arch, family, netlist if pnr else None)
        result["resources"] = {"label": "measured: Yosys synthesis", **resources.cells}
        console.print(
            f"{arch.name} on {family}: "
            + ", ".join(f"{count:,} {kind}" for kind, count in resources.cells.items() if count)
            + " (measured: Yosys synthesis)",
            highlight=False,
            soft_wrap=True,
        )
        clock, clock_label = _ASSUMED_MHZ[family], "assumed: nothing was placed and routed"
        if pnr:
            found = place_and_route(netlist, seeds)
            luck = f"seed {seeds[0]}"
            if len(seeds) > 1:
                luck = f"best of {len(seeds)} seeds, median {found.median_mhz:.1f} MHz"
            result["place_and_route"] = {"label": f"measured: nextpnr, {luck}", **found.to_dict()}
            console.print(
                f"  {found.part}: {found.best_mhz:.1f} MHz ({luck}; measured: place and route)",
                highlight=False,
                soft_wrap=True,
            )
            clock, clock_label = found.best_mhz, f"measured: place and route, {luck}"
    if clock_mhz is not None:
        clock, clock_label = clock_mhz, "assumed: as given"
    try:
        compiled = compile_model(lower(model, fuse=False), arch, input_range=input_range)
    except UnsupportedModelError as error:
        result["step"] = {
            "label": "none: the model can't run on this arch",
            "why": list(error.reasons),
        }
        console.print(f"  no step: {error}", highlight=False, markup=False, soft_wrap=True)
        return result
    result["step"] = _step(compiled, model.dense_weights, clock, clock_label, console)
    energy = estimate_energy(compiled.image)
    result["energy"] = energy.to_dict()
    console.print(
        f"  energy of a step: {energy.total / 1000:.2f} uJ, of which weights and addresses"
        f" {energy.words / energy.total:.0%}, multiply-add {energy.multiply_add / energy.total:.0%}"
        " (modelled: counts times Horowitz's 45 nm figures, ISSCC 2014)",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _step(
    compiled: Compiled, dense_weights: int, clock: float, clock_label: str, console: Console
) -> dict[str, Any]:
    """Time a step, print, and return it as JSON-able values."""
    cycles = count_cycles(compiled.image)
    microseconds = cycles.cycles / clock
    times = {
        "label": "modelled: the cycle model, which the RTL equals, times the clock",
        "clock_mhz": clock,
        "clock_label": clock_label,
        "cycles": cycles.cycles,
        "latency_cycles": cycles.latency_cycles,
        "us_per_step": microseconds,
        "latency_us": cycles.latency_cycles / clock,
        "gops_effective": 2 * cycles.kept / microseconds / 1000,
        "gops_dense_equivalent": 2 * dense_weights / microseconds / 1000,
        "utilization": cycles.utilization,
    }
    console.print(
        f"  a step: {cycles.cycles:,.0f} cycles at {clock:.1f} MHz ({clock_label}):"
        f" {microseconds:.2f} us (modelled)\n"
        f"  {times['gops_effective']:.1f} GOPS effective,"
        f" {times['gops_dense_equivalent']:.1f} as if dense (modelled)",
        highlight=False,
        soft_wrap=True,
    )
    return times
