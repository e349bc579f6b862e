"""A stack of RNN layers: its shape, its parameters' names, and its definition in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csbrnn.cells.cell import Cell, Parameter
from csbrnn.cells.interpreter import cell_step, split_parts
from csbrnn.checks import is_integer
from csbrnn.errors import ArgumentError

__all__ = ["Direction", "Stack", "run_stack"]

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Direction:
    """One layer in one direction of time.

    Attributes:
        layer: Position in the stack.
        reverse: Whether it reads the sequence from its end.
        sizes: Dimension -> length.
    """

    layer: int
    reverse: bool
    sizes: Mapping[str, int]

    @property
    def suffix(self) -> str:
        """What follows a parameter's name in checkpoints: ``"_l0"``, ``"_l1_reverse"``."""
        return f"_l{self.layer}" + ("_reverse" if self.reverse else "")


@dataclass(frozen=True)
class Stack:
    """Layers of one cell, each fed with the outputs of the layer below.

    Attributes:
        cell: The cell of every layer.
        input_size: Features of the input.
        hidden_size: Units of each layer and direction.
        proj_size: Length of the projected state, for cells that have one; else 0.
        num_layers: Layers.
        bidirectional: Whether each layer also runs backward; outputs are concatenated.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    proj_size: int = 0
    num_layers: int = 1
    bidirectional: bool = False

    def __post_init__(self) -> None:
        where = f"stack of {self.cell.name!r}"
        for name in ("input_size", "hidden_size", "num_layers"):
            value = getattr(self, name)
            if not is_integer(value, 1):
                raise ArgumentError(f"{where}: {name} must be a positive integer, got {value!r}")
        if not isinstance(self.bidirectional, bool):
            raise ArgumentError(f"{where}: bidirectional must be true or false")
        projects = "proj" in self.cell.dimensions
        if not is_integer(self.proj_size) or (self.proj_size > 0) != projects:
            raise ArgumentError(
                f"{where}: proj_size must be {'positive' if projects else '0'} for this cell, "
                f"got {self.proj_size!r}"
            )

    @property
    def num_directions(self) -> int:
        """2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def direction_size(self) -> int:
        """Length of one direction's output."""
        return self.proj_size if self.cell.output_dimension == "proj" else self.hidden_size

    @property
    def output_size(self) -> int:
        """Length of the stack's output: both directions' concatenated."""
        return self.direction_size * self.num_directions

    def directions(self) -> Iterator[Direction]:
        """Every layer and direction, in the order of computation and of PyTorch's states."""
        for layer in range(self.num_layers):
            sizes = {
                "input": self.output_size if layer else self.input_size,
                "hidden": self.hidden_size,
                "proj": self.proj_size,
            }
            for reverse in (False, True)[: self.num_directions]:
                yield Direction(layer, reverse, sizes)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Checkpoint name (``"weight_ih_l0"``) -> shape, all layers and directions."""
        return {
            parameter.name + direction.suffix: parameter.shape(direction.sizes)
            for direction in self.directions()
            for parameter in self.cell.parameters
        }

    def state_shapes(self) -> dict[str, tuple[int, int]]:
        """State name -> shape (layers * directions, length)."""
        count = self.num_layers * self.num_directions
        sizes = {"hidden": self.hidden_size, "proj": self.proj_size}
        return {state: (count, sizes[d]) for state, d in self.cell.states.items()}


def run_stack(
    stack: Stack,
    parameters: Mapping[str, Array],
    xs: Array,
    states: Mapping[str, Array] | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The definition of what a stack computes, in the precision of ``xs``.

    Args:
        stack: The stack.
        parameters: Checkpoint name -> array; bias and other vectors may be missing (zero).
        xs: Input sequence. Shape: (seq_len, ..., input_size).
        states: State name -> value before the sequence; zero when left out.
            Shape: (layers * directions, ..., length).

    Returns:
        Outputs, shape (seq_len, ..., output_size), and the states after the sequence.
    """
    batch = xs.shape[1:-1]
    if states is None:
        states = {
            name: np.zeros((count, *batch, length), xs.dtype)
            for name, (count, length) in stack.state_shapes().items()
        }
    final: dict[str, list[Array]] = {name: [] for name in stack.cell.states}
    outputs: list[Array] = []
    for position, direction in enumerate(stack.directions()):
        if position % stack.num_directions == 0:
            xs = np.concatenate(outputs, axis=-1) if outputs else xs
            outputs = []
        parts = split_parts(
            stack.cell,
            {p.name: _parameter(p, direction, parameters, xs.dtype) for p in stack.cell.parameters},
        )
        current = {name: value[position] for name, value in states.items()}
        ys = np.zeros((len(xs), *batch, stack.direction_size), xs.dtype)
        for t in reversed(range(len(xs))) if direction.reverse else range(len(xs)):
            current = cell_step(stack.cell, parts, xs[t], current)
            ys[t] = current[stack.cell.output]
        outputs.append(ys)
        for name, value in current.items():
            # A next state that depends on parameters alone comes without the batch's axes.
            final[name].append(np.broadcast_to(value, states[name].shape[1:]))
    return np.concatenate(outputs, axis=-1), {n: np.stack(v) for n, v in final.items()}


def _parameter(
    parameter: Parameter,
    direction: Direction,
    parameters: Mapping[str, Array],
    dtype: npt.DTypeLike,
) -> Array:
    name = parameter.name + direction.suffix
    if name not in parameters and not parameter.is_matrix:
        return np.zeros(parameter.shape(direction.sizes), dtype)
    return parameters[name]
