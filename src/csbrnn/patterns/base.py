"""What a pattern is: a set of matrices, and the way to the nearest of them.

A pattern is a frozen value (its class and its parameters, nothing else) with one essential
operation, :meth:`Pattern.project`. Most patterns only choose which weights survive and derive
from :class:`MaskPattern`; others, as the block-circulant one, from :class:`Pattern` itself.

To add a pattern: one file in this package with one frozen dataclass. Recipe files, command lines,
tables and the property tests in ``tests/patterns/test_properties.py`` then have it unasked.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from csbrnn.checks import is_number
from csbrnn.errors import ArgumentError

__all__ = ["MaskPattern", "Pattern", "budget", "importance"]


@dataclasses.dataclass(frozen=True)
class Pattern(abc.ABC):
    """A set of matrices that a weight matrix can be projected onto.

    Subclasses are frozen dataclasses whose fields are integers, strings, booleans, or tuples of
    integers and ``None`` ("all"): that is what the dictionary and text forms can carry.
    """

    name: ClassVar[str]
    """The pattern's key in ``PATTERNS`` and in its dictionary and text forms."""

    hardware_friendly: ClassVar[bool] = False
    """Whether all lanes of a machine get equal work on neighbouring operands, for tables."""

    is_linear: ClassVar[bool] = False
    """Whether the projection at `max_density` is linear, so that gradients can be projected too."""

    @property
    def max_density(self) -> float:
        """The largest density at which a projection has the pattern; at 1 a matrix stays as it is.

        Below 1 only where the pattern itself fixes how many weights it keeps (2 of every 4).
        """
        return 1.0

    @abc.abstractmethod
    def unit(self, shape: Sequence[int]) -> int:
        """The granularity of the density, in weights.

        A projection of a matrix of ``shape`` without zeros keeps (:meth:`kept`) more than
        ``budget(numel, density) - unit(shape)`` weights, and never more than the budget.
        """

    @abc.abstractmethod
    def _project(
        self, weights: list[Tensor], scores: list[Tensor] | None, density: float
    ) -> list[Tensor]:
        """Projects checked matrices under one shared budget (implemented by subclasses)."""

    def project(self, weight: Tensor, density: float, *, score: Tensor | None = None) -> Tensor:
        """Returns the nearest matrix found in the set at ``density``; ``weight`` is left alone.

        Idempotent (with the default score), and deterministic with ties included, so that
        data-parallel ranks holding equal weights get equal results.

        Args:
            weight: The matrix; rows are outputs.
            density: Share of the weights that may be kept, in [0, 1].
            score: Importance of each weight, finite and not negative; ``weight**2`` if not given.

        Shape:
            weight, score and the result: ``(outputs, inputs)``. Dtype and device are kept.

        Raises:
            ArgumentError: ``weight`` is not a finite floating-point matrix, ``density`` lies
                outside [0, 1], or ``score`` does not fit ``weight``.
        """
        scores = None if score is None else [score]
        return self.project_together([weight], density, scores=scores)[0]

    @torch.no_grad()
    def project_together(
        self,
        weights: Sequence[Tensor],
        density: float,
        *,
        scores: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Projects several matrices under one budget: important matrices keep more.

        Args:
            weights: The matrices, all on one device; their shapes may differ.
            density: Share of all their weights that may be kept, in [0, 1].
            scores: One importance matrix for each weight matrix; ``weight**2`` if not given.

        Shape:
            Each of weights, scores and the results: ``(outputs, inputs)``.

        Raises:
            ArgumentError: As :meth:`project`, naming the matrix.
        """
        checked = self._check(weights, density, scores)
        return self._project(*checked, float(density)) if weights else []

    def validate(self, shape: Sequence[int]) -> None:
        """Checks that a weight of this shape can carry the pattern.

        Raises:
            ArgumentError: It can't; the message says why.
        """
        if len(shape) != 2:
            raise ArgumentError(
                f"{self}: a weight must be a matrix (outputs, inputs), not of shape {tuple(shape)};"
                " reshape it, or exclude it from pruning"
            )

    def groups(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """Returns the groups of weights the pattern drops together, for group lasso.

        Each tensor assigns a group number to every weight of a matrix of ``shape``; a pattern
        whose groups overlap (rows and columns of a block) returns several. Patterns without
        groups return an empty tuple.

        Shape:
            each tensor: ``(outputs, inputs)``, int64, numbered from 0.
        """
        self.validate(shape)
        return ()

    def kept(self, weight: Tensor) -> int:
        """Returns how many weights of a projected matrix there are to store.

        Those that are not zero, unless the pattern says that some follow from others.

        Shape:
            weight: ``(outputs, inputs)``.
        """
        return int(weight.count_nonzero())

    def to_dict(self) -> dict[str, Any]:
        """Returns the pattern as plain data (JSON and TOML can carry it)."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"name": self.name} | {key: _plain(value) for key, value in fields.items()}

    def __str__(self) -> str:
        fields = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return f"{self.name}({','.join(f'{key}={_short(value)}' for key, value in fields)})"

    def _check(
        self, weights: Sequence[Tensor], density: float, scores: Sequence[Tensor] | None
    ) -> tuple[list[Tensor], list[Tensor] | None]:
        if not is_number(density):
            raise ArgumentError(f"{self}: density must be a number, not {density!r}")
        if not 0 <= density <= 1:
            raise ArgumentError(
                f"{self}: density (kept / total) must lie in [0, 1], not {density};"
                " a pruning rate of 8x is a density of 1/8"
            )
        if scores is not None and len(scores) != len(weights):
            raise ArgumentError(
                f"{self}: each weight needs one score, not {len(scores)} for {len(weights)} weights"
            )
        for number, weight in enumerate(weights):
            where = f"weight {number}" if len(weights) > 1 else "weight"
            self.validate(weight.shape)
            _check_values(f"{self}: {where}", weight)
            if weight.device != weights[0].device:
                raise ArgumentError(
                    f"{self}: weights that share a budget must be on one device, but {where} is on"
                    f" {weight.device} and weight 0 on {weights[0].device}; move them together"
                )
            if scores is not None:
                _check_score(f"{self}: the score of {where}", scores[number], weight)
        return list(weights), None if scores is None else list(scores)


@dataclasses.dataclass(frozen=True)
class MaskPattern(Pattern):
    """A pattern that only chooses which weights survive, and leaves those as they are."""

    @abc.abstractmethod
    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        """Chooses the survivors of matrices of energies (see :func:`importance`)."""

    def mask(self, weight: Tensor, density: float, *, score: Tensor | None = None) -> Tensor:
        """Returns the mask of the weights that :meth:`project` keeps.

        Shape:
            ``(outputs, inputs)``, bool; True where a weight is kept.

        Raises:
            ArgumentError: As :meth:`project`.
        """
        return self.mask_together([weight], density, scores=None if score is None else [score])[0]

    @torch.no_grad()
    def mask_together(
        self,
        weights: Sequence[Tensor],
        density: float,
        *,
        scores: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Returns the masks of the weights that :meth:`project_together` keeps.

        Raises:
            ArgumentError: As :meth:`project_together`.
        """
        checked = self._check(weights, density, scores)
        return self._masks(importance(*checked), float(density)) if weights else []

    def _project(
        self, weights: list[Tensor], scores: list[Tensor] | None, density: float
    ) -> list[Tensor]:
        masks = self._masks(importance(weights, scores), density)
        return [
            torch.where(mask, weight.detach(), 0)
            for weight, mask in zip(weights, masks, strict=True)
        ]


def budget(numel: int, density: float) -> int:
    """Returns how many of ``numel`` weights may be kept at ``density``: the nearest integer."""
    return round(density * numel)


def importance(weights: list[Tensor], scores: list[Tensor] | None) -> list[Tensor]:
    """Returns each weight's energy: its score, or its square, on a scale common to all matrices.

    The scale is the power of two that brings the largest magnitude below one, so that squares
    can't overflow. Squares that would underflow are raised to the smallest normal number: a
    weight has no energy only where it is zero. Both keep the order and the ratios of the rest.

    Shape:
        each: ``(outputs, inputs)``, float64 for float64 weights, else float32.
    """
    dtype = torch.float64 if any(w.dtype == torch.float64 for w in weights) else torch.float32
    sources = weights if scores is None else scores
    sources = [source.detach().to(dtype) for source in sources]
    largest = max((float(_largest(source)) for source in sources), default=0.0)
    if largest == 0:
        return [torch.zeros_like(source) for source in sources]
    # The scale itself must be a normal number of the dtype, also for subnormal weights.
    exponent = min(-math.frexp(largest)[1], 126 if dtype == torch.float32 else 1022)
    scale = math.ldexp(1.0, exponent)
    tiny = torch.finfo(dtype).tiny
    energies = []
    for source in sources:
        energy = source * scale
        if scores is None:
            energy = energy.square_()
        if energy.count_nonzero() != source.count_nonzero():
            energy = torch.where(source != 0, energy.clamp_(min=tiny), 0)
        energies.append(energy)
    return energies


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude in one pass; NaN if there is one; 0 if there are no values."""
    if values.numel() == 0:
        return torch.zeros(())
    low, high = torch.aminmax(values)
    return torch.maximum(low.abs(), high.abs())


def _check_values(where: str, values: Tensor) -> None:
    if not values.is_floating_point():
        raise ArgumentError(f"{where} must be of a floating-point dtype, not {values.dtype}")
    if not math.isfinite(float(_largest(values.detach()))):
        bad = (~torch.isfinite(values)).nonzero()
        row, col = bad[0].tolist()
        raise ArgumentError(
            f"{where} must be finite, but {len(bad)} of its {values.numel()} values are NaN or"
            f" infinite, the first at row {row}, column {col}; training diverged before pruning"
        )


def _check_score(where: str, score: Tensor, weight: Tensor) -> None:
    if score.shape != weight.shape or score.device != weight.device:
        raise ArgumentError(
            f"{where} must have its shape and device, {tuple(weight.shape)} on {weight.device},"
            f" not {tuple(score.shape)} on {score.device}"
        )
    _check_values(where, score)
    if score.numel() and score.min() < 0:
        raise ArgumentError(f"{where} must not be negative, but its least is {float(score.min())}")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return "all" if value is None else value


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(_short(item) for item in value)
    return "all" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
