"""Dropping whole hidden units: their rows in every gate, and the columns that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.cells import Cell
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import Matrix
from csbrnn.patterns.base import budget, importance
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.targets import Target
from csbrnn.units.module import ModuleUnits, units_of
from csbrnn.units.silence import silent_states
from csbrnn.units.spaces import Space, Spaces, offsets

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UnitProjection"]


class _Use(NamedTuple):
    """Where the units of a space lie in a target: along a dimension, from some place on."""

    target: int
    dim: int
    start: int


@final
class UnitProjection:
    """The units of a model that can go, and the projection of all its targets that drops some.

    Every layer and direction keeps the same share of its units, the largest that the density
    allows: those with the most energy, rows and columns counted together. Targets without such
    units, and the dimensions of others along which there are none, stay whole. Biases of units
    that went are zero, so that nothing is left of them and `csbrnn.shrink` can take them out.

    A heuristic: the units that keep most energy are not always those with most.

    Args:
        model: The model, unwrapped.
        targets: What its recipe prunes.

    Attributes:
        biases: The vectors that units own.

    Raises:
        RecipeError: The model can't be followed, no unit can go, units could go only in part, or
            the density leaves not one; the message lists all reasons.

    Reference:
        Wen et al., "Learning Intrinsic Sparse Structures within LSTM" (ICLR 2018), for the
        structures; equal shares: ours, so that layers of one stack can shrink together.
    """

    def __init__(self, model: nn.Module, targets: Sequence[Target]) -> None:
        what = f"can't drop hidden units of {type(model).__name__}"
        try:
            units = units_of(model, what=what)
        except UnsupportedModelError as error:
            refuse(what, error.reasons)
        index = {id(units.weights()[t.name]): number for number, t in enumerate(targets)}
        self._targets = tuple(targets)
        self._sizes: list[int] = []
        self._uses: list[list[_Use]] = []
        self.biases: list[nn.Parameter] = []
        self._bias_uses: list[list[tuple[int, int]]] = []  # (space, start) for each bias

        spaces = _prunable(units, index, what)
        for space in spaces:
            self._sizes.append(space.size)
            self._uses.append(list(_uses(units, index, space)))
        for weight in units.spaces.weights():
            if isinstance(weight, Matrix):
                continue
            axis = units.spaces.axes(weight)[0]
            own = [(spaces.index(s), start) for s, start in offsets(axis) if s in spaces]
            if own:
                self.biases.append(model.get_parameter(units.names[id(weight)][0]))
                self._bias_uses.append(own)
        try:
            self._counts(targets[0].density)
        except ArgumentError as error:
            refuse(what, [str(error)])

    def masks(self, values: Sequence[Tensor], densities: Sequence[float]) -> list[Tensor]:
        """Returns the masks of the weights to keep; all densities are the same.

        Raises:
            ArgumentError: A value is not finite, or one unit a layer is more than the density
                allows.
        """
        for target, value in zip(self._targets, values, strict=True):
            if not bool(value.isfinite().all()):
                raise ArgumentError(
                    f"{target.name} must be finite, but holds NaN or infinity; training diverged"
                    " before pruning"
                )
        energies = self._energies(importance([v.detach() for v in values], None))
        counts = self._counts(densities[0])
        kept = []
        for energy, count in zip(energies, counts, strict=True):
            order = energy.argsort(descending=True, stable=True)
            marks = torch.zeros_like(energy, dtype=torch.bool)
            marks[order[:count]] = True
            kept.append(marks)
        masks = [torch.ones_like(value, dtype=torch.bool) for value in values]
        for marks, uses in zip(kept, self._uses, strict=True):
            for use in uses:
                mask = masks[use.target].narrow(use.dim, use.start, len(marks))
                mask &= _across(marks.to(mask.device), use.dim)
        return masks

    def silenced(self, dropped: Sequence[Tensor | None]) -> list[Tensor]:
        """Returns for each of `biases` the mask of the values that go with dropped weights."""
        gone = []
        for size, uses in zip(self._sizes, self._uses, strict=True):
            use = next(use for use in uses if use.dim == 0)
            mask = dropped[use.target]
            assert mask is not None
            gone.append(mask.narrow(0, use.start, size).all(1))
        silenced = []
        for bias, own in zip(self.biases, self._bias_uses, strict=True):
            marks = torch.zeros(bias.shape, dtype=torch.bool, device=bias.device)
            for space, start in own:
                marks[start : start + self._sizes[space]] = gone[space].to(bias.device)
            silenced.append(marks)
        return silenced

    def norms(self, weights: Sequence[Tensor]) -> Tensor:
        """Returns ``sum of sqrt(size) * ||unit||`` over all units, for group lasso.

        Shape:
            ``()``. Its gradient is zero on units that are zero.
        """
        terms = []
        energies = self._energies([weight.square() for weight in weights])
        for energy, uses in zip(energies, self._uses, strict=True):
            size = sum(weights[use.target].shape[1 - use.dim] for use in uses)
            present = energy > 0
            norms = torch.where(present, energy, 1).sqrt() * present
            terms.append(size**0.5 * norms.sum())
        return torch.stack(terms).sum()

    def _energies(self, squares: Sequence[Tensor]) -> list[Tensor]:
        """The summed squares of each unit's rows and columns, space by space."""
        device = squares[0].device
        totals = []
        for size, uses in zip(self._sizes, self._uses, strict=True):
            parts = [
                squares[use.target].narrow(use.dim, use.start, size).sum(1 - use.dim).to(device)
                for use in uses
            ]
            totals.append(torch.stack(parts).sum(0))
        return totals

    def _counts(self, density: float) -> list[int]:
        """How many units each space keeps: the largest common share that fits the density."""
        total = sum(target.parameter.numel() for target in self._targets)
        limit = budget(total, density)
        largest = max(self._sizes)
        low, high = 0, largest  # the share, in units of the largest space; low fits, or is 0
        while low < high:
            middle = (low + high + 1) // 2
            if self._weights(self._share(middle)) <= limit:
                low = middle
            else:
                high = middle - 1
        if low == 0:
            least = self._weights(self._share(1)) / total
            raise ArgumentError(
                f"a density of {density:.4g} leaves no unit in a layer; one unit each is a density"
                f" of {least:.4g}"
            )
        return self._share(low)

    def _share(self, units: int) -> list[int]:
        return [max(1, units * size // max(self._sizes)) for size in self._sizes]

    def _weights(self, counts: Sequence[int]) -> int:
        """The weights of all targets that so many units of each space leave."""
        shapes = [list(target.parameter.shape) for target in self._targets]
        for size, count, uses in zip(self._sizes, counts, self._uses, strict=True):
            for use in uses:
                shapes[use.target][use.dim] -= size - count
        return sum(rows * columns for rows, columns in shapes)


def _across(marks: Tensor, dim: int) -> Tensor:
    return marks[:, None] if dim == 0 else marks[None, :]


def _uses(units: ModuleUnits, index: Mapping[int, int], space: Space) -> Iterator[_Use]:
    for weight in units.spaces.weights():
        if id(weight) in index:
            for dim, axis in enumerate(units.spaces.axes(weight)):
                for own, start in offsets(axis):
                    if own is space:
                        yield _Use(index[id(weight)], dim, start)


def _prunable(units: ModuleUnits, index: Mapping[int, int], what: str) -> list[Space]:
    """The spaces all of whose units' rows are pruned by the recipe."""
    spaces, reasons, found = units.spaces, list[str](), list[Space]()
    makers: dict[Space, dict[int, None]] = {}
    for weight in spaces.weights():
        for dim, axis in enumerate(spaces.axes(weight)):
            if spaces.makes(weight, dim):
                for space in axis:
                    makers.setdefault(space, {})[id(weight)] = None
    active = _active(spaces)
    for space, weights in makers.items():
        free = [units.names[weight][0] for weight in weights if weight not in index]
        if len(free) == len(weights):
            continue
        if space.fixed:
            reasons.append(f"{space.name}: units must stay, because {space.fixed[0]}")
        elif free:
            reasons.append(
                f"{space.name}: units go whole, so {', '.join(free)} must be pruned as well;"
                " include it, or leave the others out"
            )
        elif not space.keeps_zero:
            reasons.append(f"{space.name}: a sigmoid reads them, for which zero is one half")
        elif space in active:
            reasons.append(
                f"{space.name}: units of this cell are not zero when their weights and biases are"
            )
        else:
            found.append(space)
    # Where units of some layers can go, those of the output simply stay.
    if not found:
        refuse(what, reasons or ["the recipe prunes no weight that makes units"])
    refuse(what, [reason for reason in reasons if "must stay" not in reason])
    return found


def _active(spaces: Spaces) -> set[Space]:
    """Spaces of cells whose units don't stay at zero, even if all their weights are zero."""
    found: set[Space] = set()
    for layer in spaces.model.layers:
        if isinstance(layer, packed.Recurrent):
            for direction in layer.stack.directions():
                silent = _silent_without_weights(layer.stack.cell)
                for state, dimension in layer.stack.cell.states.items():
                    if not silent[state]:
                        found.add(spaces.state(layer.name, direction, dimension))
    return found


def _silent_without_weights(cell: Cell) -> dict[str, bool]:
    sizes = {"input": 1, "hidden": 1, "proj": 1}
    parts = {
        part: np.zeros((1, 1) if p.is_matrix else 1, np.float32)
        for p in cell.parameters
        for part in p.parts
    }
    states = silent_states(cell, parts, np.zeros(1, bool), sizes)
    return {state: bool(marks.all()) for state, marks in states.items()}
