"""Which units of a network matter: those that are not always zero, and that something reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from csbrnn import model as packed
from csbrnn.cells import split_parts
from csbrnn.formats import Matrix
from csbrnn.units.silence import Marks, silent_states
from csbrnn.units.spaces import Axis, Space, Spaces, Weight, offsets

__all__ = ["dense_values", "live_units"]


def live_units(spaces: Spaces) -> dict[Space, Marks]:
    """Finds the units without which a network that begins with zero states gives other outputs.

    A unit goes if its value never leaves zero, whatever the input; or if no path of weights that
    are not zero leads from it to the output. Units of the input and output always stay.

    Returns:
        Space -> marks of the units that stay.
    """
    silent = _silent(spaces)
    live = {space: np.full(space.size, bool(space.fixed)) for space in spaces.all()}
    # Back from the output: a unit matters if one that matters reads it.
    readers = [w for w in spaces.weights() if isinstance(w, Matrix) and spaces.makes(w, 0)]
    present = [(spaces.axes(weight), dense_values(weight) != 0) for weight in readers]
    changed = True
    while changed:
        changed = False
        for (rows, columns), there in present:
            read = there[_along(rows, live)].any(0)
            for space, start in offsets(columns):
                more = live[space] | read[start : start + space.size]
                changed |= bool((more != live[space]).any())
                live[space] = more
    return {
        space: marks if space.fixed else marks & ~silent[space] for space, marks in live.items()
    }


def dense_values(weight: Weight) -> NDArray[np.float32]:
    """Returns the values of a weight as an array."""
    return weight.to_dense() if isinstance(weight, Matrix) else weight


def _along(axis: Sequence[Space], marks: Mapping[Space, Marks]) -> Marks:
    return np.concatenate([marks[space] for space in axis])


def _silent(spaces: Spaces) -> dict[Space, Marks]:
    """Marks the units that are always zero for all who read them."""
    found: dict[Space, Marks] = {}

    def note(axis: Axis, marks: Marks) -> None:
        for space, start in offsets(axis):
            own = marks[start : start + space.size] & space.keeps_zero
            found[space] = found[space] & own if space in found else own

    signals: dict[str, Marks] = {
        packed.INPUT: np.zeros(sum(s.size for s in spaces.signal(packed.INPUT)), bool)
    }
    for layer in spaces.model.layers:
        sources = [signals[name] for name in layer.inputs]
        if isinstance(layer, packed.Recurrent):
            signals[layer.name] = _recurrent(spaces, layer, sources[0], note)
        else:
            signals[layer.name] = _layer(layer, sources)
            note(spaces.signal(layer.name), signals[layer.name])
    return {space: found.get(space, np.zeros(space.size, bool)) for space in spaces.all()}


def _layer(layer: packed.Layer, sources: list[Marks]) -> Marks:
    marks: Marks
    match layer:
        case packed.Embedding(weight=weight):
            marks = np.logical_not(dense_values(weight).any(0))
        case packed.Linear(weight=weight, bias=bias):
            marks = np.logical_not((dense_values(weight) != 0)[:, ~sources[0]].any(1))
            if bias is not None:
                marks = marks & (bias == 0)
        case packed.Activation(function=function):
            marks = sources[0] if function in ("relu", "tanh") else np.zeros_like(sources[0])
        case packed.Combine(function="concatenate"):
            marks = np.concatenate(sources)
        case packed.Combine(function="multiply"):
            marks = np.logical_or.reduce(sources)
        case _:
            marks = np.logical_and.reduce(sources)
    return marks


def _recurrent(
    spaces: Spaces,
    layer: packed.Recurrent,
    below: Marks,
    note: Callable[[Axis, Marks], None],
) -> Marks:
    stack, outputs = layer.stack, list[Marks]()
    for position, direction in enumerate(stack.directions()):
        if outputs and position % stack.num_directions == 0:
            below, outputs = np.concatenate(outputs), []
        values = {
            p.name: dense_values(layer.parameters[p.name + direction.suffix])
            for p in stack.cell.parameters
            if p.name + direction.suffix in layer.parameters
        }
        parts = {
            name: part
            for name, part in split_parts(stack.cell, values).items()
            if isinstance(part, np.ndarray)
        }
        states = silent_states(stack.cell, parts, below, direction.sizes)
        for dimension in sorted(stack.cell.dimensions - {"input"}):
            own = [m for s, m in states.items() if stack.cell.states[s] == dimension]
            space = spaces.state(layer.name, direction, dimension)
            note([space], np.logical_and.reduce(own) if own else np.zeros(space.size, bool))
        outputs.append(states[stack.cell.output])
    return np.concatenate(outputs)
