"""Where each unit of a network appears: which rows and columns of which weights are its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from csbrnn import model as packed
from csbrnn.cells import Direction
from csbrnn.formats import Matrix

__all__ = ["Axis", "Space", "Spaces", "Weight", "find_spaces", "offsets"]

Weight: TypeAlias = Matrix | packed.Vector
"""A parameter of a packed layer. The same object in two layers is one weight."""

Axis: TypeAlias = list["Space"]
"""What lies along a dimension of a weight, one space after another."""


@dataclass(eq=False)
class Space:
    """Units that stand for the same thing wherever they appear: those of a layer and direction.

    Attributes:
        name: What the units are, for messages: ``lstm, layer 0``.
        size: How many.
        fixed: Why they must stay as they are, if they must.
        keeps_zero: Whether a unit that is zero is zero for all its readers: no sigmoid or softmax
            lies between.
        merged: The space that this one turned out to be the same as, or None.
    """

    name: str
    size: int
    fixed: list[str] = field(default_factory=list)
    keeps_zero: bool = True
    merged: Space | None = None

    def root(self) -> Space:
        """Returns the space that stands for all that are the same."""
        space = self
        while space.merged is not None:
            space = space.merged
        return space


@dataclass(eq=False)
class _Axes:
    weight: Weight
    axes: tuple[Axis, ...]


class Spaces:
    """The spaces of a packed model, and what lies along the dimensions of its weights.

    Args:
        model: A model that ``csbrnn.model.verify`` accepts.
    """

    def __init__(self, model: packed.PackedModel) -> None:
        self.model = model
        self._signals: dict[str, Axis] = {}
        self._axes: dict[int, _Axes] = {}
        # (weight, dimension) that make units, and that read them.
        self._made: set[tuple[int, int]] = set()
        self._internal: dict[tuple[str, str], Space] = {}
        size = model.input.size if isinstance(model.input, packed.Features) else 0
        self._signals[packed.INPUT] = [Space("the input", size, ["they are the model's input"])]
        for layer in model.layers:
            self._signals[layer.name] = self._layer(layer)
        for space in self._signals[model.output]:
            space.root().fixed.append("they are the model's output")

    def signal(self, name: str) -> Axis:
        """Returns the spaces that a layer's output consists of, in order."""
        return [space.root() for space in self._signals[name]]

    def axes(self, weight: Weight) -> tuple[Axis, ...]:
        """Returns the spaces along each dimension of a weight, in order; gates repeat theirs."""
        return tuple([s.root() for s in axis] for axis in self._axes[id(weight)].axes)

    def state(self, layer: str, direction: Direction, dimension: str) -> Space:
        """Returns the space of the "hidden" or "proj" units of a recurrent layer's direction."""
        return self._internal[layer, dimension + direction.suffix].root()

    def makes(self, weight: Weight, dim: int) -> bool:
        """Whether units get their values along this dimension: rows, and columns of embeddings."""
        return (id(weight), dim) in self._made

    def weights(self) -> Iterator[Weight]:
        """Yields every weight once."""
        for entry in self._axes.values():
            yield entry.weight

    def all(self) -> list[Space]:
        """Returns every space that lies along some weight, once, in the order of computation."""
        found: dict[Space, None] = {}
        for entry in self._axes.values():
            for axis in entry.axes:
                found |= {space.root(): None for space in axis}
        return list(found)

    def recurrent(self) -> list[Space]:
        """Returns the spaces of recurrent layers, once each, in the order of computation."""
        return list({space.root(): None for space in self._internal.values()})

    def _layer(self, layer: packed.Layer) -> Axis:
        match layer:
            case packed.Embedding(name=name, weight=weight):
                rows, columns = weight.shape
                space = Space(name, columns)
                tokens = Space(f"{name}, tokens", rows, ["they are tokens"])
                self._put(weight, [tokens], [space])
                self._made.add((id(weight), 1))
                return [space]
            case packed.Linear(name=name, inputs=inputs, weight=weight, bias=bias):
                space = Space(name, weight.shape[0])
                self._put(weight, [space], self._signals[inputs[0]])
                self._made.add((id(weight), 0))
                if bias is not None:
                    self._put(bias, [space])
                return [space]
            case packed.Recurrent():
                return self._recurrent(layer)
            case packed.Activation(inputs=inputs, function=function):
                axis = self._signals[inputs[0]]
                for space in axis:
                    if function == "sigmoid":
                        space.root().keeps_zero = False
                    elif "softmax" in function:
                        # A softmax is the same in any order, but not of fewer.
                        space.root().keeps_zero = False
                        space.root().fixed.append("a softmax compares them")
                return axis
            case packed.Combine(inputs=inputs, function="concatenate"):
                return [space for name in inputs for space in self._signals[name]]
            case packed.Combine(inputs=inputs):
                first, *others = (self._signals[name] for name in inputs)
                for other in others:
                    _merge_all(first, other)
                return first
            case _:
                raise AssertionError(layer)

    def _recurrent(self, layer: packed.Recurrent) -> Axis:
        stack, below, outputs = layer.stack, self._signals[layer.inputs[0]], list[Space]()
        for position, direction in enumerate(stack.directions()):
            if outputs and position % stack.num_directions == 0:
                below, outputs = outputs, []
            axes: dict[str, Axis] = {"input": below}
            for dimension in sorted(stack.cell.dimensions - {"input"}):
                label = f"{layer.name}, layer {direction.layer}"
                label += ", backward" * direction.reverse + ", projected" * (dimension == "proj")
                space = Space(label, direction.sizes[dimension])
                self._internal[layer.name, dimension + direction.suffix] = space
                axes[dimension] = [space]
            for parameter in stack.cell.parameters:
                weight = layer.parameters.get(parameter.name + direction.suffix)
                if weight is None:
                    continue
                rows = axes[parameter.rows] * len(parameter.parts)
                if parameter.is_matrix:
                    self._put(weight, rows, axes[parameter.columns])
                    self._made.add((id(weight), 0))
                else:
                    self._put(weight, rows)
            outputs += axes[stack.cell.output_dimension]
        return outputs

    def _put(self, weight: Weight, *axes: Axis) -> None:
        known = self._axes.setdefault(id(weight), _Axes(weight, axes))
        for before, axis in zip(known.axes, axes, strict=True):
            _merge_all(before, axis)


def find_spaces(model: packed.PackedModel) -> Spaces:
    """Finds the units of a packed model.

    Raises:
        UnsupportedModelError: The model is not valid.
    """
    packed.verify(model)
    return Spaces(model)


def _merge_all(first: Axis, second: Axis) -> None:
    """Notes that two axes are one: the same unit at each place."""
    if [space.size for space in first] == [space.size for space in second]:
        for a, b in zip(first, second, strict=True):
            _merge(a.root(), b.root())
        return
    for space in (*first, *second):
        space.root().fixed.append(
            "they are combined with units that are divided between layers otherwise"
        )


def _merge(a: Space, b: Space) -> None:
    if a is not b:
        b.merged = a
        a.fixed += b.fixed
        a.keeps_zero &= b.keeps_zero


def offsets(axis: Sequence[Space]) -> Iterator[tuple[Space, int]]:
    """Yields each space of an axis with the place of its first unit."""
    start = 0
    for space in axis:
        yield space, start
        start += space.size
