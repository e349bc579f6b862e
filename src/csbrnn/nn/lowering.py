"""From a traced forward to the layers of a packed model, by following what each tensor means.

Nothing is run. Each tensor is followed as a `Stream` (one vector a step, with its axes), a state,
or a constant; whatever can't be carried becomes a reason. The walk goes on after a reason, so that
all of them are found; what depends on something refused is not complained about again.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from csbrnn import model as packed
from csbrnn.formats import Matrix
from csbrnn.nn.operators import FUNCTIONS, IDENTITY_MODULES, METHODS, activation, activation_of
from csbrnn.nn.rnn_layers import CELL_MODULES, SEQUENCE_MODULES, parameter_name, stack_of
from csbrnn.nn.state_flow import StateFlow
from csbrnn.nn.trace import AUTOCAST, LEAVES, Trace, is_leaf
from csbrnn.nn.values import (
    OPAQUE,
    UNKNOWN,
    Constant,
    Extent,
    FinalState,
    GivenStates,
    Sentinel,
    Stream,
    TensorKey,
    flatten,
    tensor_key,
)
from csbrnn.pruning.weak_hook import is_ours

__all__ = ["FOREIGN_HOOKS", "Draft", "Lowering", "Weights", "has_foreign_hooks"]

FOREIGN_HOOKS = (
    "has forward hooks, which may change what it computes; remove them (weights: "
    "torch.nn.utils.prune.remove, torch.nn.utils.remove_weight_norm)"
)
"""Why a module with hooks of others can't be packed."""

#: Dtypes that fp32 holds exactly.
_EXACT_IN_FP32 = (torch.float32, torch.float16, torch.bfloat16)
#: `csbrnn.model` allows 128 characters; the rest is for a number that makes a name unique.
_LONGEST_NAME = 120


class Weights(Protocol):
    """How tensors become parameters of packed layers."""

    def matrix(self, tensor: Tensor) -> Matrix:
        """The stored form of a weight matrix."""

    def vector(self, tensor: Tensor) -> packed.Vector:
        """The stored form of a bias or another vector."""


@dataclass(frozen=True)
class Draft:
    """A packed layer whose weights are still to be stored.

    Attributes:
        name: The layer's name.
        build: Makes the layer.
    """

    name: str
    build: Callable[[Weights], packed.Layer]


class Lowering:
    """One reading of a forward: as a network whose input has the given axes.

    Args:
        trace: The traced forward.
        axes: What each axis of the input is, as in `Stream.axes`; tokens have no "F".
        input_size: Features of the input, or None: found where the input is first used.
        finite: Which weights are finite, as far as other readings of the same module found out.

    Attributes:
        drafts: The layers, in order.
        reasons: What can't be carried.
        misread: How far the axes are from what the module was written for: 0 may be right, 1 takes
            time for batch, 2 is refused by torch itself.
        output: Name of the output's layer.
    """

    def __init__(
        self,
        trace: Trace,
        axes: tuple[str, ...],
        input_size: int | None,
        finite: dict[TensorKey, bool],
    ) -> None:
        self.trace, self.axes, self.input_size, self._finite = trace, axes, input_size, finite
        self.drafts: list[Draft] = []
        self.reasons: list[str] = []
        self.misread = 0
        self.output = packed.INPUT
        self._values: dict[fx.Node, Any] = {}
        self._names: set[str] = {packed.INPUT}
        self._states = StateFlow(stepwise="T" not in axes)

    @property
    def tokens(self) -> bool:
        """Whether the input is read as tokens."""
        return "F" not in self.axes

    def run(self) -> None:
        """Follows every operation that the output depends on."""
        nodes = list(self.trace.graph.nodes)
        needed = {nodes[-1]}
        for node in reversed(nodes):
            if node in needed:
                needed.update(node.all_input_nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        for position, node in enumerate(inputs):
            self._values[node] = GivenStates((position,))
        if inputs:
            self._values[inputs[0]] = Stream(packed.INPUT, self.axes, self.input_size)
        for position, node in enumerate(nodes):
            if self._overwrites(node, needed, nodes[position + 1 :]):
                self._values[node] = self.refuse(
                    node, "changes a tensor in place that is also used otherwise; use its result"
                )
            elif node in needed and node.op != "placeholder":
                self._values[node] = self._evaluate(node)

    def _overwrites(self, node: fx.Node, needed: set[fx.Node], later: list[fx.Node]) -> bool:
        """Whether a node changes in place what is read after it, under this name or another.

        Tracing records values, not memory: a graph can't tell what later readers would see. What
        moves axes or does nothing shares memory with its source, and is the same stream.
        """
        source = self.trace.overwritten(node)
        if source is None:
            return False
        value = self._values.get(source)
        if value is OPAQUE or isinstance(value, Extent | tuple | list | dict):
            return False  # += of what is no tensor makes a new one
        same = {source}
        if isinstance(value, Stream):
            streams = ((n, v) for n, v in self._values.items() if isinstance(v, Stream))
            same |= {n for n, v in streams if v.source == value.source}
        readers = needed.intersection(later)
        return node not in needed or any(user in readers for n in same for user in n.users)

    def refuse(self, node: fx.Node, why: str, *, misread: int = 0) -> Sentinel:
        """Notes a reason; ``misread`` where it speaks against this reading of the axes."""
        self.misread = max(self.misread, misread)
        reason = why if node.op == "output" else f"{self.trace.place(node)}: {why}"
        if reason not in self.reasons:
            self.reasons.append(reason)
        return UNKNOWN

    def features(self, node: fx.Node, value: Any, size: int | None = None) -> Stream | None:
        """The value as a stream of features on the last axis; a reason and None otherwise."""
        if value is UNKNOWN:
            return None
        if not isinstance(value, Stream):
            what = {
                FinalState: "the final state of a layer",
                GivenStates: "states",
                Constant: "a parameter or buffer",
            }.get(type(value), "something else")
            self.refuse(node, f"needs the output of a layer at each step, not {what}")
        elif value.source == packed.INPUT and self.tokens:
            self.refuse(node, "reads tokens, which only an embedding can", misread=2)
        elif not value.axes or value.axes[-1] != "F":
            self.refuse(node, f"acts along the last axis of {value.layout}, not along the features")
        elif size is not None and not self._settle(value, size):
            self.refuse(node, f"reads {size} features, but gets {value.size}", misread=2)
        else:
            return value
        return None

    def emit(
        self,
        node: fx.Node,
        sources: Sequence[Stream],
        size: int | None,
        build: Callable[[str, tuple[str, ...], Weights], packed.Layer],
        *,
        axes: tuple[str, ...] | None = None,
    ) -> Stream:
        """Adds a layer; ``build(name, inputs, weights)`` makes it later."""
        name, inputs = self._unique_name(node), tuple(source.source for source in sources)
        self.drafts.append(Draft(name, lambda weights: build(name, inputs, weights)))
        return Stream(name, sources[0].axes if axes is None else axes, size)

    def linear(self, node: fx.Node, x: Any, tensors: Mapping[str, Tensor]) -> Any:
        """A linear layer of ``weight`` and, where there is one, ``bias``."""
        weight, bias = tensors["weight"], tensors.get("bias")
        usable = self._usable(node, tensors)
        stream = self.features(node, x, weight.shape[1])
        if stream is None or not usable:
            return UNKNOWN
        return self.emit(
            node,
            [stream],
            weight.shape[0],
            lambda name, inputs, weights: packed.Linear(
                name, inputs, weights.matrix(weight), None if bias is None else weights.vector(bias)
            ),
        )

    def embedding(self, node: fx.Node, x: Any, weight: Tensor) -> Any:
        """A table of vectors, one a token."""
        usable = self._usable(node, {"weight": weight})
        if not isinstance(x, Stream) or x.source != packed.INPUT:
            return self.refuse(node, "must read the model's input, as tokens")
        if not self.tokens:
            return self.refuse(node, "reads tokens, not features", misread=2)
        if not self._settle(x, weight.shape[0]):
            return self.refuse(node, f"has {weight.shape[0]} rows for {x.size} tokens")
        if not usable:
            return UNKNOWN
        return self.emit(
            node,
            [x],
            weight.shape[1],
            lambda name, inputs, weights: packed.Embedding(name, inputs, weights.matrix(weight)),
            axes=(*x.axes, "F"),
        )

    def _settle(self, stream: Stream, size: int) -> bool:
        """Whether a stream has a size; the input's is settled by its first reader."""
        if stream.size is None and self.input_size is None:
            self.input_size = size
        return (self.input_size if stream.size is None else stream.size) == size

    def _evaluate(self, node: fx.Node) -> Any:
        if node.meta.get(AUTOCAST):
            return self.refuse(
                node,
                "computes in another precision, under torch.autocast; packed models compute in"
                " fp32: use it around the model",
            )
        if node.op == "get_attr":
            value = self.trace.attribute(node)
            if not isinstance(value, Tensor):
                return OPAQUE
            return Constant(str(node.target), value)
        look_up = self._values.__getitem__
        args: Any = fx.node.map_arg(node.args, look_up)
        kwargs: Any = fx.node.map_arg(node.kwargs, look_up)
        if node.op == "call_module":
            return self._module(node, self.trace.module(node), args, kwargs)
        if node.op == "output":
            return self._finish(node, args[0])
        if any(leaf is UNKNOWN for leaf in flatten((args, kwargs))):
            return UNKNOWN
        table: Mapping[Any, Any] = FUNCTIONS if node.op == "call_function" else METHODS
        handler = table.get(node.target)
        if handler is None:
            return self.refuse(node, "is not an operation that a packed model has")
        return handler(self, node, args, kwargs)

    def _module(self, node: fx.Node, module: nn.Module, args: Any, kwargs: Any) -> Any:
        if has_foreign_hooks(module):
            self.refuse(node, FOREIGN_HOOKS)
        if kwargs:
            args = inspect.signature(type(module).forward).bind(module, *args, **kwargs).args[1:]
        x = args[0] if args else None
        if isinstance(module, LEAVES) and not is_leaf(module):
            kind = next(leaf for leaf in LEAVES if isinstance(module, leaf))
            return self.refuse(node, f"computes something else than {kind.__name__} does")
        match module:
            case nn.Embedding():
                if module.max_norm is not None:
                    return self.refuse(
                        node,
                        f"max_norm={module.max_norm} rescales rows when they "
                        "are read; rescale the weight and set max_norm=None",
                    )
                return self.embedding(node, x, module.weight)
            case nn.Linear():
                tensors = {"weight": module.weight, "bias": module.bias}
                return self.linear(node, x, {k: t for k, t in tensors.items() if t is not None})
            case nn.Module() if isinstance(module, SEQUENCE_MODULES + CELL_MODULES):
                return self._recurrent(node, module, x, *args[1:2])
            case nn.Module() if isinstance(module, IDENTITY_MODULES):
                return x
        if named := activation_of(module):
            return activation(self, node, x, *named)
        return self.refuse(
            node,
            "is not among the modules that a packed model has: embedding, linear, recurrent "
            "layers, relu, tanh, sigmoid, softmax, log_softmax (dropout is left out)",
        )

    def _recurrent(self, node: fx.Node, module: nn.Module, x: Any, states: Any = None) -> Any:
        stack, tensors = stack_of(module)
        named = {parameter_name(module, name): tensor for name, tensor in tensors.items()}
        usable = self._usable(node, named)
        name = self._unique_name(node)
        for reason in self._states.enter(name, len(stack.cell.states), states):
            self.refuse(node, reason)
        stream = self.features(node, x, stack.input_size)
        if stream is None or not self._time_axis(node, module, stream) or not usable:
            return UNKNOWN
        self.drafts.append(
            Draft(
                name,
                lambda weights: packed.Recurrent(
                    name,
                    (stream.source,),
                    stack,
                    {
                        key: weights.matrix(t) if t.dim() == 2 else weights.vector(t)
                        for key, t in tensors.items()
                    },
                ),
            )
        )
        after = tuple(FinalState(name, k) for k in range(len(stack.cell.states)))
        if isinstance(module, CELL_MODULES):
            y = Stream(name, stream.axes, stack.output_size, after[0])
            return (y, *after[1:]) if len(after) > 1 else y
        y = Stream(name, stream.axes, stack.output_size)
        return y, after if len(after) > 1 else after[0]

    def _time_axis(self, node: fx.Node, module: nn.Module, stream: Stream) -> bool:
        """Whether a recurrent module finds time and batch where they are."""
        leading = stream.axes[:-1]
        if isinstance(module, CELL_MODULES):
            fits, most = leading in ((), ("B",), ("1",)), 1
            expected = "one step, (batch, features) or (features)"
        else:
            order = ("B", "T") if module.batch_first else ("T", "B")
            batched = len(leading) == 2 and all(
                axis in (wanted, "1") for axis, wanted in zip(leading, order, strict=True)
            )
            fits, most = batched or leading in (("T",), ("1",)), 2
            names = "batch, time" if module.batch_first else "time, batch"
            expected = f"({names}, features)"
        if not fits:
            self.refuse(
                node,
                f"takes {expected}, but gets {stream.layout}",
                misread=2 if len(leading) > most or (most == 2 and not leading) else 1,
            )
        elif isinstance(module, SEQUENCE_MODULES) and self._backward_step(module):
            fits = False
            self.refuse(node, "is bidirectional, but forward takes one step at a time")
        return fits

    def _backward_step(self, module: nn.Module) -> bool:
        return self._states.stepwise and stack_of(module)[0].bidirectional

    def _finish(self, node: fx.Node, value: Any) -> None:
        """Reads what forward returns: the output, or that and the states."""
        first, *extras = value if isinstance(value, tuple | list) and value else (value,)
        for reason in self._states.leave(list(flatten(extras))):
            self.refuse(node, reason)
        if isinstance(first, Stream):
            self.output = first.source
            if "F" not in first.axes and first.size != 1:
                self.refuse(node, f"the output has the axes {first.layout}, without features")
            if first.source == packed.INPUT:
                self.refuse(node, "forward gives its input back: there is nothing to pack")
        elif first is not UNKNOWN:
            what = "final states" if isinstance(first, FinalState) else "something else"
            self.refuse(
                node, f"forward must return the output at each step, alone or first; it has {what}"
            )

    def _usable(self, node: fx.Node, tensors: Mapping[str, Tensor]) -> bool:
        """Whether weights can be stored in fp32 without loss."""
        whys = {name: self._unusable(tensor) for name, tensor in tensors.items()}
        for name, why in whys.items():
            if why:
                self.refuse(node, f"{name} {why}")
        return not any(whys.values())

    def _unusable(self, tensor: Tensor) -> str:
        """Why a tensor can't be stored, or nothing."""
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            return "must be an ordinary tensor that holds numbers, not sparse, quantized or meta"
        if tensor.dtype not in _EXACT_IN_FP32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            return (
                f"is {dtype}, and packed models hold fp32; call float() on the model if that is"
                " meant"
            )
        key = tensor_key(tensor)
        if key not in self._finite:
            self._finite[key] = bool(tensor.isfinite().all())
        return "" if self._finite[key] else "is not finite: it holds NaN or infinity"

    def _unique_name(self, node: fx.Node) -> str:
        """A layer name from the module's path, or from the operation."""
        if node.op == "call_module":
            base = str(node.target) or type(self.trace.module(node)).__name__.lower()
        else:
            base = node.name
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", base)[:_LONGEST_NAME]
        if not re.match(r"[A-Za-z_]", base):
            base = f"layer{base}"
        name = next(n for n in _numbered(base) if n not in self._names)
        self._names.add(name)
        return name


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in count(2):
        yield f"{base}_{number}"


def has_foreign_hooks(module: nn.Module) -> bool:
    """Whether a module has forward hooks of others than ours."""
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return any(not is_ours(hook) for hook in hooks)
