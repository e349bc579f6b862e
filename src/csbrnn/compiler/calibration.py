"""`calibrate`: static activation scales from sample input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler.interpreter import run_program
from csbrnn.compiler.lower import lower
from csbrnn.compiler.program import MatVec
from csbrnn.errors import ArgumentError
from csbrnn.formats import Matrix
from csbrnn.model import PackedModel
from csbrnn.numerics import scale_of

__all__ = ["calibrate"]


def calibrate(model: PackedModel, xs: NDArray[Any]) -> PackedModel:
    """Return the model with a static activation scale for each matrix in int8.

    The scale fits the largest magnitude that the matrix was multiplied with when the model ran over
    ``xs``, in float64 and without quantized activations. Beyond it, activations saturate: ``xs``
    must be like what the model will see; without static scales, they follow every operand and need
    no sample. (The C runtime looks at each operand all the same, for NaN and infinity.) A matrix
    that was multiplied with nothing but zeros (a state, where ``xs`` has one step) gets none.

    Args:
        model: The model. Matrices in other precisions are not affected.
        xs: A sequence, or a batch of them, as for `run_program`.

    Raises:
        ArgumentError: ``xs`` doesn't fit the model, has no step, or is not finite somewhere.
        UnsupportedModelError: The model is not valid.
    """
    program = lower(replace(model, activation_scales={}))
    largest: dict[Matrix, float] = {}

    def record(code: MatVec, operand: NDArray[Any]) -> None:
        matrix = program.matrices[code.matrix]
        found = np.abs(operand).max(initial=0)  # NaN if anything is, and so is the maximum
        largest[matrix] = float(np.maximum(found, largest.get(matrix, 0.0)))

    run_program(program, xs, quantize_activations=False, observe=record)
    scales: dict[str, float] = {}
    for name, matrix in model.products.items():
        if not matrix.precision.rounds_operand:
            continue
        if matrix not in largest:
            raise ArgumentError("xs must have at least one step to calibrate with")
        scale = float(scale_of(largest[matrix]))
        if not np.isfinite(scale):
            raise ArgumentError(f"xs must keep what {name!a} is multiplied with finite in fp32")
        if scale > 0:
            scales[name] = scale
    return replace(model, activation_scales=scales)
