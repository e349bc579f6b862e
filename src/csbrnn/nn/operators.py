"""The functions and methods that a traced forward may call, and what each means for a stream.

A handler takes the lowering, the node and the values of its arguments, and returns a value; it
refuses with a reason what a packed model can't do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
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
)

if TYPE_CHECKING:
    from csbrnn.nn.lowering import Lowering

__all__ = ["FUNCTIONS", "IDENTITY_MODULES", "METHODS", "activation", "activation_of"]

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
        x = _identity(low, node, args or (kwargs.get("input"),), kwargs)  # softmax takes a dtype
        return activation(low, node, x, name, _argument(args, kwargs, 1, "dim"))

    return handle


def _dropout(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if _argument(args, kwargs, 2, "training", True):
        return low.refuse(
            node, "drops in evaluation mode too; pass training=self.training, or use nn.Dropout"
        )
    return _argument(args, kwargs, 0, "input")


def _identity(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Moves to a device, copies and the like: the values stay."""
    dtypes = {a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.dtype)}
    # `x.to(y)` and `x.type_as(y)` take that of another tensor.
    dtypes |= {t.dtype for t in map(low.tensor, node.args[1:]) if t is not None}
    x = args[0]
    if isinstance(x, Stream) and "F" in x.axes and dtypes - {torch.float32}:
        return low.refuse(node, "computes in another precision; packed models compute in fp32")
    return x


def _other_precision(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return _identity(low, node, (args[0], torch.float64), {})


def _zeros(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    return ZEROS


def _weight(
    low: Lowering, node: fx.Node, args: Any, kwargs: Any, position: int, name: str
) -> Tensor | None:
    """The parameter or buffer that an argument is, one of zeros included; None for others."""
    value = _argument(args, kwargs, position, name)
    if isinstance(value, Constant):
        return value.tensor
    return low.tensor(_argument(node.args, node.kwargs, position, name))


def _linear(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x = _argument(args, kwargs, 0, "input")
    weight, bias = (
        _weight(low, node, args, kwargs, k, name)
        for k, name in enumerate(("weight", "bias"), start=1)
    )
    given = _argument(args, kwargs, 2, "bias")
    if weight is None or (bias is None and given not in (None, ZEROS)):
        return low.refuse(node, "needs a parameter of the model, or a buffer, as weight and bias")
    return low.linear(node, x, {"weight": weight} | ({} if bias is None else {"bias": bias}))


def _embedding(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x = _argument(args, kwargs, 0, "input")
    weight = _weight(low, node, args, kwargs, 1, "weight")
    if weight is None:
        return low.refuse(node, "needs a parameter of the model, or a buffer, as weight")
    if _argument(args, kwargs, 3, "max_norm") is not None:
        return low.refuse(node, "max_norm rescales rows when they are read")
    return low.embedding(node, x, weight)


def _combine(function: str, neutral: int) -> Handler:
    """An element-wise sum or product; of anything else than streams, a size."""

    def handle(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
        a, b = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "other")
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
    values = _argument(args, kwargs, 0, "tensors")
    if not isinstance(values, tuple | list) or not values:
        return low.refuse(node, "needs a list of tensors")
    if all(value is ZEROS for value in values):
        return ZEROS
    streams = [low.features(node, value) for value in values]
    if not all(streams):
        return UNKNOWN
    found = [stream for stream in streams if stream is not None]
    if len({stream.axes for stream in found}) > 1:
        layouts = " and ".join(stream.layout for stream in found)
        return low.refuse(node, f"needs operands of one layout, not {layouts}")
    axis = axis_of(low, node, found[0], _argument(args, kwargs, 1, "dim", 0))
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


def _argument(args: Any, kwargs: Any, position: int, name: str, default: Any = None) -> Any:
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
