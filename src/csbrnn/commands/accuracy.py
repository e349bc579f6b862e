"""``csbrnn accuracy``: what each precision costs a model, on a user's own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csbrnn.commands.run import score
from csbrnn.commands.sample import read_sample
from csbrnn.commands.vocabulary import check_predicts
from csbrnn.compiler import PrecisionCost, calibrate, precision_report
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel, quantize
from csbrnn.runtime import compile as compile_model

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["AccuracyReport", "measure_accuracy"]


@dataclass(frozen=True)
class AccuracyReport:
    """What each precision costs.

    Attributes:
        steps: Time steps that were counted.
        sample_steps: Time steps before those, on which static scales were fixed.
        costs: Deviations from the model in fp32, and bytes.
        bits_per_char: For character models, of each of ``costs``, by the compiled engine; else
            empty.
    """

    steps: int
    sample_steps: int
    costs: tuple[PrecisionCost, ...]
    bits_per_char: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        rows = [asdict(cost) for cost in self.costs]
        for row, bits in zip(rows, self.bits_per_char, strict=False):
            row["bits_per_char"] = bits
        return {"steps": self.steps, "sample_steps": self.sample_steps, "precisions": rows}

    def table(self) -> Table:
        """The same as a table to print."""
        from rich import box
        from rich.table import Table

        table = Table(title=f"Over {self.steps:,} steps (measured)", box=box.SIMPLE_HEAD)
        table.add_column("precision")
        headings = ["mean error", "largest", "same choice", "bytes"]
        for heading in [*(["bits/char"] if self.bits_per_char else []), *headings]:
            table.add_column(heading, justify="right")
        for k, cost in enumerate(self.costs):
            table.add_row(
                cost.precision + (", static" if cost.static else ""),
                *([f"{self.bits_per_char[k]:.4f}"] if self.bits_per_char else []),
                f"{cost.mean_error:.2e}",
                f"{cost.largest_error:.2e}",
                f"{cost.same_choice:.2%}",
                f"{cost.nbytes:,}",
            )
        table.caption = (
            "Errors: of an output, against the model as stored, whose root mean square is"
            f" {self.costs[0].reference_rms:.3g}. Same choice: steps whose largest output stays"
            f" the largest. Static: scales of activations fixed on the {self.sample_steps:,} steps"
            " before."
        )
        return table


def measure_accuracy(
    model: PackedModel,
    source: Path,
    *,
    precisions: Sequence[str] = ("fp32", "bf16", "int8"),
    keep_fp32: Sequence[str] = (),
    steps: int = 2000,
) -> AccuracyReport:
    """Runs a model over a user's data in each precision, and compares.

    The first fifth of the data is what static scales of int8 activations are fixed on; errors are
    counted on the rest.

    Args:
        model: The model, in fp32.
        source: A text, for models that carry a vocabulary; else a .npy array (steps, features),
            or of tokens, (steps,).
        precisions: Which to try.
        keep_fp32: Patterns of "layer/parameter" that are not rounded.
        steps: Most steps to take, from the start: deviations are found in float64, which is slow.

    Raises:
        ArgumentError: The data does not fit the model or is too short, or the model is rounded
            already.
    """
    if model.precision != "fp32":
        raise ArgumentError(
            f"the model must be in fp32 to be compared with, but is in {model.precision}: pack it"
            " without --precision"
        )
    data = read_sample(model, source)[:steps]
    if len(data) < 3:
        raise ArgumentError(
            f"{source}: must have 3 steps or more, has {len(data)}: the first fifth fixes static"
            " scales, errors are counted on the rest"
        )
    sample, xs = np.split(data, [max(1, len(data) // 5)])
    costs = tuple(
        precision_report(model, xs, sample=sample, precisions=precisions, keep_fp32=keep_fp32)
    )
    bits: list[float] = []
    if source.suffix != ".npy":
        check_predicts(model)
        for cost in costs:
            rounded = quantize(model, cost.precision, keep_fp32=keep_fp32)
            engine = compile_model(calibrate(rounded, sample) if cost.static else rounded)
            bits.append(score(engine(xs)[0], xs))
    return AccuracyReport(len(xs), len(sample), costs, tuple(bits))
