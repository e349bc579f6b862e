"""`check`: whether a contender computes what it must, before it is timed."""

from __future__ import annotations

import numpy as np

from csbrnn.bench.contender import Array, Contender, Prepared, WrongResultsError
from csbrnn.compiler import lower, run_program
from csbrnn.model import PackedModel, run_reference

__all__ = ["Oracle", "check", "run_steps"]


class Oracle:
    """What models give for inputs, by definition; computed once for all who run the same model."""

    def __init__(self) -> None:
        self._known: dict[PackedModel, tuple[Array, Array]] = {}

    def __call__(self, model: PackedModel, xs: Array) -> Array:
        """Runs the model from zero states, in float64 but for integer products.

        Shape:
            returns: (seq_len, output_size)
        """
        if model not in self._known or not np.array_equal(self._known[model][0], xs):
            integers = any(matrix.precision.rounds_operand for matrix in model.products.values())
            ys, _ = run_program(lower(model), xs) if integers else run_reference(model, xs)
            self._known[model] = (xs, ys)
        return self._known[model][1]


def run_steps(prepared: Prepared, xs: Array) -> Array:
    """Runs a sequence through the very callables that are timed."""
    outputs = []
    prepared.reset()
    with prepared.active():
        for x in xs:
            prepared.set_input(x)
            prepared.step()
            outputs.append(prepared.output())
    return np.stack(outputs)


def check(contender: Contender, outputs: Array, expected: Array, how: str) -> float:
    """Returns the largest error of a contender's outputs.

    Raises:
        WrongResultsError: It is beyond the tolerance, or the outputs are of another shape.
    """
    if outputs.shape != expected.shape:
        raise WrongResultsError(
            f"gives outputs of shape {outputs.shape} {how}, where {expected.shape} is right"
        )
    error = float(np.abs(outputs - expected).max())
    limit = contender.tolerance * max(1.0, float(np.abs(expected).max()))
    if not error <= limit:  # NaN is wrong, too
        raise WrongResultsError(
            f"gives wrong results {how}: off by {error:.2g}, where {contender.precision} may be "
            f"off by {limit:.2g}"
        )
    return error
