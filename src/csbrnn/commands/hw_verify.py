"""``csbrnn hw verify``: the same step in every simulator of the hardware, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from csbrnn.accelerator import (
    DEFAULT_INPUT_RANGE,
    Arch,
    compile_model,
    host_input,
    run_fixed,
)
from csbrnn.accelerator.ladder import Rung, available_simulators, climb
from csbrnn.bench.cases import random_inputs
from csbrnn.compiler import lower, run_program
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

    Raises:
        MissingDependencyError: A simulator's tools are missing.
        UnsupportedModelError: The model can't run on the arch; with all reasons.
    """
    program = lower(model, fuse=False)
    compiled = compile_model(program, arch, input_range=input_range)
    xs = random_inputs(program, steps, input_range, seed)
    chosen = list(simulators) or [_default_simulator(arch)]

    error = np.abs(run_fixed(compiled.step, arch, xs) - run_program(program, xs)[0])
    console.print(
        f"{arch.name}, {steps} steps\n"
        f"  equations -> fixed-point interpreter: largest deviation {error.max():.2g},"
        f" mean {error.mean():.2g}",
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
    return {
        **result.to_dict(),
        "arch": arch.name,
        "simulators": chosen,
        "float_deviation": {"largest": float(error.max()), "mean": float(error.mean())},
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
