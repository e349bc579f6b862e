"""A torch module's forward as a graph: symbolic tracing, with places that people can find."""

from __future__ import annotations

import inspect
import operator
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from csbrnn.errors import UnsupportedModelError
from csbrnn.nn.operators import IDENTITY_MODULES, argument
from csbrnn.nn.rnn_layers import CELL_MODULES, SEQUENCE_MODULES, stack_of

__all__ = ["AUTOCAST", "LEAVES", "Trace", "is_leaf", "trace"]

#: Modules that tracing does not look into. Subclasses count as long as they inherit ``forward``.
LEAVES: tuple[type[nn.Module], ...] = (*SEQUENCE_MODULES, *CELL_MODULES, nn.Embedding, nn.Linear)

#: In a node's ``meta``: whether it would compute in another precision.
AUTOCAST = "csbrnn autocast"

#: What ``+=`` and its kin call.
_AUGMENTED = (operator.iadd, operator.isub, operator.imul, operator.itruediv)

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class Trace:
    """What a module's forward does with its input.

    Attributes:
        root: The module.
        graph: Its forward; only the operations that the output depends on matter.
    """

    root: nn.Module
    graph: fx.Graph

    def module(self, node: fx.Node) -> nn.Module:
        """The module which a ``call_module`` node calls."""
        return self.root.get_submodule(str(node.target))

    def attribute(self, node: fx.Node) -> Any:
        """The value which a ``get_attr`` node reads."""
        return operator.attrgetter(str(node.target))(self.root)

    def overwritten(self, node: fx.Node) -> fx.Node | None:
        """The tensor that a node changes in place; None if it makes a new one."""
        name, source = _target_name(node), next(iter(node.args), None)
        if node.op == "call_module":
            module = self.module(node)
            in_place = bool(getattr(module, "inplace", False))
            in_place = in_place and not isinstance(module, IDENTITY_MODULES)
        elif node.target is functional.dropout and not argument(
            node.args, node.kwargs, 2, "training", True
        ):
            in_place = False
        else:
            named = name.endswith("_") and not name.startswith("_") and name != "requires_grad_"
            in_place = named or bool(node.kwargs.get("inplace")) or "out" in node.kwargs
            in_place = in_place or node.target in _AUGMENTED
        return source if in_place and isinstance(source, fx.Node) else None

    def place(self, node: fx.Node) -> str:
        """Where a node stands, for messages: ``encoder.rnn (LSTM), model.py line 12``."""
        if node.op == "call_module":
            what = f"{node.target or 'the model'} ({type(self.module(node)).__name__})"
        else:
            modules: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
            owner = next((path for path, _ in reversed(modules.values()) if path), "")
            what = f"{owner}: {_target_name(node)}" if owner else _target_name(node)
        frames = [f for f in _FRAME.finditer(node.stack_trace or "") if _is_users(f["file"])]
        if not frames:
            return what
        return f"{what}, {Path(frames[-1]['file']).name} line {frames[-1]['line']}"


def trace(module: nn.Module) -> list[Trace]:
    """Traces a module's forward as it is in evaluation mode.

    Parameters of forward other than the first keep their defaults. Where a default is None, a
    second trace passes a value instead: states, which callers hand from step to step.

    Args:
        module: The module; its mode is left as it was, and what forward keeps in attributes.

    Raises:
        UnsupportedModelError: Forward can't be traced; says where and what to do.
    """
    if is_leaf(module):
        recurrent = isinstance(module, SEQUENCE_MODULES + CELL_MODULES)
        return [_call(module, with_states) for with_states in (False, True)[: 1 + recurrent]]
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    not_states = {name: value for name, value in defaults.items() if value is not None}
    with _evaluation(module):
        traces = [_trace(module, defaults)]
        if not_states != defaults:
            # It may fail, e.g. at a condition on the states; then the first trace stands alone.
            with suppress(UnsupportedModelError):
                traces.append(_trace(module, not_states))
    return traces


class _Proxy(fx.Proxy):
    """A symbol that knows ``y += z`` from ``y = y + z``: of tensors, the former changes ``y``."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._augmented(operator.itruediv, other)

    def _augmented(self, function: Callable[[Any, Any], Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.record_stack_traces = True
        self._before = _autocast()  # around the whole: that is no part of the forward

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Notes what forward itself puts under torch.autocast."""
        node = super().create_node(*args, **kwargs)
        node.meta[AUTOCAST] = bool(_autocast() - self._before)
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The symbol that stands for a node's result."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` is one operation; its forward is not looked into."""
        return is_leaf(m) or super().is_leaf_module(m, module_qualified_name)


def _autocast() -> set[str]:
    return {device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)}


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one of `LEAVES`, and computes what that does."""
    kind = type(module)
    return any(issubclass(kind, leaf) and kind.forward is leaf.forward for leaf in LEAVES)


def _trace(module: nn.Module, fixed: dict[str, Any]) -> Trace:
    try:
        return Trace(module, _Tracer().trace(module, fixed or None))
    except Exception as error:  # the module's own code, run on symbolic values, may raise anything
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
        place = f"{Path(frames[-1].filename).name} line {frames[-1].lineno}: " if frames else ""
        lines = " ".join(frame.line or "" for frame in frames)
        if re.search(
            r"pack_padded_sequence|pad_packed_sequence|pack_sequence|PackedSequence", lines
        ):
            raise UnsupportedModelError(
                f"can't pack {type(module).__name__}",
                [
                    f"{place}packed sequences (torch.nn.utils.rnn) can't be carried, for a packed"
                    " model runs streams without padding: let forward give the plain tensor to the"
                    " recurrent layer in evaluation mode (if not self.training), or where it gets"
                    " no lengths"
                ],
            ) from error
        raise UnsupportedModelError(
            f"can't pack {type(module).__name__}",
            [
                f"{place}forward can't be traced ({type(error).__name__}: {error}). A loop over "
                "time, a condition on values or a conversion to a number has no fixed graph: use "
                "a module that runs over the sequence (nn.LSTM, csbrnn.nn.Recurrent), or write "
                "forward for one step, as forward(x, states) -> (y, states)"
            ],
        ) from error


def _call(module: nn.Module, with_states: bool) -> Trace:
    """A bare leaf as a model: one call, with its states passed through where asked."""
    graph = fx.Graph()
    inputs = [graph.placeholder(name) for name in ("input", "states")[: 1 + with_states]]
    result = graph.call_module("", tuple(inputs))
    if isinstance(module, CELL_MODULES):
        single = len(stack_of(module)[0].cell.states) == 1
        output = result if single else graph.call_function(operator.getitem, (result, 0))
        graph.output((output, result))
    else:
        graph.output(result)
    return Trace(module, graph)


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which modes and attributes are as they were.

    Forward may keep states, outputs or counts in attributes: of a traced one they would be symbols.
    """
    modes = {m: m.training for m in module.modules()}
    module.eval()
    attributes = {m: dict(m.__dict__) for m in modes}
    buffers = {m: dict(m._buffers) for m in modes}
    try:
        yield
    finally:
        for m in modes:
            m.__dict__.clear()
            m.__dict__.update(attributes[m])
            m._buffers.update(buffers[m])
        # Only now, for a module's mode is its parts' as well.
        for m, training in modes.items():
            if m.training != training:
                m.train(training)  # its own, if it does more than set the mode


def _is_users(file: str) -> bool:
    return not file.startswith((_TORCH, "<")) and Path(file) != Path(__file__)


def _target_name(node: fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))
