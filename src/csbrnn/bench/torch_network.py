"""A packed model as PyTorch users would run it step by step: modules, cells, or plain products.

Imports PyTorch, so only `contender_pytorch` imports it, and only when it opens a case.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from csbrnn import cells
from csbrnn.bench.contender import UnavailableError
from csbrnn.cells import Cell
from csbrnn.formats import Matrix
from csbrnn.model import INPUT, Activation, Combine, PackedModel, Recurrent, Vector

__all__ = [
    "CellStepper",
    "ModuleStepper",
    "ProductStepper",
    "Stepper",
    "network",
    "quantize_dynamic",
]

_CELL_MODULES: Final[Mapping[Cell, Callable[..., nn.Module]]] = {
    cells.LSTM: nn.LSTMCell,
    cells.GRU: nn.GRUCell,
    cells.RNN_TANH: nn.RNNCell,
    cells.RNN_RELU: functools.partial(nn.RNNCell, nonlinearity="relu"),
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
        self._states: Any
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        """See `Stepper`."""
        y: Tensor
        y, self._states = self._module(x, self._states)
        return y

    def reset(self) -> None:
        """See `Stepper`."""
        zeros = tuple(torch.zeros(n, 1, length) for n, length in self._shapes.values())
        self._states = zeros if len(zeros) > 1 else zeros[0]


class CellStepper:
    """A `torch.nn.LSTMCell` or the like for each layer. Shape: (1, features)."""

    def __init__(self, layer: Recurrent, precision: str = "fp32") -> None:
        stack = layer.stack
        if stack.cell not in _CELL_MODULES:
            raise UnavailableError(f"torch.nn has no one-step module for cell {stack.cell.name!r}")
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
        if precision == "int8":
            quantized = quantize_dynamic(nn.Sequential(*self._cells), {*map(type, self._cells)})
            self._cells = list(quantized.children())
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        """See `Stepper`."""
        for k, cell in enumerate(self._cells):
            self._states[k] = states = cell(x, self._states[k])
            x = states if self._single else states[0]
        return x

    def reset(self) -> None:
        """See `Stepper`."""
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
            raise UnavailableError(f"written out for cell 'lstm' only, not {stack.cell.name!r}")
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
        """See `Stepper`."""
        size = self._hidden_size
        for k, (weight, bias) in enumerate(self._layers):
            h, c = self._states[k]
            gates = torch.addmv(bias, weight, torch.cat((x, h)))
            i, f, _, o = torch.sigmoid(gates).chunk(4)
            c = torch.addcmul(f * c, i, torch.tanh(gates[2 * size : 3 * size]))
            x = o * torch.tanh(c)
            self._states[k] = (x, c)
        return x

    def reset(self) -> None:
        """See `Stepper`."""
        zeros = torch.zeros(self._hidden_size)
        self._states: list[tuple[Tensor, Tensor]] = [(zeros, zeros) for _ in self._layers]


def quantize_dynamic(modules: nn.Module, types: set[type[nn.Module]]) -> nn.Module:
    """Quantizes what is within ``modules``, in place, and returns it.

    Raises:
        UnavailableError: PyTorch no longer has dynamic quantization.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated; nothing replaces it
        try:
            from torch.ao.quantization import quantize_dynamic as quantize
        except ImportError as error:
            raise UnavailableError(f"this PyTorch has no dynamic quantization: {error}") from None
        quantized: nn.Module = quantize(modules, types, inplace=True)  # type: ignore[no-untyped-call]
    return quantized


def network(
    model: PackedModel, weighted: Iterable[Callable[[Tensor], Tensor]]
) -> Callable[[Tensor], Tensor]:
    """The whole model as a function.

    Args:
        model: Its graph is followed.
        weighted: What computes each layer that has weights, in the model's order.
    """
    own = iter(weighted)
    place = {INPUT: 0} | {layer.name: k + 1 for k, layer in enumerate(model.layers)}
    steps: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = []
    for layer in model.layers:
        match layer:
            case Activation():
                function: Callable[..., Tensor] = _FUNCTIONS[layer.function]
            case Combine():
                function = _combine(layer.function)
            case _:
                function = next(own)
        steps.append((function, tuple(place[name] for name in layer.inputs)))
    last = place[model.output]

    def run(x: Tensor) -> Tensor:
        signals = [x]
        for function, sources in steps:
            signals.append(function(*[signals[k] for k in sources]))
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


def _tensors(layer: Recurrent) -> dict[str, Tensor]:
    """Every parameter of the stack; vectors that are left out are zeros."""
    return {
        name: _tensor(layer.parameters[name]) if name in layer.parameters else torch.zeros(shape)
        for name, shape in layer.stack.parameter_shapes().items()
    }


def _tensor(value: Matrix | Vector) -> Tensor:
    return torch.from_numpy(value.to_dense() if isinstance(value, Matrix) else value.copy())
