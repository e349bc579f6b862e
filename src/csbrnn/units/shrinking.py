"""`shrink`: the smaller dense network inside one whose hidden units were pruned away."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from csbrnn import model as packed
from csbrnn.cells import Stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix, Matrix, encode
from csbrnn.units.liveness import dense_values, live_units
from csbrnn.units.spaces import Space, Spaces, Weight, find_spaces

__all__ = ["Kept", "kept_units", "places", "resized", "shrink", "state_sizes"]

Kept = Mapping[Space, NDArray[np.int64]]
"""Space -> the units that stay, in order."""

M = TypeVar("M")  # PackedModel or torch.nn.Module: which classes there are, torch knows


def shrink(model: M) -> M:
    """Returns the network without the units that are zero everywhere; the model is left alone.

    A unit goes with its rows in all gates, its biases, and its columns wherever it is read: if it
    never leaves zero (its rows and biases are zero), or if nothing that reaches the output reads
    it (its columns are zero). Outputs are the same as long as states begin with zero, up to the
    rounding of sums with fewer terms. A unit with zero rows and a bias is not zero, and stays as
    long as it is read; pruning with ``scope="units"`` removes biases too.

    The layers and directions of one recurrent layer have one hidden size: that of the one which
    needs most.

    Args:
        model: A packed model, or a torch module that `csbrnn.pack` could pack. What a module's
            forward writes down as a number (``x.view(-1, 512)``, ``torch.zeros(1, n, 512)``)
            does not shrink with it.

    Returns:
        A packed model; or a module of the same class, with smaller layers and new parameters.

    Raises:
        ArgumentError: ``model`` is neither.
        UnsupportedModelError: The module can't be followed, or the packed model is not valid;
            with all reasons.

    Reference:
        Ours; the structures are those of Wen et al., "Learning Intrinsic Sparse Structures within
        LSTM" (ICLR 2018).
    """
    if isinstance(model, packed.PackedModel):
        spaces = find_spaces(model)
        return cast(M, _shrink_packed(spaces, kept_units(spaces)))
    if "torch" in sys.modules:  # nobody has a module without it
        from torch import nn

        from csbrnn.units.shrink_module import shrink_module

        if isinstance(model, nn.Module):
            return cast(M, shrink_module(model))
    raise ArgumentError(
        f"shrink takes a PackedModel or a torch.nn.Module, not {type(model).__name__}"
    )


def kept_units(spaces: Spaces) -> Kept:
    """Returns the units that stay: those that matter, and as many more as sizes need.

    Directions of a layer keep one size; and a layer that projects keeps more units than it projects
    to, if it had more: torch.nn.LSTM tells a projection by that.
    """
    live = live_units(spaces)
    for marks in live.values():
        # A layer can't be empty.
        if marks.size and not marks.any():
            marks[0] = True
    families = _families(spaces)
    changed = True
    while changed:
        changed = False
        for family, wider_than in families:
            most = max(int(live[space].sum()) for space in family)
            for space in wider_than:
                most = max(most, int(live[space].sum()) + 1)
            for space in family:
                missing = most - int(live[space].sum())
                changed |= missing > 0
                live[space][np.flatnonzero(~live[space])[:missing]] = True
    return {space: np.flatnonzero(marks) for space, marks in live.items()}


def _families(spaces: Spaces) -> list[tuple[list[Space], list[Space]]]:
    """Spaces of a layer that must keep one size; with each, spaces that must keep less."""
    found = []
    for layer in spaces.model.layers:
        if isinstance(layer, packed.Recurrent):
            stack = layer.stack
            of = {
                dimension: [spaces.state(layer.name, d, dimension) for d in stack.directions()]
                for dimension in sorted(stack.cell.dimensions - {"input"})
            }
            for dimension, family in of.items():
                less = dimension == "hidden" and 0 < stack.proj_size < stack.hidden_size
                found.append((family, of["proj"] if less else []))
    return found


def places(axis: Sequence[Space], kept: Kept) -> NDArray[np.int64]:
    """Returns where along an axis the units are that stay."""
    starts = np.cumsum([0, *(space.size for space in axis)])
    return np.concatenate(
        [start + kept[space] for start, space in zip(starts, axis, strict=False)]
    ).astype(np.int64)


def _shrink_packed(spaces: Spaces, kept: Kept) -> packed.PackedModel:
    model = spaces.model
    smaller: dict[int, Weight] = {}

    def cut(weight: Weight) -> Weight:
        if id(weight) not in smaller:
            smaller[id(weight)] = _cut(spaces, weight, kept)
        return smaller[id(weight)]

    layers: list[packed.Layer] = []
    for layer in model.layers:
        match layer:
            case packed.Embedding(weight=weight):
                layer = replace(layer, weight=cast(Matrix, cut(weight)))
            case packed.Linear(weight=weight, bias=bias):
                less = None if bias is None else cast(packed.Vector, cut(bias))
                layer = replace(layer, weight=cast(Matrix, cut(weight)), bias=less)
            case packed.Recurrent(stack=stack, parameters=parameters):
                below = sum(len(kept[s]) for s in spaces.signal(layer.inputs[0]))
                layer = replace(
                    layer,
                    stack=resized(stack, below, state_sizes(spaces, layer, kept)),
                    parameters={name: cut(weight) for name, weight in parameters.items()},
                )
        layers.append(layer)
    result = replace(model, layers=tuple(layers))
    packed.verify(result)
    return result


def state_sizes(spaces: Spaces, layer: packed.Recurrent, kept: Kept) -> dict[str, int]:
    """Returns the sizes of a recurrent layer's states afterwards, as `Stack` names them."""
    first = next(layer.stack.directions())
    return {
        f"{dimension}_size": len(kept[spaces.state(layer.name, first, dimension)])
        for dimension in sorted(layer.stack.cell.dimensions - {"input"})
    }


def resized(stack: Stack, input_size: int, sizes: Mapping[str, int]) -> Stack:
    """Returns a stack of other sizes; ``sizes`` as `state_sizes` returns them."""
    proj_size = sizes.get("proj_size", 0)
    return replace(
        stack, input_size=input_size, hidden_size=sizes["hidden_size"], proj_size=proj_size
    )


def _cut(spaces: Spaces, weight: Weight, kept: Kept) -> Weight:
    axes = spaces.axes(weight)
    found = [places(axis, kept) for axis in axes]
    if all(len(p) == sum(s.size for s in axis) for p, axis in zip(found, axes, strict=True)):
        return weight
    array = np.ascontiguousarray(dense_values(weight)[np.ix_(*found)])
    if not isinstance(weight, Matrix):
        return array
    # What is left is often dense; otherwise its blocks are no longer where the pattern had them.
    smaller = encode(array, [] if isinstance(weight, DenseMatrix) else None, weight.precision)
    if np.array_equal(smaller.to_dense(), array):
        return smaller
    # The largest weight of a row went, which its scale came from: keep integers and scales.
    values, scales = weight.to_quantized()
    rows, columns = found
    return DenseMatrix(
        np.ascontiguousarray(values[np.ix_(rows, columns)]),
        weight.precision,
        None if scales is None else scales[rows],
    )
