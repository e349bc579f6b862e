"""How several weights are projected together: what shares a budget, and what is always kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from csbrnn.errors import ArgumentError
from csbrnn.patterns import MaskPattern
from csbrnn.patterns.base import budget
from csbrnn.pruning.groups import has_groups
from csbrnn.pruning.targets import Target

if TYPE_CHECKING:
    from csbrnn.pruning.unit_projection import UnitProjection

__all__ = ["Projection", "diagonal_of"]

#: Times that a pattern is asked for more, because it covers part of a kept diagonal. Ours: what is
#: left shrinks by the rows of a stripe each time.
_ROUNDS = 4


@final
class Projection:
    """The projection of all targets onto their patterns, under the budgets of a scope.

    Args:
        targets: The weights, in the order of all lists below.
        scope: What shares a budget: "matrix", "gate" or "global".
        units: Which rows and columns go together, for scope "units".
    """

    def __init__(
        self, targets: Sequence[Target], scope: str, units: UnitProjection | None = None
    ) -> None:
        self._targets = tuple(targets)
        self._scope = scope
        self._units = units

    def masks(self, values: Sequence[Tensor], densities: Sequence[float]) -> list[Tensor | None]:
        """Returns the mask of the weights to keep of each target; None where a pattern is none.

        Raises:
            ArgumentError: A value is not finite, or a density can't be met; names the target.
        """
        if self._units is not None:
            with _located(self._targets):
                return list(self._units.masks(values, densities))
        if self._scope == "global":
            return self._global_masks(values, densities)
        return [
            self._mask(target, value, density)
            for target, value, density in zip(self._targets, values, densities, strict=True)
        ]

    def project(self, values: Sequence[Tensor], densities: Sequence[float]) -> list[Tensor]:
        """Returns the nearest values found on the patterns, one for each target.

        Raises:
            ArgumentError: As `masks`.
        """
        masks = self.masks(values, densities)
        if self._scope == "global" and masks[0] is None:
            with _located(self._targets):
                return self._targets[0].pattern.project_together(
                    list(values), _mean(self._targets, densities)
                )
        return [
            self._project_one(target, value, density)
            if mask is None
            else torch.where(mask, value.detach(), 0)
            for target, value, density, mask in zip(
                self._targets, values, densities, masks, strict=True
            )
        ]

    def onto_subspace(self, index: int, value: Tensor) -> Tensor:
        """Returns what is nearest in the subspace of a target's linear pattern, dropping nothing.

        Raises:
            ArgumentError: As `masks`.
        """
        target = self._targets[index]
        return self._project_one(target, value, target.pattern.max_density)

    def _project_one(self, target: Target, value: Tensor, density: float) -> Tensor:
        with _located([target]):
            pieces = torch.chunk(value, target.pieces)
            return _joined([target.pattern.project(piece, density) for piece in pieces])

    def _mask(self, target: Target, value: Tensor, density: float) -> Tensor | None:
        pattern = target.pattern
        if not isinstance(pattern, MaskPattern):
            return None
        with _located([target]):
            return _joined(
                [
                    _masks(pattern, [piece], density, [_kept_diagonal(target, piece)])[0]
                    for piece in torch.chunk(value, target.pieces)
                ]
            )

    def _global_masks(
        self, values: Sequence[Tensor], densities: Sequence[float]
    ) -> list[Tensor | None]:
        pattern = self._targets[0].pattern
        if not isinstance(pattern, MaskPattern):
            return [None] * len(values)
        pairs = list(zip(self._targets, values, strict=True))
        with _located(self._targets):
            masks = _masks(
                pattern,
                [_weighed(target, value) for target, value in pairs],
                _mean(self._targets, densities),
                [_kept_diagonal(target, value) for target, value in pairs],
            )
        return list(masks)


def diagonal_of(value: Tensor) -> Tensor:
    """Marks the diagonal of each square matrix that ``value`` stacks.

    Shape:
        value: ``(gates * size, size)``; the result too, bool.
    """
    rows, cols = value.shape
    row = torch.arange(rows, device=value.device) % max(cols, 1)
    return row[:, None] == torch.arange(cols, device=value.device)


def _joined(pieces: list[Tensor]) -> Tensor:
    """The pieces one below the other; a single one as it is."""
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def _kept_diagonal(target: Target, value: Tensor) -> Tensor | None:
    return diagonal_of(value) if target.keep_diagonal else None


def _masks(
    pattern: MaskPattern, values: list[Tensor], density: float, diagonals: list[Tensor | None]
) -> list[Tensor]:
    """The pattern's masks, with the diagonals kept and paid for by the same budget.

    If the pattern keeps single weights, the diagonal counts as part of it, and the pattern holds;
    if it keeps groups, the diagonal stays in addition, because whole groups would cost far more.
    """
    reserved = sum(int(d.count_nonzero()) for d in diagonals if d is not None)
    if not reserved or not all(bool(value.isfinite().all()) for value in values):
        # What is not finite must not hide behind a diagonal: the pattern refuses it.
        return pattern.mask_together(values, density)
    total = sum(value.numel() for value in values)
    limit = budget(total, density)
    assert reserved <= limit, "find_targets refuses it"
    if not has_groups(pattern):
        most = 2 * max(float(value.abs().max()) for value in values)
        raised = [
            value if d is None else value.masked_fill(d, most or 1.0)
            for value, d in zip(values, diagonals, strict=True)
        ]
        masks = pattern.mask_together(raised, density)
        if all(d is None or bool(m[d].all()) for m, d in zip(masks, diagonals, strict=True)):
            return masks
    rest = [
        value if d is None else value.masked_fill(d, 0)
        for value, d in zip(values, diagonals, strict=True)
    ]

    best: list[Tensor] | None = None
    allowed, left = limit - reserved, limit
    for _ in range(_ROUNDS):
        masks = [
            mask if d is None else mask | d
            for mask, d in zip(
                pattern.mask_together(rest, min(allowed / total, 1.0)), diagonals, strict=True
            )
        ]
        spare = limit - sum(int(mask.count_nonzero()) for mask in masks)
        if best is not None and not 0 <= spare < left:
            break
        best, left = masks, spare
        if not left:
            break
        # Where the pattern covers the diagonal it was paid for twice: spend that again.
        allowed += spare
    assert best is not None
    return best


def _weighed(target: Target, value: Tensor) -> Tensor:
    """Scales values so that their energies are weighted by the target's sensitivity."""
    if target.sensitivity is None:
        return value
    factors = value.new_tensor(target.sensitivity).sqrt()
    return value * factors.repeat_interleave(value.shape[0] // len(factors))[:, None]


def _mean(targets: Sequence[Target], densities: Sequence[float]) -> float:
    """The density of all targets together: exactly theirs where they agree."""
    if len(set(densities)) == 1:
        return densities[0]
    sizes = [target.parameter.numel() for target in targets]
    return sum(d * n for d, n in zip(densities, sizes, strict=True)) / max(sum(sizes), 1)


@contextlib.contextmanager
def _located(targets: Sequence[Target]) -> Iterator[None]:
    """Says which weights a pattern refused: it knows them by their values only."""
    try:
        yield
    except ArgumentError as error:
        names = ", ".join(target.name for target in targets)
        raise ArgumentError(f"{names}: {error}") from error
