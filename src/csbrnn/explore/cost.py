"""`measure`: what a packed network costs: bytes, time of a step on this machine, and cycles."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from csbrnn.accelerator import compile_model, count_cycles, load_arch
from csbrnn.bench import (
    Case,
    UnavailableError,
    WrongResultsError,
    describe_environment,
    supported_precisions,
)
from csbrnn.bench.checks import Oracle, check, run_steps
from csbrnn.bench.contender_csbrnn import Csbrnn
from csbrnn.bench.timing import Statistics, Timed, interleave
from csbrnn.errors import UnsupportedModelError
from csbrnn.explore.outcome import Cost
from csbrnn.lock import locked
from csbrnn.model import PackedModel

__all__ = ["measure"]

SECONDS: Final = 0.4
"""Measuring time: some fifty turns, for a median good to a few percent on a quiet core."""

_MEASURING: Final = Path(tempfile.gettempdir()) / f"csbrnn-measure-{os.getuid()}.lock"
"""Held while an exploration of this user measures, so that no two do at once on this machine."""

_CHECK_STEPS: Final = 12
"""Steps compared with the definition before timing; as many as `csbrnn bench` compares."""


def measure(model: PackedModel, arch: str | None = None, seconds: float = SECONDS) -> Cost:
    """Times a step at batch 1 on one thread, after its results are checked.

    Processes on one machine take turns, so that they don't time each other. Training beside it
    still disturbs: leave a core free.

    Args:
        model: As deployed.
        arch: The accelerator to count cycles on: a preset or a file; None for none.
        seconds: Measuring time.

    Returns:
        The cost; ``step_us`` (measured) is None where the engine can't run the model, ``cycles``
        (of the cycle model) where the accelerator can't.

    Raises:
        UnavailableError: The engine computes another network: a defect.
    """
    notes: list[str] = []
    step_us = _step_us(model, seconds, notes)
    cycles = None if arch is None else _cycles(model, arch, notes)
    return Cost(step_us, model.nbytes, cycles, _machine(), "; ".join(notes))


def _step_us(model: PackedModel, seconds: float, notes: list[str]) -> float | None:
    if model.precision not in (*supported_precisions(), "mixed"):
        notes.append(f"step_us: the engine has no kernels for {model.precision}")
        return None
    case, contender = Case("trial", model), Csbrnn(model.precision)
    try:
        opened = contender.open(case, 1)
        with locked(_MEASURING), opened as prepared:
            xs = case.inputs(_CHECK_STEPS)
            expected = Oracle()(contender.model(case), xs)
            check(contender, run_steps(prepared, xs), expected, "step by step")
            prepared.set_input(xs[-1])
            timed = Timed(prepared.step, active=prepared.active)
            interleave([timed], seconds)
    except WrongResultsError:
        raise
    except UnavailableError as error:
        notes.append(f"step_us: {error}")
        return None
    return Statistics.of(timed.durations_ns).median_us


def _cycles(model: PackedModel, arch: str, notes: list[str]) -> int | None:
    try:
        return round(count_cycles(compile_model(model, load_arch(arch)).image).cycles)
    except UnsupportedModelError as error:
        notes.append(f"cycles: {' '.join(str(error).split())}")
        return None


@cache
def _machine() -> str:
    return str(describe_environment()["cpu"])
