"""`to_torch`: a packed model as dense torch modules again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from csbrnn import cells
from csbrnn import model as packed
from csbrnn.cells import Stack
from csbrnn.formats import Matrix
from csbrnn.nn.recurrent import Recurrent, States

__all__ = ["Unpacked", "to_torch"]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, dim=-1),
    "log_softmax": lambda x: torch.log_softmax(x, dim=-1),
}


class Unpacked(nn.Module):
    """The network of a packed model, in dense torch modules: for comparison, and to train on.

    Args:
        model: A model that ``csbrnn.model.verify`` accepts.
    """

    def __init__(self, model: packed.PackedModel) -> None:
        super().__init__()
        self.output = model.output
        self._layers = model.layers
        self._modules_of: dict[str, str] = {}
        shared: dict[int, nn.Parameter] = {}
        for layer in model.layers:
            module = _module_of(layer, shared)
            if module is not None:
                # Modules can't have dots in their names; layers have the paths of modules.
                name = "".join(c if c.isalnum() else "_" for c in layer.name)
                while hasattr(self, name):
                    name += "_"
                self._modules_of[layer.name] = name
                self.add_module(name, module)

    def forward(
        self, x: Tensor, states: Mapping[str, States] | None = None
    ) -> tuple[Tensor, dict[str, States]]:
        """Runs a sequence.

        Args:
            x: The sequence: features, or tokens as integers.
            states: As returned for the sequence before; zero if left out.

        Returns:
            The output at each step, and name of each recurrent layer -> its states.

        Shape:
            x: (seq_len, size) or (seq_len, batch, size) features; (seq_len,) or (seq_len, batch)
                tokens.
            returns: (seq_len, [batch,] output_size)
        """
        signals = {packed.INPUT: x}
        after: dict[str, States] = {}
        for layer in self._layers:
            sources = [signals[name] for name in layer.inputs]
            match layer:
                case packed.Recurrent(name=name):
                    before = None if states is None else states[name]
                    signals[name], after[name] = self._module(name)(sources[0], before)
                case packed.Activation(name=name, function=function):
                    signals[name] = _FUNCTIONS[function](sources[0])
                case packed.Combine(name=name, function=function):
                    signals[name] = _combine(function, sources)
                case _:
                    signals[layer.name] = self._module(layer.name)(sources[0])
        return signals[self.output], after

    def _module(self, layer: str) -> nn.Module:
        return self.get_submodule(self._modules_of[layer])


def to_torch(model: packed.PackedModel) -> Unpacked:
    """Makes dense torch modules of a packed model; pruned weights are zeros.

    Recurrent layers become `torch.nn.LSTM`, ``GRU`` or ``RNN`` where PyTorch has the cell, else
    `csbrnn.nn.Recurrent`; parameters keep their names. Weights that layers share stay shared.

    Args:
        model: The packed model.

    Returns:
        A module in evaluation mode with ``forward(x, states=None) -> (y, states)``.

    Raises:
        UnsupportedModelError: The packed model is not valid.
    """
    packed.verify(model)
    return Unpacked(model).eval()


def _module_of(layer: packed.Layer, shared: dict[int, nn.Parameter]) -> nn.Module | None:
    """The torch module of a layer, or None where it has no parameters."""

    def parameter(value: Matrix | packed.Vector) -> nn.Parameter:
        if id(value) not in shared:
            array = value.to_dense() if isinstance(value, Matrix) else value.copy()
            shared[id(value)] = nn.Parameter(torch.from_numpy(array))
        return shared[id(value)]

    module: nn.Module
    match layer:
        case packed.Embedding(weight=weight):
            module = nn.Embedding(*weight.shape, device="meta")
            module.weight = parameter(weight)
        case packed.Linear(weight=weight, bias=bias):
            rows, columns = weight.shape
            module = nn.Linear(columns, rows, bias=bias is not None, device="meta")
            module.weight = parameter(weight)
            if bias is not None:
                module.bias = parameter(bias)
        case packed.Recurrent(stack=stack, parameters=parameters):
            module = _recurrent_module(stack, biased=any(n.startswith("bias") for n in parameters))
            for name, own in list(module.named_parameters()):
                value = parameters.get(name)
                setattr(
                    module,
                    name,
                    nn.Parameter(torch.zeros_like(own)) if value is None else parameter(value),
                )
        case _:
            return None
    return module


def _recurrent_module(stack: Stack, *, biased: bool) -> nn.Module:
    sizes = (stack.input_size, stack.hidden_size, stack.num_layers)
    options: dict[str, Any] = {"bias": biased, "bidirectional": stack.bidirectional}
    # torch.nn.LSTM projects to fewer values than it has units, or not at all.
    if stack.cell in (cells.LSTM, cells.LSTM_PROJECTION) and stack.proj_size < stack.hidden_size:
        return nn.LSTM(*sizes, proj_size=stack.proj_size, **options)
    if stack.cell == cells.GRU:
        return nn.GRU(*sizes, **options)
    if stack.cell in (cells.RNN_TANH, cells.RNN_RELU):
        nonlinearity = "tanh" if stack.cell == cells.RNN_TANH else "relu"
        return nn.RNN(*sizes, nonlinearity=nonlinearity, **options)
    return Recurrent(stack.cell, *sizes, proj_size=stack.proj_size, **options)


def _combine(function: str, sources: list[Tensor]) -> Tensor:
    if function == "concatenate":
        return torch.cat(sources, dim=-1)
    total = sources[0]
    for source in sources[1:]:
        total = total + source if function == "add" else total * source
    return total
