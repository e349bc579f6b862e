"""``csbrnn hw simulate``: what a model computes on the accelerator, and how long it takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csbrnn.accelerator import (
    DEFAULT_INPUT_RANGE,
    Arch,
    Compiled,
    Simulator,
    compile_model,
    compile_step,
    count_cycles,
    host_input,
    host_output,
    run_fixed,
)
from csbrnn.accelerator.baselines import baselines
from csbrnn.bench.cases import random_inputs
from csbrnn.commands.hw_compile import compiled_dict
from csbrnn.commands.hw_timeline import check_picture, draw_timeline
from csbrnn.compiler import Program, lower, run_program
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["simulate_hw"]


def simulate_hw(
    model: PackedModel,
    arch: Arch,
    *,
    console: Console,
    steps: int = 4,
    compare: bool = True,
    picture: Path | None = None,
    input_range: float = DEFAULT_INPUT_RANGE,
) -> dict[str, Any]:
    """Simulate, print, and return the result as JSON-able values.

    Args:
        model: The model.
        arch: The accelerator.
        console: Where it prints.
        steps: Steps of random input to compute to the bit; 0 for none.
        compare: Whether to model other machines on the same matrices, too.
        picture: PNG file for the timeline and the groups' loads.
        input_range: Largest magnitude of the input's features.

    Raises:
        ArgumentError: The picture can't be written.
        UnsupportedModelError: The model can't run on the arch; with all reasons.
    """
    if picture is not None:
        check_picture(picture)
    program = lower(model, fuse=False)
    compiled = compile_model(program, arch, input_range=input_range)
    cycles = count_cycles(compiled.image)
    result: dict[str, Any] = {
        **cycles.to_dict(),
        "label": "modelled: the cycle model, which the RTL equals",
        **compiled_dict(compiled),
    }
    del result["program"]
    console.print(
        f"{arch.name}: {cycles.cycles:,.0f} cycles a step in the steady state, "
        f"{cycles.latency_cycles:,} for one step alone\n"
        f"{cycles.kept:,} weights kept on {arch.pes} PEs: utilization {cycles.utilization:.2%}",
        highlight=False,
    )
    for phase in cycles.phases:
        console.print(
            f"  {phase['segment']}: {phase['words_mean']:,.0f} words a stream "
            f"(at most {phase['words_max']:,}), waiting {phase['waiting_mean']:,.1f}"
            + (f": {phase['why']}" if phase["why"] else ""),
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if steps:
        result["functional"] = _functional(compiled, program, steps, input_range)
        console.print(_functional_text(result["functional"]), highlight=False, soft_wrap=True)
    if compare:
        result["baselines"] = baselines(compiled.step, arch)
        for name, other in result["baselines"].items():
            shown = (
                other.get("why", "")
                if other["cycles"] is None
                else f"{other['cycles']:,.0f} cycles, utilization {other['utilization']:.2%}"
            )
            console.print(f"  {name} ({other['what']}): {shown}", highlight=False)
    if picture is not None:
        before = compile_step(compiled.step, arch, balance=False)
        text = draw_timeline(compiled, before, picture)
        if text:
            console.print(text, markup=False, highlight=False)
    return result


def _functional(
    compiled: Compiled, program: Program, steps: int, input_range: float
) -> dict[str, Any]:
    """Random input through the functional simulator, the interpreter, and float64."""
    xs = random_inputs(program, steps, input_range)
    values = host_input(compiled.step, xs)
    simulator = Simulator(compiled.image)
    begin = time.perf_counter()
    simulated = host_output(compiled.step, simulator.run(values))
    seconds = time.perf_counter() - begin
    expected = run_fixed(compiled.step, compiled.arch, xs)
    ideal, _ = run_program(program, xs)
    if simulated.shape != ideal.shape:
        raise ArgumentError(f"outputs of shape {simulated.shape} and {ideal.shape}")
    return {
        "steps": steps,
        "mismatches": int((simulated != expected).sum()),
        "largest_error": float(np.abs(simulated - ideal).max()),
        "mean_error": float(np.abs(simulated - ideal).mean()),
        "reference_rms": float(np.sqrt(np.mean(ideal**2))),
        "ms_per_step": 1000 * seconds / steps,
    }


def _functional_text(found: dict[str, Any]) -> str:
    return (
        f"{found['steps']} steps simulated to the bit ({found['ms_per_step']:.1f} ms each): "
        f"{found['mismatches']} mismatches with the fixed-point interpreter; largest deviation from"
        f" float64 {found['largest_error']:.2g} (outputs: rms {found['reference_rms']:.2g})"
    )
