"""What pruning has reached: the true density of every matrix."""

from __future__ import annotations

import dataclasses
from typing import final

import torch

from csbrnn.pruning.state import PruningState

__all__ = ["MatrixReport", "Report", "report"]


@final
@dataclasses.dataclass(frozen=True)
class MatrixReport:
    """One matrix; ``kept`` counts the weights that are not zero now.

    Of a matrix on a pattern that is no mask, it is the weights that the others follow from.
    """

    name: str
    shape: tuple[int, ...]
    pattern: str
    target_density: float
    kept: int
    total: int

    @property
    def density(self) -> float:
        """Share of the weights that are not zero; 1 for a matrix without weights."""
        return self.kept / self.total if self.total else 1.0


@final
@dataclasses.dataclass(frozen=True)
class Report:
    """Every pruned matrix as it is now, and where the schedule stands.

    ``rounded_to`` is the precision that forward passes round to now, if any; zeros are counted in
    the weights themselves, of which rounding may make more.
    """

    matrices: tuple[MatrixReport, ...]
    phase: str
    step: int
    total_steps: int
    rounded_to: str | None = None

    @property
    def kept(self) -> int:
        """Weights that are not zero, in all matrices."""
        return sum(matrix.kept for matrix in self.matrices)

    @property
    def total(self) -> int:
        """Weights of all matrices."""
        return sum(matrix.total for matrix in self.matrices)

    @property
    def density(self) -> float:
        """Share of all weights that are not zero."""
        return self.kept / self.total if self.total else 1.0

    @property
    def pruning_rate(self) -> float:
        """The inverse of the density."""
        return 1 / self.density if self.kept else float("inf")

    def __str__(self) -> str:
        head = ("weight", "shape", "pattern", "target", "density", "kept")
        rows = [
            (
                matrix.name,
                "x".join(map(str, matrix.shape)),
                matrix.pattern,
                f"{matrix.target_density:.4f}",
                f"{matrix.density:.4f}",
                f"{matrix.kept:,}",
            )
            for matrix in self.matrices
        ]
        rows.append(("all", "", "", "", f"{self.density:.4f}", f"{self.kept:,}"))
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if number < 3 else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        ended = "" if self.phase in ("complete", "final") else "; the schedule has not ended"
        if self.step == 0 and ended:
            ended = "; the schedule has not begun"
        rounded = f"; forward passes round to {self.rounded_to}" if self.rounded_to else ""
        lines.append(f"step {self.step} of {self.total_steps} ({self.phase}){rounded}{ended}")
        return "\n".join(lines)


def report(
    state: PruningState, phase: str, total_steps: int, rounded_to: str | None = None
) -> Report:
    """Counts the weights of all targets that are not zero now."""
    matrices = tuple(
        MatrixReport(
            name=target.name,
            shape=tuple(target.parameter.shape),
            pattern=str(target.pattern),
            target_density=target.density,
            kept=sum(
                target.pattern.kept(piece)
                for piece in torch.chunk(target.parameter.detach(), target.pieces)
            ),
            total=target.parameter.numel(),
        )
        for target in state.targets
    )
    return Report(matrices, phase, state.step, total_steps, rounded_to)
