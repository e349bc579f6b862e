"""`run_reference`: what a packed model computes, slowly and plainly. The oracle of every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from csbrnn.cells import run_stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import Matrix
from csbrnn.model.graph import INPUT, PackedModel
from csbrnn.model.layers import (
    Activation,
    Combine,
    Embedding,
    Features,
    Layer,
    Linear,
    Recurrent,
)
from csbrnn.numerics import log_softmax, softmax

__all__ = ["States", "run_reference"]

Array: TypeAlias = NDArray[np.floating[Any]]
States: TypeAlias = dict[str, dict[str, Array]]
"""Name of a recurrent layer -> name of a state -> (layers * directions, [batch,] length)."""


def run_reference(
    model: PackedModel,
    xs: NDArray[Any],
    states: Mapping[str, Mapping[str, Array]] | None = None,
    dtype: DTypeLike = np.float64,
) -> tuple[Array, States]:
    """Run a verified model over a sequence, in ``dtype`` throughout.

    Weights in bf16 and int8 are taken for the numbers they stand for, and nothing else is rounded:
    with float64 the result is the ideal that a target can come close to. What integer products
    give to the last bit, quantized activations included, `csbrnn.compiler.run_program` tells.

    Args:
        model: A model that `verify` accepts.
        xs: The sequence: features, or tokens as integers.
        states: As returned for the sequence before; zero if left out.
        dtype: Precision of the computation.

    Shape:
        xs: (seq_len, size) or (seq_len, batch, size) features, or
            (seq_len,) or (seq_len, batch) tokens
        returns: (seq_len, output_size) or (seq_len, batch, output_size), and the states

    Raises:
        ArgumentError: ``xs`` or ``states`` do not fit the model.
    """
    xs = np.asarray(xs)
    signals: dict[str, NDArray[Any]] = {INPUT: _checked_input(model, xs, dtype)}
    batch = signals[INPUT].shape[1 : xs.ndim - isinstance(model.input, Features)]
    states = _checked_states(model, states, batch, np.dtype(dtype))
    after: States = {}
    # Weights near the largest fp32 may overflow: that is what such a model computes.
    with np.errstate(all="ignore"):
        for layer in model.layers:
            sources = [signals[name] for name in layer.inputs]
            if isinstance(layer, Recurrent):
                parameters = {name: _dense(p, dtype) for name, p in layer.parameters.items()}
                signals[layer.name], after[layer.name] = run_stack(
                    layer.stack, parameters, sources[0], states.get(layer.name)
                )
            else:
                signals[layer.name] = _feed_forward(layer, sources, dtype)
    return signals[model.output], after


def _feed_forward(layer: Layer, sources: list[NDArray[Any]], dtype: DTypeLike) -> Array:
    match layer:
        case Embedding():
            table: Array = _dense(layer.weight, dtype)[sources[0]]
            return table
        case Linear():
            product: Array = sources[0] @ _dense(layer.weight, dtype).T
            return product if layer.bias is None else product + _dense(layer.bias, dtype)
        case Activation():
            return _activate(layer.function, sources[0])
        case Combine(function="concatenate"):
            return np.concatenate(sources, axis=-1)
        case Combine():
            operation = {"add": np.add, "multiply": np.multiply}[layer.function]
            result: Array = sources[0]
            for source in sources[1:]:
                result = operation(result, source)
            return result
    raise AssertionError(f"a layer of kind {layer.KIND} is not computed here")


def _activate(function: str, x: Array) -> Array:
    y: Array
    if function == "relu":
        y = np.maximum(x, 0)
    elif function == "tanh":
        y = np.tanh(x)
    elif function == "sigmoid":
        # tanh saturates where exp would overflow.
        y = 0.5 * (1 + np.tanh(0.5 * x))
    else:
        y = softmax(x) if function == "softmax" else log_softmax(x)
    return y


def _dense(parameter: Matrix | NDArray[Any], dtype: DTypeLike) -> Array:
    values = parameter.to_dense() if isinstance(parameter, Matrix) else parameter
    dense: Array = values.astype(dtype)
    return dense


def _checked_input(model: PackedModel, xs: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    if isinstance(model.input, Features):
        if xs.ndim not in (2, 3) or xs.shape[-1] != model.input.size:
            raise ArgumentError(
                f"xs must have shape (seq_len, {model.input.size}) or"
                f" (seq_len, batch, {model.input.size}), not {xs.shape}"
            )
        return xs.astype(dtype)
    if xs.ndim not in (1, 2) or not np.issubdtype(xs.dtype, np.integer):
        raise ArgumentError(
            "xs must hold integers, of shape (seq_len,) or (seq_len, batch),"
            f" not {xs.dtype} of shape {xs.shape}"
        )
    if xs.size and not 0 <= int(xs.min()) <= int(xs.max()) < model.input.vocabulary:
        raise ArgumentError(
            f"tokens must lie in 0..{model.input.vocabulary - 1}, not {xs.min()}..{xs.max()}"
        )
    return xs


def _checked_states(
    model: PackedModel,
    states: Mapping[str, Mapping[str, Array]] | None,
    batch: tuple[int, ...],
    dtype: np.dtype[Any],
) -> States:
    if states is None:
        return {}
    expected = {
        layer.name: {
            state: (count, *batch, length)
            for state, (count, length) in layer.stack.state_shapes().items()
        }
        for layer in model.layers
        if isinstance(layer, Recurrent)
    }
    got = {
        name: {state: np.shape(value) for state, value in layer.items()}
        for name, layer in states.items()
    }
    if got != expected:
        raise ArgumentError(f"states must have the shapes {expected}, not {got}")
    return {
        name: {state: np.asarray(value, dtype) for state, value in layer.items()}
        for name, layer in states.items()
    }
