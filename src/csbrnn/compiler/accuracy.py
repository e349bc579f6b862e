"""`precision_report`: what each precision costs in accuracy, on real input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler.calibration import calibrate
from csbrnn.compiler.interpreter import run_program
from csbrnn.compiler.lower import lower
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel, quantize
from csbrnn.numerics import PRECISIONS, Precision, precision_of

__all__ = ["PrecisionCost", "precision_report"]


@dataclass(frozen=True)
class PrecisionCost:
    """How far one precision's outputs are from the reference, and how much it stores.

    Attributes:
        precision: A name in `csbrnn.numerics.PRECISIONS`.
        static: Whether activations have static scales, calibrated on the same input.
        largest_error: Largest absolute deviation of an output.
        mean_error: Mean absolute deviation.
        reference_rms: Root mean square of the reference, to compare with.
        same_choice: Share of steps whose largest output is in the same place: for a classifier or
            a language model, that decide alike.
        nbytes: Of the model's tensors.
    """

    precision: str
    static: bool
    largest_error: float
    mean_error: float
    reference_rms: float
    same_choice: float
    nbytes: int


def precision_report(
    model: PackedModel,
    xs: NDArray[Any],
    reference: NDArray[Any] | None = None,
    *,
    sample: NDArray[Any] | None = None,
    precisions: Iterable[Precision | str] = tuple(PRECISIONS.values()),
    keep_fp32: Iterable[str] = (),
) -> list[PrecisionCost]:
    """Run a model in each precision over the same input and compare the outputs.

    Everything but the precision under test is exact (float64), so fp32 itself has an error only
    against a ``reference`` of the caller's. With a ``sample`` int8 comes twice: with scales that
    follow each operand, and with static ones.

    Args:
        model: The model, in fp32.
        xs: A sequence, or a batch of them, as for `run_program`.
        reference: What the outputs should be; left out, the outputs of ``model`` as it is.
        sample: What static scales are fixed on, as for `calibrate`: other data than ``xs``, or they
            look better than they are.
        precisions: Which to try.
        keep_fp32: As for `csbrnn.model.quantize`.

    Shape:
        reference: as the output: (seq_len, ..., output_size)

    Raises:
        ArgumentError: ``xs``, ``reference`` or a precision doesn't fit.
        UnsupportedModelError: The model is not valid, or can't be quantized.
    """
    expected = _outputs(model, xs) if reference is None else np.asarray(reference, np.float64)
    keep_fp32 = tuple(keep_fp32)
    report: list[PrecisionCost] = []
    for precision in map(precision_of, precisions):
        quantized = quantize(model, precision, keep_fp32=keep_fp32)
        report.append(_cost(precision, quantized, xs, expected))
        if precision.rounds_operand and sample is not None:
            report.append(_cost(precision, calibrate(quantized, sample), xs, expected))
    return report


def _outputs(model: PackedModel, xs: NDArray[Any]) -> NDArray[Any]:
    ys, _ = run_program(lower(model), xs)
    return ys


def _cost(
    precision: Precision, model: PackedModel, xs: NDArray[Any], expected: NDArray[Any]
) -> PrecisionCost:
    got = _outputs(model, xs)
    if got.shape != expected.shape or not got.size:
        raise ArgumentError(
            f"reference must have the shape of the outputs, {got.shape}, and at least one,"
            f" not {expected.shape}"
        )
    error = np.abs(got - expected)
    return PrecisionCost(
        precision=precision.name,
        static=bool(model.activation_scales),
        largest_error=float(error.max()),
        mean_error=float(error.mean()),
        reference_rms=float(np.sqrt(np.mean(expected**2))),
        same_choice=float(np.mean(got.argmax(axis=-1) == expected.argmax(axis=-1))),
        nbytes=model.nbytes,
    )
