"""``csbrnn pack --calibrate``: scales of int8 activations from a user's own data."""

from __future__ import annotations

from pathlib import Path

from csbrnn.commands.sample import read_sample
from csbrnn.compiler import calibrate
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel

__all__ = ["calibrated"]


def calibrated(model: PackedModel, source: Path) -> PackedModel:
    """Returns the model with static activation scales; see `csbrnn.compiler.calibrate`.

    Raises:
        ArgumentError: No matrix is in int8, or the data does not fit the model.
    """
    if not any(matrix.precision.rounds_operand for matrix in model.products.values()):
        raise ArgumentError(
            "--calibrate fixes scales of int8 activations, and no matrix is in int8: add"
            " --precision int8"
        )
    return calibrate(model, read_sample(model, source))
