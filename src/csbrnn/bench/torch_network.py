"""A packed model as a PyTorch user would run it step by step: modules, cells, or plain products.

Imports PyTorch, so only `contender_pytorch` imports it, and only when it opens a case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from csbrnn import cells
from csbrnn.bench.contender import Unavailable
from csbrnn.cells import Cell
from csbrnn.formats import Matrix
from csbrnn.model import INPUT, Activation, Combine, Embedding, Linear, PackedModel, Recurrent

__all__ = ["CellStepper", "ModuleStepper", "ProductStepper", "Stepper", "modules", "network"]

_MODULES: Final[Mapping[Cell, Callable[..., nn.Module]]] = {
    cells.LSTM: nn.LSTM,
    cells.LSTM_PROJECTION: nn.LSTM,
    cells.GRU: nn.GRU,
    cells.RNN_TANH: nn.RNN,
    cells.RNN_RELU: lambda *args, **options: nn.RNN(*args, nonlinearity="relu", **options),
}
_CELL_MODULES: Final[Mapping[Cell, Callable[..., nn.Module]]] = {
    cells.LSTM: nn.LSTMCell,
    cells.GRU: nn.GRUCell,
    cells.RNN_TANH: nn.RNNCell,
    cells.RNN_RELU: lambda *args: nn.RNNCell(*args, nonlinearity="relu"),
}
_FUNCTIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
}


class Stepper(Protocol):
    """A recurrent layer that carries its own states."""

    def __call__(self, x: Tensor) -> Tensor:
        """Runs one step, or as many as ``x`` holds."""

    def reset(self) -> None:
        """Sets the states to zero."""


class ModuleStepper:
    """`torch.nn.LSTM` or the like, plain or quantized. Shape: (seq_len, 1, features)."""

    def __init__(self, layer: Recurrent, module: nn.Module) -> None:
        self._module, self._shapes = module, layer.stack.state_shapes()
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        y, self._states = self._module(x, self._states)
        return y  # type: ignore[no-any-return]

    def reset(self) -> None:
        zeros = tuple(torch.zeros(n, 1, length) for n, length in self._shapes.values())
        self._states = zeros if len(zeros) > 1 else zeros[0]


class CellStepper:
    """A `torch.nn.LSTMCell` or the like for each layer. Shape: (1, features)."""

    def __init__(self, layer: Recurrent) -> None:
        stack = layer.stack
        if stack.cell not in _CELL_MODULES:
            raise Unavailable(f"torch.nn has no single-step module for cell {stack.cell.name!r}")
        self._single = len(stack.cell.states) == 1
        self._hidden_size = stack.hidden_size
        self._cells: list[nn.Module] = []
        tensors = _tensors(layer)
        for direction in stack.directions():
            sizes = direction.sizes
            module = _CELL_MODULES[stack.cell](sizes["input"], sizes["hidden"])
            module.load_state_dict(
                {p.name: tensors[p.name + direction.suffix] for p in stack.cell.parameters}
            )
            self._cells.append(module.eval())
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        for k, cell in enumerate(self._cells):
            self._states[k] = states = cell(x, self._states[k])
            x = states if self._single else states[0]
        return x

    def reset(self) -> None:
        zeros = torch.zeros(1, self._hidden_size)
        state = zeros if self._single else (zeros, zeros)
        self._states: list[Any] = [state for _ in self._cells]


class ProductStepper:
    """Hand-written LSTM layers: one product of the stacked weights with (x, h). Shape: (features,).

    The product reads the weights column by column, which MKL's gemv does fastest at these sizes.
    """

    def __init__(self, layer: Recurrent) -> None:
        stack = layer.stack
        if stack.cell != cells.LSTM:
            raise Unavailable(f"the fused product is written for lstm, not {stack.cell.name!r}")
        tensors, self._hidden_size = _tensors(layer), stack.hidden_size
        self._layers: list[tuple[Tensor, Tensor]] = []
        for direction in stack.directions():
            weight_ih, weight_hh, bias_ih, bias_hh = (
                tensors[p.name + direction.suffix] for p in stack.cell.parameters
            )
            weight = torch.cat((weight_ih, weight_hh), 1).t().contiguous().t()
            self._layers.append((weight, bias_ih + bias_hh))
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        size = self._hidden_size
        for k, (weight, bias) in enumerate(self._layers):
            h, c = self._states[k]
            gates = torch.addmv(bias, weight, torch.cat((x, h)))
            i, f, _, o = torch.sigmoid(gates).split(size)
            c = torch.addcmul(f * c, i, torch.tanh(gates[2 * size : 3 * size]))
            x = o * torch.tanh(c)
            self._states[k] = (x, c)
        return x

    def reset(self) -> None:
        zeros = torch.zeros(self._hidden_size)
        self._states: list[tuple[Tensor, Tensor]] = [(zeros, zeros) for _ in self._layers]


def modules(model: PackedModel, recurrent: bool = True) -> nn.ModuleDict:
    """Layer position, as text -> its torch.nn module, in evaluation mode.

    For the layers that have one: linear ones, and recurrent ones if asked for.

    Raises:
        Unavailable: torch.nn has no such cell.
    """
    found: dict[str, nn.Module] = {}
    for position, layer in enumerate(model.layers):
        match layer:
            case Recurrent() if recurrent:
                found[str(position)] = _recurrent_module(layer)
            case Linear():
                outputs, inputs = layer.weight.shape
                linear = nn.Linear(inputs, outputs, bias=layer.bias is not None)
                linear.load_state_dict({n: _tensor(v) for n, v in _values(layer).items()})
                found[str(position)] = linear
    return nn.ModuleDict(found).eval()


def network(
    model: PackedModel, layers: Mapping[str, Callable[[Tensor], Tensor]]
) -> Callable[[Tensor], Tensor]:
    """The whole model as a function; layers with weights are given by their position."""
    steps: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = []
    place = {INPUT: 0} | {layer.name: k + 1 for k, layer in enumerate(model.layers)}
    for position, layer in enumerate(model.layers):
        sources = tuple(place[name] for name in layer.inputs)
        match layer:
            case Activation():
                steps.append((_FUNCTIONS[layer.function], sources))
            case Combine():
                steps.append((_combine(layer.function), sources))
            case Embedding():
                steps.append((_lookup(_tensor(layer.weight)), sources))
            case _:
                steps.append((layers[str(position)], sources))
    last = place[model.output]

    def run(x: Tensor) -> Tensor:
        signals = [x]
        for step, sources in steps:
            signals.append(step(*[signals[k] for k in sources]))
        return signals[last]

    return run


def _combine(function: str) -> Callable[..., Tensor]:
    def combine(*sources: Tensor) -> Tensor:
        if function == "concatenate":
            return torch.cat(sources, -1)
        result = sources[0]
        for source in sources[1:]:
            result = result + source if function == "add" else result * source
        return result

    return combine


def _lookup(table: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tokens: F.embedding(tokens, table)


def _recurrent_module(layer: Recurrent) -> nn.Module:
    stack = layer.stack
    if stack.cell not in _MODULES:
        raise Unavailable(f"torch.nn has no module for cell {stack.cell.name!r}")
    options = {"proj_size": stack.proj_size} if stack.proj_size else {}
    module = _MODULES[stack.cell](stack.input_size, stack.hidden_size, stack.num_layers, **options)
    module.load_state_dict(_tensors(layer))
    return module


def _tensors(layer: Recurrent) -> dict[str, Tensor]:
    """Every parameter of the stack; vectors that are left out are zeros."""
    return {
        name: _tensor(layer.parameters[name]) if name in layer.parameters else torch.zeros(shape)
        for name, shape in layer.stack.parameter_shapes().items()
    }


def _values(layer: Linear) -> dict[str, Any]:
    return {**layer.matrices, **layer.vectors}


def _tensor(value: Any) -> Tensor:
    array = value.to_dense() if isinstance(value, Matrix) else value
    return torch.from_numpy(array.copy())
