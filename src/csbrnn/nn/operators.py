"""The functions and methods that a traced forward may call, and what each means for a stream.

A handler takes the lowering, the node and the values of its arguments, and returns a value; it
refuses with a reason what a packed model can't do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn import functional

from csbrnn import model as packed
from csbrnn.nn.layout_operators import LAYOUT, Handler, axis_of, get_attribute, get_item
from csbrnn.nn.values import (
    OPAQUE,
    UNKNOWN,
    ZEROS,
    Constant,
    Extent,
    FinalState,
    GivenStates,
    Stream,
    is_zeros,
)

if TYPE_CHECKING:
    from csbrnn.nn.lowering import Lowering

__all__ = ["FUNCTIONS", "IDENTITY_MODULES", "METHODS", "activation", "activation_of", "argument"]

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
    if isinstance(x, Stream) and "softmax" in name:
        # torch's own rule where no axis is given.
        axis = axis_of(low, node, x, (0 if len(x.axes) in (0, 1, 3) else 1) if dim is None else dim)
        if axis is None:
            return UNKNOWN
        if x.axes[axis] != "F":
            return low.refuse(node, f"acts along axis {axis} of {x.layout}, not along the features")
    scalar = isinstance(x, Stream) and "F" not in x.axes and x.size == 1
    stream = x if scalar and x.source != packed.INPUT else low.features(node, x)
    if stream is None:
        return UNKNOWN
    return low.emit(
        node,
        [stream],
        stream.size,
        lambda name_, inputs, _: packed.Activation(name_, inputs, name),
    )


def _activate(name: str) -> Handler:
    def handle(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
        x = _identity(low, node, args, kwargs)  # softmax takes a dtype
        return activation(low, node, x, name, argument(args, kwargs, 1, "dim"))

    return handle


def _dropout(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if argument(args, kwargs, 2, "training", True):
        return low.refuse(
            node, "drops in evaluation mode too; pass training=self.training, or use nn.Dropout"
        )
    return argument(args, kwargs, 0, "input")


def _identity(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Moves to a device, copies and the like: the values stay."""
    dtypes = {a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.dtype)}
    # `x.to(y)` and `x.type_as(y)` take that of another tensor.
    dtypes |= {a.tensor.dtype for a in args[1:] if isinstance(a, Constant)}
    x = argument(args, kwargs, 0, "input")
    if isinstance(x, Stream) and "F" in x.axes and dtypes - {torch.float32}:
        return low.refuse(node, "computes in another precision; packed models compute in fp32")
    return x


def _other_precision(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return _identity(low, node, (args[0], torch.float64), {})


def _zeros(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return ZEROS


def _linear(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    names = ("input", "weight", "bias")
    x, weight, bias = (argument(args, kwargs, k, name) for k, name in enumerate(names))
    tensors = {"weight": weight} if bias in (None, ZEROS) else {"weight": weight, "bias": bias}
    if not all(isinstance(value, Constant) for value in tensors.values()):
        return low.refuse(node, "needs a parameter of the model, or a buffer, as weight and bias")
    return low.linear(node, x, {name: value.tensor for name, value in tensors.items()})


def _embedding(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, weight = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "weight")
    if not isinstance(weight, Constant):
        return low.refuse(node, "needs a parameter of the model, or a buffer, as weight")
    if argument(args, kwargs, 3, "max_norm") is not None:
        return low.refuse(node, "max_norm rescales rows when they are read")
    return low.embedding(node, x, weight.tensor)


def _combine(function: str, neutral: int) -> Handler:
    """An element-wise sum or product; of anything else than streams, a size."""

    def handle(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
        a, b = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "other")
        streams = [v for v in (a, b) if isinstance(v, Stream)]
        if not streams:
            return _sizes(low, node, function, a, b)
        if kwargs.get("alpha", 1) != 1:
            return low.refuse(node, "scales an operand (alpha); fold it into the layer before")
        if len(streams) == 1:
            if neutral in (a, b):
                return streams[0]
            other = b if isinstance(a, Stream) else a
            if isinstance(other, FinalState | GivenStates):
                return low.refuse(node, "uses states; a packed model only carries them")
            return low.refuse(
                node, f"has a constant operand to {function}; fold it into the layer before or next"
            )
        if streams[0].axes != streams[1].axes:
            layouts = " and ".join(stream.layout for stream in streams)
            return low.refuse(node, f"needs operands of one layout, not {layouts}")
        sizes = {stream.size for stream in streams if stream.size is not None}
        if len(sizes) > 1:
            return low.refuse(node, f"needs operands of one size, not {sorted(sizes)} features")
        size = next(iter(sizes), None)
        if any(low.features(node, stream, size) is None for stream in streams):
            return UNKNOWN
        return _emit_combine(low, node, streams, function, size)

    return handle


def _concatenate(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    values = argument(args, kwargs, 0, "tensors")
    if not isinstance(values, tuple | list) or not values:
        return low.refuse(node, "needs a list of tensors")
    if all(map(is_zeros, values)):
        return ZEROS
    streams = [low.features(node, value) for value in values]
    if not all(streams):
        return UNKNOWN
    found = [stream for stream in streams if stream is not None]
    if len({stream.axes for stream in found}) > 1:
        layouts = " and ".join(stream.layout for stream in found)
        return low.refuse(node, f"needs operands of one layout, not {layouts}")
    axis = axis_of(low, node, found[0], argument(args, kwargs, 1, "dim", 0))
    if axis is None:
        return UNKNOWN
    if found[0].axes[axis] != "F":
        return low.refuse(
            node, f"acts along axis {axis} of {found[0].layout}, not along the features"
        )
    if len(found) == 1:
        return found[0]
    sizes = [low.input_size if stream.size is None else stream.size for stream in found]
    if None in sizes:
        return low.refuse(node, "reads the model's input, whose size isn't known: pass input_size=")
    return _emit_combine(low, node, found, "concatenate", sum(size for size in sizes if size))


def _emit_combine(
    low: Lowering, node: fx.Node, streams: list[Stream], function: str, size: int | None
) -> Stream:
    return low.emit(
        node, streams, size, lambda name, inputs, _: packed.Combine(name, inputs, function)
    )


def _sizes(low: Lowering, node: fx.Node, function: str, a: Any, b: Any) -> Any:
    """Arithmetic on sizes, which forwards do to reshape."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list) and function == "add":
        return (*a, *b)
    if isinstance(a, Extent) and isinstance(b, Extent) and function == "multiply":
        return Extent(a.axis + b.axis)
    if any(isinstance(v, FinalState | GivenStates | Constant) for v in (a, b)):
        return low.refuse(node, "computes with states or parameters; a packed model can't")
    return OPAQUE


def _size_arithmetic(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if any(isinstance(v, Stream | FinalState | GivenStates | Constant) for v in args):
        return low.refuse(node, "is not an operation that a packed model has")
    return OPAQUE


def argument(args: Any, kwargs: Any, position: int, name: str, default: Any = None) -> Any:
    """An argument of a call, by its place or its name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


#: Functions -> handler.
FUNCTIONS: dict[Callable[..., Any], Handler] = {
    **dict.fromkeys((torch.relu, functional.relu, torch.relu_), _activate("relu")),
    **dict.fromkeys((torch.tanh, functional.tanh), _activate("tanh")),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid), _activate("sigmoid")),
    **dict.fromkeys((torch.softmax, functional.softmax), _activate("softmax")),
    **dict.fromkeys((torch.log_softmax, functional.log_softmax), _activate("log_softmax")),
    functional.dropout: _dropout,
    **dict.fromkeys((torch.clone, torch.detach), _identity),
    **dict.fromkeys((torch.zeros, torch.zeros_like), _zeros),
    functional.linear: _linear,
    functional.embedding: _embedding,
    **dict.fromkeys((operator.add, operator.iadd, torch.add), _combine("add", 0)),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul), _combine("multiply", 1)),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _concatenate),
    **dict.fromkeys(
        (operator.sub, operator.floordiv, operator.truediv, operator.mod), _size_arithmetic
    ),
    **{getattr(torch, name): handler for name, handler in LAYOUT.items() if hasattr(torch, name)},
    operator.getitem: get_item,
    getattr: get_attribute,
}

#: Methods of tensors -> handler.
METHODS: dict[str, Handler] = {
    **{name: _activate(name) for name in ("relu", "tanh", "sigmoid", "softmax", "log_softmax")},
    **{f"{name}_": _activate(name) for name in ("relu", "tanh", "sigmoid")},
    **dict.fromkeys(("clone", "contiguous", "cpu", "cuda", "detach", "float", "to"), _identity),
    **dict.fromkeys(("requires_grad_", "type_as"), _identity),
    **dict.fromkeys(("bfloat16", "double", "half", "int", "long", "type"), _other_precision),
    **dict.fromkeys(("new_zeros", "zero_"), _zeros),
    **dict.fromkeys(("add", "add_"), _combine("add", 0)),
    **dict.fromkeys(("mul", "mul_"), _combine("multiply", 1)),
    **LAYOUT,
}
