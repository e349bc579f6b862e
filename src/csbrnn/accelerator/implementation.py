"""`implement`: what an engine takes on an FPGA, and what a model's step takes there.

The tools are needed only when it is called.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.binary_points import DEFAULT_INPUT_RANGE
from csbrnn.accelerator.compiler import compile_model
from csbrnn.accelerator.cycles import Cycles, count_cycles
from csbrnn.accelerator.energy import Energy, estimate_energy
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.tools import tool_version
from csbrnn.compiler import lower
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.model import PackedModel
from csbrnn.optional import needed_for

if TYPE_CHECKING:
    from csbrnn.accelerator.rtl.synthesis import Placed, Resources

__all__ = ["Implementation", "StepOnFPGA", "implement"]

_ASSUMED_MHZ: Final = {"ecp5": 100.0, "xilinx": 200.0}
"""Clock where there is no place and route: the papers' 200 MHz on Xilinx; on ECP5 a round figure
below what `--pnr` finds."""

_TOOLS: Final = ("yosys", "nextpnr-ecp5")
"""In order of use; their versions go with the figures."""


@dataclass(frozen=True, eq=False)
class StepOnFPGA:
    """A model's step at some clock.

    Attributes:
        cycles: By the cycle model.
        clock_mhz: The clock.
        clock_label: Where that is from.
        dense_weights: That a step would multiply, were nothing pruned: embeddings are looked up.
        energy: Of the step.
    """

    cycles: Cycles
    clock_mhz: float
    clock_label: str
    dense_weights: int
    energy: Energy

    @property
    def us_per_step(self) -> float:
        """Of a step among many."""
        return self.cycles.cycles / self.clock_mhz

    @property
    def gops_effective(self) -> float:
        """Operations on kept weights."""
        return 2 * self.cycles.kept / self.us_per_step / 1000

    @property
    def gops_dense_equivalent(self) -> float:
        """The same, were nothing pruned."""
        return 2 * self.dense_weights / self.us_per_step / 1000

    def to_dict(self) -> dict[str, Any]:
        """Times as JSON-able values."""
        return {
            "label": "modelled: the cycle model, which the RTL equals, times the clock",
            "clock_mhz": self.clock_mhz,
            "clock_label": self.clock_label,
            "cycles": self.cycles.cycles,
            "latency_cycles": self.cycles.latency_cycles,
            "us_per_step": self.us_per_step,
            "latency_us": self.cycles.latency_cycles / self.clock_mhz,
            "gops_effective": self.gops_effective,
            "gops_dense_equivalent": self.gops_dense_equivalent,
            "utilization": self.cycles.utilization,
        }


@dataclass(frozen=True, eq=False)
class Implementation:
    """An engine on an FPGA, and a model's step on it.

    Attributes:
        arch: The engine.
        tools: Tool -> its version.
        resources: What it takes.
        placed: What place and route found, if it was asked.
        step: The step, or why there is none.
    """

    arch: Arch
    tools: Mapping[str, str]
    resources: Resources
    placed: Placed | None
    step: StepOnFPGA | UnsupportedModelError

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values, each with its label."""
        result: dict[str, Any] = {
            "arch": self.arch.name,
            "pes": self.arch.pes,
            "family": self.resources.family,
            "tools": dict(self.tools),
            "resources": {"label": "measured: Yosys synthesis", **self.resources.cells},
        }
        if self.placed is not None:
            label = f"measured: nextpnr, {self.placed.luck}"
            result["place_and_route"] = {"label": label, **self.placed.to_dict()}
        if isinstance(self.step, UnsupportedModelError):
            none = "none: the model can't run on this arch"
            return {**result, "step": {"label": none, "why": list(self.step.reasons)}}
        return {**result, "step": self.step.to_dict(), "energy": self.step.energy.to_dict()}


def implement(
    model: PackedModel,
    arch: Arch,
    *,
    family: str = "ecp5",
    pnr: bool = False,
    clock_mhz: float | None = None,
    seeds: Sequence[int] = (1,),
    input_range: float = DEFAULT_INPUT_RANGE,
    report: Callable[[Resources | Placed], None] | None = None,
) -> Implementation:
    """Synthesize an engine, and time a model's step on it.

    A model that does not fit the arch has no step there; the engine is synthesized all the same.

    Args:
        model: The model whose step is timed.
        arch: The accelerator.
        family: "ecp5" or "xilinx".
        pnr: Place and route, too; ECP5 only.
        clock_mhz: Clock for the times; None: what place and route found, else an assumption.
        seeds: Of the placer. The best one's clock counts.
        input_range: Largest magnitude of the input's features.
        report: Called with what a tool found when it is done: each takes minutes.

    Raises:
        ArgumentError: Place and route is asked for where there is none, the family is unknown, or
            the clock or the input's range is not positive and finite.
        MissingDependencyError: Amaranth, Yosys or nextpnr is not installed.
        ToolError: A tool fails, or the engine doesn't fit the part.
    """
    if clock_mhz is not None and not 0 < clock_mhz < math.inf:
        raise ArgumentError(f"a clock must be a positive, finite number of MHz, not {clock_mhz}")
    with needed_for("synthesis", "fpga"):
        from csbrnn.accelerator.rtl.synthesis import place_and_route, synthesize
    if pnr and family != "ecp5":
        raise ArgumentError(
            f"place and route must be for ecp5, which has free tools; --family is {family}"
        )
    compiled: Image | UnsupportedModelError
    try:  # here, so that what can't be asked for is refused before minutes of synthesis
        compiled = compile_model(lower(model, fuse=False), arch, input_range=input_range).image
    except UnsupportedModelError as error:
        compiled = error
    tools = {name: tool_version(name) for name in _TOOLS[: 1 + pnr]}
    placed = None
    with tempfile.TemporaryDirectory() as name:
        netlist = Path(name) / "netlist.json"
        resources = synthesize(arch, family, netlist if pnr else None)
        if report is not None:
            report(resources)
        if pnr:
            placed = place_and_route(netlist, seeds)
            if report is not None:
                report(placed)
    if clock_mhz is not None:
        clock, clock_label = clock_mhz, "assumed: as given"
    elif placed is not None:
        clock, clock_label = placed.best_mhz, f"measured: place and route, {placed.luck}"
    else:
        clock, clock_label = _ASSUMED_MHZ[family], "assumed: nothing was placed and routed"
    step: StepOnFPGA | UnsupportedModelError
    if isinstance(compiled, UnsupportedModelError):
        step = compiled
    else:
        energy = estimate_energy(compiled)
        multiplied = sum(matrix.size for matrix in model.products.values())
        step = StepOnFPGA(count_cycles(compiled), clock, clock_label, multiplied, energy)
    return Implementation(arch, tools, resources, placed, step)
