"""Training that sees rounded weights: while a forward pass runs, modules read what will ship.

A parameter is never overwritten. From the beginning of a forward pass to its end, the modules that
own a weight have an attribute of the same name, which Python finds before the parameter: the
rounded weight, an ordinary result of autograd whose gradient goes straight through. Optimizers,
``state_dict``, ``parameters()`` and gradient hooks reach the parameter, at all times.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.numerics import FP32, Precision
from csbrnn.pruning.compiled import forget_compiled
from csbrnn.pruning.rounding import ROUNDING_DTYPES, rounded, straight_through
from csbrnn.pruning.weak_hook import WeakHook

__all__ = ["ForwardRounding", "RoundedWeight"]


@final
@dataclasses.dataclass(eq=False)
class RoundedWeight:
    """A weight that forward passes see rounded.

    Attributes:
        names: Its qualified names in the model.
        parameter: The weight itself, always at full precision.
        places: Every (module, attribute) that holds it.
        seen: Whether a forward pass has rounded it since the last optimizer step.
    """

    names: tuple[str, ...]
    parameter: nn.Parameter
    places: tuple[tuple[weakref.ref[nn.Module], str], ...]
    seen: bool = False

    # The rounded weight that stands in its places, the state of the parameter it was made from,
    # and how many forward passes that have not ended need it.
    _shown: Tensor | None = None
    _source: tuple[int, int] = (0, 0)
    _users: int = 0

    def show(self, precision: Precision) -> None:
        """Puts the rounded weight in all places, for one more user."""
        parameter = self.parameter
        for module, attribute in self._owners():
            if module._parameters.get(attribute) is not parameter:
                raise CsbrnnError(
                    f"{self.names[0]} is another tensor in this forward pass than the one that is"
                    f" trained for {precision.name}: torch.func.functional_call gave it, or it was"
                    " replaced, and the rounded weight would run in its place; train for a"
                    " precision without either. torch.export does so, too: call detach() of the"
                    " finalized pruner before"
                )
        source = (parameter._version, parameter.data_ptr())
        if self._shown is None or source != self._source:
            if parameter.dtype not in ROUNDING_DTYPES:
                raise CsbrnnError(
                    f"{self.names[0]} must stay float32 (or float64) while it is trained for"
                    f" {precision.name}, but is {parameter.dtype}; for mixed precision use"
                    " torch.autocast"
                )
            # It asks for gradients even where they are off, as a parameter does: a forward pass may
            # turn them on inside, and kernels are chosen by it.
            with torch.inference_mode(False), torch.enable_grad():
                self._shown, self._source = straight_through(parameter, precision), source
            for module, attribute in self._owners():
                module.__dict__[attribute] = self._shown
                _note_replacement(module, attribute, self._shown)
        self._users += 1
        self.seen = True

    def hide(self, *, at_once: bool = False) -> None:
        """Lets the places have the parameter back, when the last user is done or at once."""
        self._users = 0 if at_once else max(0, self._users - 1)
        if self._users or self._shown is None:
            return
        for module, attribute in self._owners():
            if module.__dict__.get(attribute) is self._shown:
                del module.__dict__[attribute]
            parameter = module._parameters.get(attribute)
            if parameter is not None:
                _note_replacement(module, attribute, parameter)
        self._shown = None

    def _owners(self) -> Iterator[tuple[nn.Module, str]]:
        for reference, attribute in self.places:
            module = reference()
            if module is not None:
                yield module, attribute


@final
class ForwardRounding:
    """The forward hooks of a model in training for a precision.

    A forward pass of the model rounds every weight once, however often the modules inside run;
    one of a module alone (``model.encoder(x)``) rounds that module's. Any number of forward passes
    may come before an optimizer step, in training or in evaluation mode, with gradients or
    without. What reads a weight outside of any forward pass gets the parameter.

    Activations are not rounded, though int8 products round theirs when deployed: fused recurrent
    layers don't give access to them.

    Args:
        model: The model, unwrapped.
        weights: The weights to round.
        precision: To what.

    Attributes:
        active: Whether forward passes round now.
    """

    def __init__(
        self, model: nn.Module, weights: Sequence[RoundedWeight], precision: Precision
    ) -> None:
        self.weights = tuple(weights)
        self.precision = precision
        self.active = False
        self._weights_of: weakref.WeakKeyDictionary[nn.Module, list[RoundedWeight]] = (
            weakref.WeakKeyDictionary()
        )
        for weight in self.weights:
            for reference, _ in weight.places:
                module = reference()
                assert module is not None
                mine = self._weights_of.setdefault(module, [])
                if weight not in mine:
                    mine.append(weight)
        if self.weights:
            self._weights_of[model] = list(self.weights)
        # Module -> its forward passes that have begun and not ended.
        self._running: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
        self._handles = [
            handle
            for module in list(self._weights_of)
            for handle in (
                module.register_forward_pre_hook(
                    WeakHook(self, _begin), prepend=True, with_kwargs=True
                ),
                module.register_forward_hook(
                    WeakHook(self, _end), always_call=True, with_kwargs=True
                ),
            )
        ]
        if self._handles:
            forget_compiled()

    def begin(self, module: nn.Module) -> None:
        """Shows the rounded weights of a module whose forward pass begins."""
        if not self.active:
            return
        if getattr(module, "_is_replica", False):
            raise CsbrnnError(
                "DataParallel runs copies of the model, whose weights are not rounded; train for"
                f" {self.precision.name} with DistributedDataParallel"
            )
        weights = self._weights_of.get(module)
        if weights is None:  # a shallow copy of a module that shares its hooks
            return
        self._running[module] = self._running.get(module, 0) + 1
        for weight in weights:
            weight.show(self.precision)

    def end(self, module: nn.Module) -> None:
        """Hides them again; also called where the forward pass failed."""
        running = self._running.get(module, 0)
        if running:
            self._running[module] = running - 1
            for weight in self._weights_of[module]:
                weight.hide()

    def reset(self) -> None:
        """Hides all rounded weights, also those of forward passes that an interrupt cut short."""
        self._running.clear()
        for weight in self.weights:
            weight.hide(at_once=True)

    def activate(self, active: bool) -> None:
        """Lets forward passes round, or not, from now on; none may be running."""
        self.reset()
        before, self.active = self.active, active and bool(self.weights)
        if self.active != before:
            forget_compiled()

    def unseen(self) -> list[str]:
        """Returns the weights that have a gradient and were not rounded since the last call."""
        names = [w.names[0] for w in self.weights if w.parameter.grad is not None and not w.seen]
        for weight in self.weights:
            weight.seen = False
        return names if self.active else []

    @torch.no_grad()
    def project(self) -> None:
        """Rounds the parameters in place: they are then stored without loss.

        Raises:
            ArgumentError: A weight is not finite; none has been changed then.
        """
        self.reset()
        values = [rounded(weight.parameter, self.precision) for weight in self.weights]
        bad = [
            weight.names[0]
            for weight in self.weights
            if not bool(torch.isfinite(weight.parameter).all())
        ]
        if bad:
            raise ArgumentError(
                f"weights must be finite to be rounded to {self.precision.name}, but"
                f" {', '.join(bad)} hold NaN or infinity; training diverged"
            )
        for weight, value in zip(self.weights, values, strict=True):
            weight.parameter.copy_(value)

    def precision_of(self, parameter_name: str) -> Precision:
        """Returns the precision that a weight is trained for, by its qualified name."""
        known = any(parameter_name in weight.names for weight in self.weights)
        return self.precision if known else FP32

    def close(self) -> None:
        """Takes the hooks off the model, for good."""
        self.activate(False)
        self.weights = ()
        for handle in self._handles:
            handle.remove()


def _begin(
    owner: ForwardRounding, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if not _is_traced(args, kwargs):
        owner.begin(module)


def _end(
    owner: ForwardRounding,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    if not _is_traced(args, kwargs):
        owner.end(module)


def _is_traced(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Symbolic tracing records what is read, not values: it must find the parameters."""
    return any(isinstance(value, fx.Proxy) for value in (*args, *kwargs.values()))


def _note_replacement(module: nn.Module, attribute: str, value: Tensor) -> None:
    """Tells torch.nn's recurrent layers, which keep a list of their weights besides.

    The list is what their kernels read; the references beside it, where torch has them, are how
    they notice that a weight was replaced and the list must be made again.
    """
    if isinstance(module, nn.RNNBase) and attribute in module._flat_weights_names:
        index = module._flat_weights_names.index(attribute)
        module._flat_weights[index] = value
        references: list[Any] = module._flat_weight_refs
        references[index] = weakref.ref(value)
