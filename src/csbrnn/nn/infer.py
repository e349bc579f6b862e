"""The network that a bare state_dict belongs to, where its names and shapes leave no doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from csbrnn.errors import UnsupportedModelError
from csbrnn.model import MAX_STACK

__all__ = ["module_from_state"]

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_RECURRENT = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l(\d+)(_reverse)?")


class Chain(nn.Module):
    """Modules one after the other, each under its path in the state_dict.

    Args:
        modules: Path -> module, in order.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.paths = tuple(modules)
        for path, module in modules.items():
            owner: nn.Module = self
            *parents, name = path.split(".")
            for parent in parents:
                if not hasattr(owner, parent):
                    owner.add_module(parent, nn.Module())
                owner = owner.get_submodule(parent)
            owner.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Runs a sequence. Shape: (seq_len, batch, features) or tokens (seq_len, batch)."""
        for path in self.paths:
            module = self.get_submodule(path)
            x = module(x)[0] if isinstance(module, nn.RNNBase) else module(x)
        return x


def module_from_state(state: Mapping[str, Tensor], where: str) -> nn.Module:
    """Rebuilds the module of a state_dict.

    Only ``[embedding,] recurrent layer [, linear]`` is recognised, with `torch.nn`'s LSTM or GRU:
    of more layers, how they are connected would be a guess. A state_dict does not tell the cell
    either: of a `csbrnn.nn.Recurrent` of another cell than these, name the module.

    Args:
        state: The state_dict, in its order.
        where: Where it comes from, for messages.

    Returns:
        The module, its weights loaded.

    Raises:
        UnsupportedModelError: The names and shapes allow several networks, or none that is known.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        path, _, own = name.rpartition(".")
        groups.setdefault(path, {})[own] = tensor
    reader = _Reader()
    reader.reasons += _impossible_names(state)
    modules = {path: reader.read(path, group) for path, group in groups.items()}
    kinds = [type(module) for module in modules.values() if module is not None]
    if not reader.reasons:
        middle = [kind for kind in kinds if kind in (nn.LSTM, nn.GRU)]
        body = kinds[kinds[0] is nn.Embedding :]
        if len(middle) != 1 or body not in (middle, [*middle, nn.Linear]):
            names = ", ".join(f"{path}: {type(m).__name__}" for path, m in modules.items())
            reader.reasons.append(
                f"only [embedding,] one LSTM or GRU [, linear] can be told, not {names}: how the "
                "layers are connected is not in a state_dict"
            )
    if reader.reasons:
        advice = "name the module instead, as package.module:name, with this file as its checkpoint"
        raise UnsupportedModelError(f"can't tell the network of {where}", [*reader.reasons, advice])
    ready = {path: module for path, module in modules.items() if module is not None}
    model = ready[""] if "" in ready else Chain(ready)
    model.load_state_dict(state, assign=True)
    return model


def _impossible_names(state: Mapping[str, Tensor]) -> list[str]:
    """Why some tensors are no weights of a module: their names or their types."""
    taken = set(dir(nn.Module()))
    reasons = []
    for name, tensor in state.items():
        *path, own = name.split(".")
        if not own or not all(part and part not in taken for part in path):
            reasons.append(f"{name!r}: no module can have a parameter of this name")
        if tensor.dtype not in _DTYPES:
            reasons.append(f"{name}: weights must be of floats, not {tensor.dtype}")
    return reasons


class _Reader:
    """Recognizes the modules of a chain in order, each fed by the one before."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self._size: int | None = None  # features of the chain so far

    def read(self, path: str, tensors: Mapping[str, Tensor]) -> nn.Module | None:
        """The module of one group of tensors, without memory for its weights; None if unknown."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        with torch.device("meta"):
            if any(_RECURRENT.fullmatch(name) for name in shapes):
                return self._recurrent(path, shapes)
            if self._size is None and set(shapes) == {"weight"} and len(shapes["weight"]) == 2:
                rows, self._size = shapes["weight"]
                if rows == self._size:
                    self.reasons.append(
                        f"{path}: a {rows}x{rows} weight may be an embedding or a linear layer"
                    )
                return nn.Embedding(*shapes["weight"])
            if self._is_linear(shapes):
                rows, columns = shapes["weight"]
                self._size = rows
                return nn.Linear(columns, rows, bias="bias" in shapes)
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        self.reasons.append(f"{path or 'the model'}: not a layer that is known: {listed}")
        return None

    def _is_linear(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        weight = shapes.get("weight", ())
        return (
            set(shapes) in ({"weight"}, {"weight", "bias"})
            and len(weight) == 2
            and weight[1] == self._size
            and shapes.get("bias", weight[:1]) == weight[:1]
        )

    def _recurrent(self, path: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module | None:
        where = path or "the model"
        matches = [_RECURRENT.fullmatch(name) for name in shapes]
        numbers = {int(match[2]) for match in matches if match}
        layers = len(numbers)
        if numbers != set(range(layers)) or layers > MAX_STACK:
            self.reasons.append(
                f"{where}: layers must be numbered from 0 on, {MAX_STACK} at most, not"
                f" {', '.join(map(str, sorted(numbers)[:8]))}"
            )
            return None
        first = shapes.get("weight_ih_l0", ())
        projection = shapes.get("weight_hr_l0")
        state = shapes.get("weight_hh_l0", ())
        if len(first) != 2 or len(state) != 2:
            self.reasons.append(f"{where}: weight_ih_l0 and weight_hh_l0 must both be matrices")
            return None
        hidden = projection[-1] if projection else state[1]
        if hidden == 0 or (projection and not 0 < projection[0] < hidden):
            self.reasons.append(
                f"{where}: there must be units, and fewer after a projection, not {hidden} and"
                f" {projection[0] if projection else hidden}"
            )
            return None
        gates = first[0] / hidden
        if gates not in (3, 4):
            self.reasons.append(
                f"{where}: {first[0]} rows for {hidden} units are neither an LSTM's 4 gates nor a "
                "GRU's 3; an Elman RNN's nonlinearity can't be told"
            )
            return None
        sizes = (first[1], hidden, layers)
        bidirectional = "weight_ih_l0_reverse" in shapes
        bias = "bias_ih_l0" in shapes
        module: nn.Module
        if gates == 4:
            module = nn.LSTM(
                *sizes,
                bias=bias,
                bidirectional=bidirectional,
                proj_size=projection[0] if projection else 0,
            )
        else:
            module = nn.GRU(*sizes, bias=bias, bidirectional=bidirectional)
        if {name: tuple(p.shape) for name, p in module.named_parameters()} != dict(shapes):
            self.reasons.append(f"{where}: the shapes are not those of one {type(module).__name__}")
        if self._size not in (None, first[1]):
            self.reasons.append(
                f"{where}: reads {first[1]} features, but {self._size} come before it"
            )
        self._size = (projection[0] if projection else hidden) * (1 + bidirectional)
        return module
