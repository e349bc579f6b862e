"""`Recurrent`: any cell as a trainable torch module, shaped and named like `torch.nn.LSTM`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.cells import Cell, Direction, Stack, cell_step
from csbrnn.checks import is_number
from csbrnn.errors import ArgumentError, CsbrnnWarning
from csbrnn.nn.operations import TORCH_OPERATIONS, input_products, stepping_parts

__all__ = ["Recurrent", "States"]

#: The states of a stack: a tuple in the cell's order, or the tensor itself where there is one.
States = Tensor | tuple[Tensor, ...]


class Recurrent(nn.Module):
    """A stack of layers of any cell, with the interface of `torch.nn.LSTM`.

    The cell's own equations are evaluated with torch operations, so that gradients are exact and a
    new cell trains without further code. Where `torch.nn` has the cell, its fused module is faster
    and takes the same ``state_dict``.

    Args:
        cell: What each layer computes, e.g. ``csbrnn.cells.LIGRU``.
        input_size: Features of the input.
        hidden_size: Units of each layer and direction.
        num_layers: Layers, each fed with the outputs of the one below.
        proj_size: Length of the projected state, for cells that have one.
        bias: Whether the parameters whose names start with ``bias`` exist; without, they are zero.
        batch_first: Whether input and output are (batch, seq_len, features); states never are.
        bidirectional: Whether each layer also runs backward; outputs are concatenated.
        dropout: Probability of dropping an output of any but the last layer, in training.

    Raises:
        ArgumentError: An argument is out of range, or does not fit the cell.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        proj_size: int = 0,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise ArgumentError(f"cell must be a csbrnn.cells.Cell, not {cell!r:.80}")
        if not is_number(dropout) or not 0 <= dropout <= 1:
            raise ArgumentError(f"dropout must be a number in 0..1, not {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between layers, and there is only one; it does nothing",
                CsbrnnWarning,
                stacklevel=2,
            )
        self.stack = Stack(cell, input_size, hidden_size, proj_size, num_layers, bidirectional)
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        for name, shape in self.stack.parameter_shapes().items():
            exists = bias or not name.startswith("bias")
            self.register_parameter(name, nn.Parameter(torch.empty(shape)) if exists else None)
        self.reset_parameters()

    @property
    def cell(self) -> Cell:
        """What each layer computes."""
        return self.stack.cell

    def reset_parameters(self) -> None:
        """Draws every parameter from U(-k, k) with k = 1 / sqrt(hidden_size), as torch.nn does."""
        bound = 1 / math.sqrt(self.stack.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def prunable_weights(self) -> Iterator[tuple[str, int]]:
        """Yields (parameter name, number of gates stacked in it) for every weight matrix."""
        for direction in self.stack.directions():
            for matrix in self.cell.matrices:
                yield matrix.name + direction.suffix, len(matrix.parts)

    def forward(self, input: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Runs the stack over a sequence.

        Args:
            input: The sequence, batched or not.
            states: States before the sequence, in the cell's order; zero when left out.

        Returns:
            The top layer's outputs, and the states after the sequence in the form of ``states``.

        Shape:
            input: (seq_len, batch, input_size), (batch, seq_len, input_size) with ``batch_first``,
                or (seq_len, input_size).
            states: each (layers * directions, batch, length), or (layers * directions, length).

        Raises:
            ArgumentError: A shape or a type is not as above.
        """
        batched = self._check_input(input)
        time_major = input.transpose(0, 1) if batched and self.batch_first else input
        before = self._read_states(time_major, states)
        final: dict[str, list[Tensor]] = {name: [] for name in self.cell.states}
        xs, outputs = time_major, list[Tensor]()
        for position, direction in enumerate(self.stack.directions()):
            if outputs and position % self.stack.num_directions == 0:
                xs, outputs = self._between_layers(outputs), []
            current = {name: value[position] for name, value in before.items()}
            ys, current = self._run(direction, xs, current)
            outputs.append(ys)
            for name, value in current.items():
                final[name].append(value)
        output = torch.cat(outputs, dim=-1)
        after = tuple(torch.stack(values) for values in final.values())
        return (
            output.transpose(0, 1) if batched and self.batch_first else output,
            after if len(after) > 1 else after[0],
        )

    def extra_repr(self) -> str:
        """What ``repr`` shows: the cell, the sizes, and what differs from the defaults."""
        stack = self.stack
        text = f"{self.cell.name}, {stack.input_size}, {stack.hidden_size}"
        options = {
            "num_layers": (stack.num_layers, 1),
            "proj_size": (stack.proj_size, 0),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "bidirectional": (stack.bidirectional, False),
            "dropout": (self.dropout, 0.0),
        }
        return text + "".join(f", {k}={v}" for k, (v, default) in options.items() if v != default)

    def _between_layers(self, outputs: Sequence[Tensor]) -> Tensor:
        ys = torch.cat(list(outputs), dim=-1)
        return functional.dropout(ys, self.dropout, self.training) if self.dropout else ys

    def _run(
        self, direction: Direction, xs: Tensor, states: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One layer in one direction: (outputs, states after)."""
        cell = self.cell
        named = {p.name: getattr(self, p.name + direction.suffix) for p in cell.parameters}
        parameters = {name: value for name, value in named.items() if value is not None}
        parts = stepping_parts(cell, parameters)
        products = input_products(cell, parameters, xs)
        steps = range(len(xs))
        current, ys = dict(states), list[Tensor]()
        for t in reversed(steps) if direction.reverse else steps:
            known = {name: product[t] for name, product in products.items()}
            after = cell_step(cell, parts, xs[t], current, TORCH_OPERATIONS, products=known)
            # A next state of vectors alone has no batch dimension yet.
            current = {name: value.expand_as(current[name]) for name, value in after.items()}
            ys.append(current[cell.output])
        return torch.stack(ys[::-1] if direction.reverse else ys), current

    def _check_input(self, input: Tensor) -> bool:
        """Checks the input; returns whether it is batched."""
        layout = "batch, seq_len" if self.batch_first else "seq_len, batch"
        expected = (
            f"input must be a tensor of shape ({layout}, {self.stack.input_size}) or "
            f"(seq_len, {self.stack.input_size})"
        )
        if not isinstance(input, Tensor):
            raise ArgumentError(f"{expected}, not {type(input).__name__}")
        if input.dim() not in (2, 3) or input.shape[-1] != self.stack.input_size:
            raise ArgumentError(f"{expected}, not {tuple(input.shape)}")
        batched = input.dim() == 3
        if input.shape[1 if batched and self.batch_first else 0] == 0:
            raise ArgumentError(f"input must hold at least one step, not shape {input.shape}")
        return batched

    def _read_states(self, xs: Tensor, states: States | None) -> dict[str, Tensor]:
        """Checks the states before the sequence, or makes zeros."""
        batch = tuple(xs.shape[1:-1])
        shapes = {
            name: (count, *batch, length)
            for name, (count, length) in self.stack.state_shapes().items()
        }
        if states is None:
            return {name: xs.new_zeros(shape) for name, shape in shapes.items()}
        given = (states,) if isinstance(states, Tensor) else tuple(states)
        if len(given) != len(shapes):
            raise ArgumentError(
                f"cell {self.cell.name!r} has {len(shapes)} state(s), in the order "
                f"{', '.join(shapes)}; got {len(given)}"
            )
        for value, (name, shape) in zip(given, shapes.items(), strict=True):
            if tuple(value.shape) != shape:
                raise ArgumentError(
                    f"state {name!r} must have shape {shape}, not {tuple(value.shape)}"
                )
        return dict(zip(shapes, given, strict=True))
