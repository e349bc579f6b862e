"""`climb`: one program and one input, through every simulator of the hardware that is wanted.

The rungs, each compared with the one below: the equations in float64, the fixed-point interpreter,
the functional simulator, and the RTL, in Amaranth's simulator, in CXXRTL, or emitted as Verilog and
run in Verilator or through cocotb. From the interpreter on, outputs are equal to the bit; from the
cycle model on, cycles are equal to the cycle.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.compiler import Compiled
from csbrnn.accelerator.cycles import trace
from csbrnn.accelerator.interpreter import FixedMachine, run_fixed
from csbrnn.accelerator.loading import check_steps, outcome_steps, stimulus_of
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.simulator import run_image
from csbrnn.accelerator.tools import has_tool
from csbrnn.compiler import Program, run_program
from csbrnn.errors import ArgumentError
from csbrnn.numerics import Ints
from csbrnn.optional import needed_for

__all__ = [
    "MAX_DEVIATION",
    "SIMULATORS",
    "Climb",
    "Deviation",
    "Rung",
    "available_simulators",
    "check_simulators",
    "climb",
    "deviation",
]

MAX_DEVIATION: Final = 0.25
"""Largest deviation of the integers from float64, as a share of the largest output, at which they
still count as the same network. Ours: rounding alone takes the paper's networks less than 0.001
away in 8 steps (measured, random weights); where values saturate, or drown, it is about 1."""

SIMULATORS: Final = ("amaranth", "cxxrtl", "verilator", "cocotb")
"""Simulators of the RTL, by name."""

_TOOLS: Final = {
    "amaranth": (),
    "cxxrtl": ("yosys", "g++"),
    "verilator": ("yosys", "verilator"),
    "cocotb": ("yosys", "cocotb"),
}

_SLACK: Final = 1000
"""Cycles beyond the model's that a run may take before it counts as hung. Ours."""


@dataclass(frozen=True)
class Deviation:
    """How far the integers are from the equations in float64: the lowest rung.

    Attributes:
        largest: Of all output values.
        mean: The same.
        largest_output: Largest magnitude of an output in float64.
        most: What ``largest`` may be, as a share of ``largest_output``.
    """

    largest: float
    mean: float
    largest_output: float
    most: float

    @property
    def within(self) -> bool:
        """Whether it is small enough; NaN is not."""
        return self.largest <= self.most * self.largest_output

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; None for what is not finite."""
        numbers = {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}
        return {**numbers, "within": self.within}


@dataclass(frozen=True)
class Rung:
    """One executor's result.

    Attributes:
        name: "functional" or one of `SIMULATORS`.
        mismatches: Output values that differ from the interpreter's.
        cycles: Of the run, as it counted them; None for the functional simulator.
        seconds: It took, building included.
        problem: Why it didn't come to an end, or "".
    """

    name: str
    mismatches: int
    cycles: int | None
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Climb:
    """All of them.

    Attributes:
        steps: Steps of the run.
        values: Output values that were compared.
        model_cycles: What the cycle model says.
        rungs: In order.
        gaps: Whether the host paused, so that cycles are more than the model's.
    """

    steps: int
    values: int
    model_cycles: int
    rungs: tuple[Rung, ...]
    gaps: bool = False

    @property
    def mismatches(self) -> int:
        """Values that differ, over all rungs."""
        return sum(rung.mismatches for rung in self.rungs)

    @property
    def agrees(self) -> bool:
        """Whether every bit is as it must be and, without gaps, every cycle."""
        cycles = {rung.cycles for rung in self.rungs} - {None}
        return not self.mismatches and (self.gaps or cycles <= {self.model_cycles})

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; ``rtl_cycles`` is the first RTL simulator's."""
        counted = [rung.cycles for rung in self.rungs if rung.cycles is not None]
        return {
            "mismatches": self.mismatches,
            "rtl_cycles": counted[0] if counted else None,
            "model_cycles": self.model_cycles,
            "agrees": self.agrees,
            "steps": self.steps,
            "values": self.values,
            "rungs": [asdict(rung) for rung in self.rungs],
        }


def available_simulators() -> tuple[str, ...]:
    """Return the simulators whose tools are installed."""
    if importlib.util.find_spec("amaranth") is None:
        return ()
    found = [name for name in SIMULATORS if all(has_tool(tool) for tool in _TOOLS[name])]
    if "cocotb" in found and not (has_tool("iverilog") or has_tool("verilator")):
        found.remove("cocotb")  # which runs one of them
    return tuple(found)


def check_simulators(names: Sequence[str]) -> None:
    """Refuse simulators that are not known.

    Raises:
        ArgumentError: One isn't.
    """
    for name in names:
        if name not in SIMULATORS:
            raise ArgumentError(f"a simulator must be one of {', '.join(SIMULATORS)}, not {name!r}")


def deviation(
    program: Program, compiled: Compiled, xs: NDArray[Any], most: float = MAX_DEVIATION
) -> Deviation:
    """Compare the fixed-point interpreter with the equations in float64.

    Args:
        program: What was compiled.
        compiled: The model.
        xs: Features, or tokens. Shape: (steps, ...), as of `run_fixed`.
        most: As in `Deviation`.

    Raises:
        ArgumentError: ``most`` is no share, or ``xs`` doesn't fit the model.
    """
    if not most >= 0:
        raise ArgumentError(f"the largest deviation must be 0 or more, not {most}")
    check_steps(xs)
    expected = run_program(program, xs)[0]
    error = np.abs(run_fixed(compiled.step, compiled.arch, xs) - expected)
    largest_output = float(np.abs(expected).max(initial=0))
    return Deviation(float(error.max()), float(error.mean()), largest_output, most)


def climb(
    compiled: Compiled,
    xs: Ints,
    simulators: Sequence[str],
    *,
    report: Callable[[Rung], None] | None = None,
    input_gaps: float = 0.0,
    output_gaps: float = 0.0,
    seed: int = 0,
) -> Climb:
    """Run a compiled model on the functional simulator and on simulators of the RTL.

    Args:
        compiled: The model.
        xs: Inputs. Shape: (steps, input_length), 16-bit integers.
        simulators: Of `SIMULATORS`, in order.
        report: Called with each rung when it is done.
        input_gaps: As in `Stimulus`. With gaps, cycles are more than the model's, and not compared.
        output_gaps: The same.
        seed: Of the gaps.

    Raises:
        ArgumentError: A simulator is not known, or gaps leave no cycles.
        MissingDependencyError: Its tools are not installed.
    """
    check_simulators(simulators)
    check_steps(xs)
    image = compiled.image
    machine = FixedMachine(compiled.step, compiled.arch)
    expected = np.stack([machine.step(x) for x in xs])
    model_cycles = trace(image, len(xs)).end
    stimulus = stimulus_of(
        image,
        xs,
        input_gaps=input_gaps,
        output_gaps=output_gaps,
        seed=seed,
        limit=100 * model_cycles + _SLACK,
    )
    rungs = []
    for name in ("functional", *simulators):
        simulate = None if name == "functional" else _simulator(name)
        begin, cycles, problem = time.perf_counter(), None, ""
        if simulate is None:
            outputs = run_image(image, xs)
        else:
            outcome = simulate(compiled.arch, stimulus)
            cycles = outcome.cycles
            outputs, problem = _outputs(compiled, outcome)
        mismatches = (
            int((outputs != expected).sum())
            if outputs.shape == expected.shape
            else int(expected.size)
        )
        rung = Rung(name, mismatches, cycles, time.perf_counter() - begin, problem)
        rungs.append(rung)
        if report is not None:
            report(rung)
    gaps = input_gaps > 0 or output_gaps > 0
    return Climb(len(xs), int(expected.size), model_cycles, tuple(rungs), gaps)


def _outputs(compiled: Compiled, outcome: Outcome) -> tuple[Ints, str]:
    from csbrnn.accelerator.rtl import Code, State

    if outcome.state != State.DONE:
        stopped = f"stopped with {Code(outcome.code).name} at pc {outcome.pc}"
        return np.zeros((0, 0), np.int64), stopped
    try:
        return outcome_steps(compiled.image, outcome), ""
    except ArgumentError as error:
        return np.zeros((0, 0), np.int64), str(error)


def _simulator(name: str) -> Callable[[Arch, Stimulus], Outcome]:
    """Import ``simulate_NAME``, whose module needs Amaranth."""
    module = "simulation" if name == "amaranth" else name
    with needed_for("simulating the RTL", "fpga"):
        found = importlib.import_module(f"csbrnn.accelerator.rtl.{module}")
    simulate: Callable[[Arch, Stimulus], Outcome] = getattr(found, f"simulate_{name}")
    return simulate
