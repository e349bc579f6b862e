"""``csbrnn hw verify``: the same step in every simulator of the hardware, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from csbrnn.accelerator import (
    DEFAULT_INPUT_RANGE,
    Arch,
    compile_model,
    host_input,
)
from csbrnn.accelerator.ladder import (
    MAX_DEVIATION,
    Rung,
    available_simulators,
    check_simulators,
    climb,
    deviation,
)
from csbrnn.bench.cases import random_inputs
from csbrnn.compiler import lower
from csbrnn.errors import MissingDependencyError
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.console import Console


__all__ = ["verify_hw"]

_AMARANTH_PES: Final = 16
"""Largest engine that Amaranth's simulator is tried with where CXXRTL is missing: 2,000 cycles a
second there, 90 with 256 PEs (measured by the prototype)."""


def verify_hw(
    model: PackedModel,
    arch: Arch,
    *,
    console: Console,
    steps: int = 3,
    simulators: Sequence[str] = (),
    input_range: float = DEFAULT_INPUT_RANGE,
    gaps: float = 0.0,
    seed: int = 0,
    max_deviation: float = MAX_DEVIATION,
) -> dict[str, Any]:
    """Verify, print, and return the result as JSON-able values.

    Args:
        model: The model.
        arch: The accelerator.
        console: Where it prints.
        steps: Steps of random input.
        simulators: Which; none: CXXRTL, or Amaranth's own where that can't be built.
        input_range: Largest magnitude of the input's features.
        gaps: Share of cycles in which the host doesn't offer input, and doesn't take output.
        seed: Of inputs and gaps.
        max_deviation: Of the integers from float64, as a share of the largest output.

    Raises:
        ArgumentError: A simulator is not known, the seed too large, or gaps leave no cycles.
        MissingDependencyError: A simulator's tools are missing.
        UnsupportedModelError: The model can't run on the arch; with all reasons.
    """
    check_simulators(simulators)
    chosen = list(simulators) or [_default_simulator(arch)]
    program = lower(model, fuse=False)
    compiled = compile_model(program, arch, input_range=input_range)
    xs = random_inputs(program, steps, input_range, seed)

    found = deviation(program, compiled, xs, max_deviation)
    console.print(
        f"{arch.name}, {steps} steps\n"
        f"  equations -> fixed-point interpreter: largest deviation {found.largest:.2g},"
        f" mean {found.mean:.2g}, of outputs up to {found.largest_output:.2g}",
        highlight=False,
        soft_wrap=True,
    )

    def show(rung: Rung) -> None:
        cycles = "" if rung.cycles is None else f", {rung.cycles:,} cycles"
        problem = f": {rung.problem}" if rung.problem else ""
        console.print(
            f"  {rung.name}: {rung.mismatches:,} mismatches{cycles}"
            f" ({rung.seconds:.1f} s){problem}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    result = climb(
        compiled,
        host_input(compiled.step, xs),
        chosen,
        report=show,
        input_gaps=gaps,
        output_gaps=gaps,
        seed=seed,
    )
    console.print(f"  cycle model: {result.model_cycles:,} cycles", highlight=False)
    if not found.within:
        console.print(
            f"The integers must deviate from float64 by at most {found.most:g} of the largest"
            f" output (--max-deviation), so by {found.most * found.largest_output:.2g}, and do by"
            f" {found.largest:.2g}: what the hardware computes is not the network. Does"
            " --input-range fit, and do the values fit vector_bits?",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return {
        **result.to_dict(),
        "arch": arch.name,
        "simulators": chosen,
        "float_deviation": found.to_dict(),
        "label": "simulated: RTL; model_cycles: modelled",
        "gaps": gaps,
    }


def _default_simulator(arch: Arch) -> str:
    available = available_simulators()
    if "cxxrtl" in available:
        return "cxxrtl"
    if "amaranth" in available and arch.pes <= _AMARANTH_PES:
        return "amaranth"
    raise MissingDependencyError(
        "verifying needs Amaranth, Yosys and a C++ compiler (engines of at most"
        f" {_AMARANTH_PES} PEs: Amaranth alone); install g++ and pip install 'csbrnn[fpga]'"
    )
