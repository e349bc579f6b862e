"""`shrink` for torch modules: a copy with smaller layers, of the same class."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.errors import UnsupportedModelError
from csbrnn.nn.recurrent import Recurrent
from csbrnn.pruning import pruners_of, unwrap
from csbrnn.units.module import ModuleUnits, units_of
from csbrnn.units.shrinking import Kept, kept_units, places, resized, state_sizes

__all__ = ["shrink_module"]

#: Sizes that modules keep beside their weights -> the parameter and dimension they follow.
_SIZES: dict[type[nn.Module], dict[str, tuple[str, int]]] = {
    nn.Linear: {"in_features": ("weight", 1), "out_features": ("weight", 0)},
    nn.Embedding: {"num_embeddings": ("weight", 0), "embedding_dim": ("weight", 1)},
}


def shrink_module(module: nn.Module) -> nn.Module:
    """Returns a smaller copy of a module; see `csbrnn.shrink`.

    Raises:
        UnsupportedModelError: The module can't be followed; with all reasons.
    """
    module = unwrap(module)
    pruners = pruners_of(module)
    for pruner in pruners:
        pruner.settle()
    if not all(pruner.complete for pruner in pruners):
        raise UnsupportedModelError(
            f"can't shrink {type(module).__name__}",
            ["its pruning has not ended: finish the schedule and call pruner.finalize()"],
        )
    units = units_of(module, what="can't shrink")
    kept = kept_units(units.spaces)
    smaller = copy.deepcopy(module)
    _cut_parameters(smaller, units, kept)
    _set_sizes(smaller, units, kept)
    return smaller


def _cut_parameters(module: nn.Module, units: ModuleUnits, kept: Kept) -> None:
    for weight in units.spaces.weights():
        names = units.names[id(weight)]
        value: Tensor = module.get_parameter(names[0]).detach()
        for dim, axis in enumerate(units.spaces.axes(weight)):
            index = torch.from_numpy(places(axis, kept)).to(value.device)
            value = value.index_select(dim, index)
        old = module.get_parameter(names[0])
        parameter = nn.Parameter(value.contiguous(), requires_grad=old.requires_grad)
        for name in names:
            path, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(path), attribute, parameter)


def _set_sizes(module: nn.Module, units: ModuleUnits, kept: Kept) -> None:
    recurrent: dict[nn.Module, tuple[int, dict[str, int]]] = {}
    owner = {
        id(parameter): child
        for child in module.modules()
        for parameter in child.parameters(recurse=False)
    }
    for layer in units.spaces.model.layers:
        if isinstance(layer, packed.Recurrent):
            weight = next(iter(layer.parameters.values()))
            child = owner[id(module.get_parameter(units.names[id(weight)][0]))]
            below = sum(len(kept[space]) for space in units.spaces.signal(layer.inputs[0]))
            recurrent[child] = (below, state_sizes(units.spaces, layer, kept))
    for child in module.modules():
        if child in recurrent:
            _set_recurrent(child, *recurrent[child])
        for kind, sizes in _SIZES.items():
            if isinstance(child, kind):
                for attribute, (name, dim) in sizes.items():
                    setattr(child, attribute, getattr(child, name).shape[dim])


def _set_recurrent(module: Any, input_size: int, sizes: dict[str, int]) -> None:
    if isinstance(module, Recurrent):
        module.stack = resized(module.stack, input_size, sizes)
        return
    module.input_size = input_size
    module.hidden_size = sizes["hidden_size"]
    if "proj_size" in sizes:
        module.proj_size = sizes["proj_size"]
    if isinstance(module, nn.RNNBase):
        module.flatten_parameters()
