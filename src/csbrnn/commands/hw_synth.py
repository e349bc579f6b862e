"""``csbrnn hw synth``: what the engine takes on an FPGA, and how long a step is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from csbrnn.accelerator import DEFAULT_INPUT_RANGE, Arch
from csbrnn.accelerator.implementation import StepOnFPGA, implement
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.console import Console

    from csbrnn.accelerator.rtl.synthesis import Placed, Resources

__all__ = ["synth_hw"]


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

    Args:
        model: The model whose step is timed.
        arch: The accelerator.
        console: Where it prints.
        family: As for `csbrnn.accelerator.implementation.implement`, and so are the others.
        pnr: Place and route, too.
        clock_mhz: Clock for the times.
        seeds: Of the placer.
        input_range: Largest magnitude of the input's features.

    Raises:
        ArgumentError: Place and route is asked for where there is none, the family is unknown, or
            the clock or the input's range is not positive and finite.
        MissingDependencyError: Amaranth, Yosys or nextpnr is not installed.
        ToolError: A tool fails, or the engine doesn't fit the part.
    """

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    found = implement(
        model,
        arch,
        family=family,
        pnr=pnr,
        clock_mhz=clock_mhz,
        seeds=seeds,
        input_range=input_range,
        report=lambda part: say(_engine_text(arch, part)),
    )
    if isinstance(found.step, UnsupportedModelError):
        say(f"  no step: {found.step}")
    else:
        say(_step_text(found.step))
    return found.to_dict()


def _engine_text(arch: Arch, found: Resources | Placed) -> str:
    from csbrnn.accelerator.rtl.synthesis import Resources

    if isinstance(found, Resources):
        cells = ", ".join(f"{count:,} {kind}" for kind, count in found.cells.items() if count)
        return f"{arch.name} on {found.family}: {cells} (measured: Yosys synthesis)"
    return f"  {found.part}: {found.best_mhz:.1f} MHz ({found.luck}; measured: place and route)"


def _step_text(step: StepOnFPGA) -> str:
    energy = step.energy
    return (
        f"  a step: {step.cycles.cycles:,.0f} cycles at {step.clock_mhz:.1f} MHz"
        f" ({step.clock_label}): {step.us_per_step:.2f} us (modelled)\n"
        f"  {step.gops_effective:.1f} GOPS effective,"
        f" {step.gops_dense_equivalent:.1f} as if dense (modelled)\n"
        f"  energy of a step: {energy.total / 1000:.2f} uJ, of which weights and addresses"
        f" {energy.words / energy.total:.0%}, multiply-add {energy.multiply_add / energy.total:.0%}"
        " (modelled: counts times Horowitz's 45 nm figures, ISSCC 2014)"
    )
