"""``csbrnn inspect``: where a packed model's weights and bytes are, matrix by matrix."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from csbrnn.formats import BSRMatrix, CSBMatrix, Matrix
from csbrnn.formats.kernels import KernelStats
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Inspection", "MatrixRow", "inspect_model"]


@dataclass(frozen=True)
class MatrixRow:
    """One weight matrix as it is stored.

    Attributes:
        name: "layer/parameter".
        shape: (outputs, inputs).
        pattern: The format with its parameters.
        precision: Number format of the values.
        pruning_rate: Weights before / weights stored; None where nothing is stored.
        kept: Weights stored.
        nbytes: Bytes of values and indices.
        index_bits: Bits that are not values.
        index_bits_per_weight: The same for each weight stored; None where nothing is stored.
        blocks: How evenly the kept weights lie over the blocks; None for formats without.
    """

    name: str
    shape: tuple[int, int]
    pattern: str
    precision: str
    pruning_rate: float | None
    kept: int
    nbytes: int
    index_bits: int
    index_bits_per_weight: float | None
    blocks: KernelStats | None

    @classmethod
    def of(cls, name: str, matrix: Matrix) -> MatrixRow:
        """Reads a matrix off its own account."""
        blocked = matrix if isinstance(matrix, CSBMatrix | BSRMatrix) else None
        return cls(
            name=name,
            shape=matrix.shape,
            pattern=matrix.layout,
            precision=matrix.dtype,
            pruning_rate=matrix.size / matrix.kept if matrix.kept else None,
            kept=matrix.kept,
            nbytes=matrix.nbytes,
            index_bits=matrix.index_bits,
            index_bits_per_weight=matrix.index_bits / matrix.kept if matrix.kept else None,
            blocks=None if blocked is None else blocked.kernel_stats(),
        )


@dataclass(frozen=True)
class Inspection:
    """A packed model, matrix by matrix.

    Attributes:
        matrices: One row each.
        totals: The model's own sums: weights, bytes, rate (None if nothing is kept) and
            compression.
    """

    matrices: tuple[MatrixRow, ...]
    totals: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {"matrices": [asdict(row) for row in self.matrices], **self.totals}

    def sizes(self) -> Table:
        """Where the weights and bytes are, as a table to print."""
        totals = self.totals
        table = _plain_table("Weights and bytes", footer=True)
        table.add_column("matrix", "all", overflow="fold")
        rate = totals["pruning_rate"]
        for heading, footer in (
            ("shape", ""),
            ("rate", "-" if rate is None else f"{rate:.1f}x"),
            ("weights", f"{totals['kept_weights']:,}"),
            ("bytes", f"{totals['nbytes']:,}"),
            ("index bits/weight", ""),
        ):
            table.add_column(heading, footer, justify="right", overflow="fold")
        for row in self.matrices:
            bits = row.index_bits_per_weight
            table.add_row(
                row.name,
                "{} x {}".format(*row.shape),
                "-" if row.pruning_rate is None else f"{row.pruning_rate:.1f}x",
                f"{row.kept:,}",
                f"{row.nbytes:,}",
                "-" if bits is None else f"{bits:.2f}",
            )
        table.caption = (
            f"{totals['compression']:.1f}x smaller than dense fp32, indices and vectors included. "
            "The rate of all counts pruned matrices."
        )
        return table

    def balance(self) -> Table:
        """How evenly the weights lie over the blocks, as a table to print."""
        table = _plain_table("Weights a block")
        table.add_column("matrix", overflow="fold")
        table.add_column("stored as", overflow="fold")
        for heading in ("blocks", "empty", "mean", "max", "balance"):
            table.add_column(heading, justify="right", overflow="fold")
        for row in self.matrices:
            blocks = row.blocks
            shown: tuple[object, ...] = ("-",) * 5
            if blocks:
                mean, balance = f"{blocks.mean:.1f}", f"{blocks.balance:.2f}"
                shown = (blocks.blocks, blocks.empty, mean, blocks.largest, balance)
            table.add_row(row.name, f"{row.pattern}, {row.precision}", *map(str, shown))
        table.caption = "Balance: mean / max; 1 is perfect."
        return table


def _plain_table(title: str, *, footer: bool = False) -> Table:
    from rich import box
    from rich.table import Table

    # Without vertical lines: seven columns fit into a terminal of 80.
    return Table(title=title, show_footer=footer, box=box.SIMPLE_HEAD, padding=(0, 1))


def inspect_model(model: PackedModel) -> Inspection:
    """Takes a packed model apart, matrix by matrix."""
    return Inspection(
        matrices=tuple(MatrixRow.of(name, matrix) for name, matrix in model.matrices.items()),
        totals={
            "dense_weights": model.dense_weights,
            "kept_weights": model.kept_weights,
            "nbytes": model.nbytes,
            "pruning_rate": model.pruning_rate if math.isfinite(model.pruning_rate) else None,
            "compression": model.compression,
        },
    )
