"""`matvec_step`: the matrix-vector products of a step without what stands between them.

This is what the read-bandwidth floor is about: gates, activations and copies read no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.contender import WrongResultsError
from csbrnn.compiler import Copy, Lookup, MatVec, Program, Slice, Stream, lower, run_program
from csbrnn.compiler import program_problems as problems
from csbrnn.model import PackedModel
from csbrnn.runtime import Stream as EngineStream
from csbrnn.runtime import compile as compile_model

__all__ = ["PRODUCT_TOLERANCES", "matvec_step", "products_alone"]

PRODUCT_TOLERANCES: Final = {"fp32": 1e-4, "bf16": 1e-4, "int8": 1e-6, "mixed": 1e-4}
"""Precision -> largest error accepted of a sum of products, relative to the largest sum. Integer
products agree to the last bit, and so do sums of two of them and a bias but for float64."""


def matvec_step(model: PackedModel, threads: int, x: NDArray[Any]) -> Callable[[], object] | None:
    """Compiles a step's products, on random states, and checks every sum.

    Returns:
        A call that runs them once; None if the products need what stands between them.

    Raises:
        WrongResultsError: A sum is wrong.
    """
    program = products_alone(lower(model))
    if program is None:
        return None
    rng = np.random.default_rng(0)
    states = {
        name: rng.uniform(-1, 1, (len(names), program.vectors[names[0]].length)).astype(np.float32)
        for name, names in program.states.items()
    }
    shown = _all_sums(program)
    got = _stream(shown, threads, x, states).step()
    expected = run_program(shown, np.asarray(x)[None], states)[0][0]
    error = float(np.abs(got - expected).max())
    limit = PRODUCT_TOLERANCES[model.precision] * max(1.0, float(np.abs(expected).max()))
    if not error <= limit:
        raise WrongResultsError(
            f"gives wrong products: off by {error:.2g}, where {model.precision} may be off by "
            f"{limit:.2g}"
        )
    return _stream(program, threads, x, states).step


def products_alone(program: Program) -> Program | None:
    """The program with its products only, and what only moves their operands.

    Its output is what the whole program writes, states being as they were. None if a product's
    operand, or the output, would be undefined.
    """
    (part,) = program.passes
    kept = tuple(i for i in part.instructions if isinstance(i, MatVec | Lookup | Copy))
    alone = replace(program, passes=(replace(part, instructions=kept),))
    return None if problems(alone) else alone


def _all_sums(program: Program) -> Program:
    """The program with every sum of products as its output, one after another."""
    (part,) = program.passes
    products = [i for i in part.instructions if isinstance(i, MatVec)]
    writes, width = [], 0
    for name in dict.fromkeys(product.destination for product in products):
        length = program.vectors[name].length
        writes.append((Slice(name, 0, length), "output", width))
        width += length
    streams = {**program.streams, "output": Stream("output", width)}
    return replace(program, passes=(replace(part, writes=tuple(writes)),), streams=streams)


def _stream(
    program: Program, threads: int, x: NDArray[Any], states: Mapping[str, NDArray[np.float32]]
) -> EngineStream:
    engine = compile_model(program, threads)
    state = engine.initial_state()
    for name, value in states.items():
        state[name] = value
    stream = engine.stream(state)
    stream.x[...] = x
    return stream
