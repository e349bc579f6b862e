"""The functions and methods that a traced forward may call, and what each means for a stream.

A handler takes the lowering, the node and the values of its arguments, and returns a value; it
refuses with a reason what a packed model can't do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from csbrnn import model as packed
from csbrnn.nn.values import (
    OPAQUE,
    UNKNOWN,
    ZEROS,
    Constant,
    Extent,
    FinalState,
    GivenStates,
    Stream,
)

if TYPE_CHECKING:
    from csbrnn.nn.lowering import Lowering

__all__ = ["FUNCTIONS", "IDENTITY_MODULES", "METHODS", "activation", "activation_of"]

Handler: TypeAlias = "Callable[[Lowering, fx.Node, tuple[Any, ...], Mapping[str, Any]], Any]"

#: Modules that do nothing in evaluation mode.
IDENTITY_MODULES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_ACTIVATION_MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log_softmax",
}


def activation_of(module: nn.Module) -> tuple[str, int | None] | None:
    """The (function, axis) of an activation module; None for other modules."""
    name = _ACTIVATION_MODULES.get(type(module))
    return None if name is None else (name, getattr(module, "dim", None))


def activation(low: Lowering, node: fx.Node, x: Any, name: str, dim: int | None) -> Any:
    """An activation of a stream; the softmaxes act along the axis ``dim``."""
    if isinstance(x, Stream) and "F" not in x.axes and x.size == 1 and "softmax" not in name:
        stream: Stream | None = x
    elif "softmax" in name:
        if not isinstance(x, Stream):
            stream = low.features(node, x)
        else:
            rank = len(x.axes)
            # torch's own rule where no axis is given.
            axis = (0 if rank in (0, 1, 3) else 1) if dim is None else dim
            if not -rank <= axis < rank:
                return low.refuse(node, f"has no axis {axis} in {x.layout}", impossible=True)
            if x.axes[axis] != "F":
                return low.refuse(node, f"acts along axis {axis} of {x.layout}, not the features")
            stream = low.features(node, x)
    else:
        stream = low.features(node, x)
    if stream is None:
        return UNKNOWN
    return low.emit(
        node,
        [stream],
        stream.size,
        lambda name_, inputs, _: packed.Activation(name_, inputs, name),
    )
