"""The recurrent modules that are understood, each read as a `Stack` and its exact weights."""

from __future__ import annotations

from torch import Tensor, nn

from csbrnn import cells
from csbrnn.cells import Stack
from csbrnn.errors import ArgumentError
from csbrnn.nn.recurrent import Recurrent

__all__ = ["CELL_MODULES", "SEQUENCE_MODULES", "RnnModule", "parameter_name", "stack_of"]

#: Modules that run over a sequence.
SEQUENCE_MODULES = (nn.RNN, nn.LSTM, nn.GRU, Recurrent)
#: Modules that make one step.
CELL_MODULES = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)

RnnModule = nn.RNN | nn.LSTM | nn.GRU | Recurrent | nn.RNNCell | nn.LSTMCell | nn.GRUCell

_RNN_CELLS = {"tanh": cells.RNN_TANH, "relu": cells.RNN_RELU}


def stack_of(module: nn.Module) -> tuple[Stack, dict[str, Tensor]]:
    """Reads a recurrent module as a stack and its parameters, bit for bit.

    Args:
        module: `torch.nn.RNN`, ``LSTM``, ``GRU``, ``RNNCell``, ``LSTMCell``, ``GRUCell`` or
            `csbrnn.nn.Recurrent`. Parametrized weights are read as they take effect.

    Returns:
        The stack, and checkpoint name (``"weight_ih_l0"``, for cells too) -> the module's own
        tensor, detached. Absent biases are left out.

    Raises:
        ArgumentError: ``module`` is none of these.
    """
    stack = _stack(module)
    tensors = {
        name: getattr(module, parameter_name(module, name), None)
        for name in stack.parameter_shapes()
    }
    return stack, {name: t.detach() for name, t in tensors.items() if isinstance(t, Tensor)}


def parameter_name(module: nn.Module, name: str) -> str:
    """The module's own name of a checkpoint name: torch.nn's cells have no ``_l0``."""
    return name.removesuffix("_l0") if isinstance(module, CELL_MODULES) else name


def _stack(module: nn.Module) -> Stack:
    match module:
        case Recurrent():
            return module.stack
        case nn.LSTM():
            cell = cells.LSTM_PROJECTION if module.proj_size else cells.LSTM
        case nn.GRU():
            cell = cells.GRU
        case nn.RNN():
            cell = _RNN_CELLS[module.nonlinearity]
        case nn.LSTMCell():
            return Stack(cells.LSTM, module.input_size, module.hidden_size)
        case nn.GRUCell():
            return Stack(cells.GRU, module.input_size, module.hidden_size)
        case nn.RNNCell():
            return Stack(_RNN_CELLS[module.nonlinearity], module.input_size, module.hidden_size)
        case _:
            known = ", ".join(kind.__name__ for kind in SEQUENCE_MODULES + CELL_MODULES)
            raise ArgumentError(
                f"expected a recurrent module ({known}), not {type(module).__name__}"
            )
    return Stack(
        cell,
        module.input_size,
        module.hidden_size,
        module.proj_size,
        module.num_layers,
        module.bidirectional,
    )
