"""Cuts a model into units of work and gives each a pass over the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csbrnn.cells import Direction
from csbrnn.model import Combine, Embedding, Layer, PackedModel, Recurrent

__all__ = ["INPUT", "Schedule", "Unit", "schedule"]

#: The unit that stands for the model's input.
INPUT = "input"


@dataclass(frozen=True)
class Unit:
    """What is computed as a whole in one pass: one layer, or one direction of a stack's layer.

    Attributes:
        name: The layer's name; for a part of a stack, followed by ``"/l0"`` or ``"/l0_reverse"``.
        layer: The layer.
        sources: For each input of the unit, the units whose outputs make it up, concatenated.
        length: Length of the output.
        direction: Which part of a stack it is; None for other layers.
    """

    name: str
    layer: Layer
    sources: tuple[tuple[str, ...], ...]
    length: int
    direction: Direction | None = None

    @property
    def level(self) -> str:
        """The name without the direction."""
        return self.name.removesuffix("_reverse") if self.direction else self.name


@dataclass(frozen=True)
class Schedule:
    """Which unit runs when.

    Attributes:
        units: By name, in an order in which each follows its sources.
        reverse: For each pass, whether time runs backward.
        passes: Unit -> its pass. The input and embeddings aren't listed: they can be read, or
            looked up, in every pass.
        output: The units whose outputs, concatenated, are the model's.
    """

    units: Mapping[str, Unit]
    reverse: tuple[bool, ...]
    passes: Mapping[str, int]
    output: tuple[str, ...]


def schedule(model: PackedModel) -> Schedule:
    """Gives every unit of a verified model the earliest pass in which it can run.

    A unit runs in the pass of its latest source or, when that runs in the other direction of time,
    in the next that suits. So a causal model takes one pass, and a bidirectional stack one pass a
    layer and one more. Layers without use are left out, save recurrent ones: they have states.
    """
    units, output = _units(model)
    reverse: list[bool] = []
    passes: dict[str, int] = {}
    for unit in units.values():
        if isinstance(unit.layer, Embedding):
            continue
        number = max((passes.get(s, -1) for source in unit.sources for s in source), default=-1)
        number = max(number, 0)
        wanted = unit.direction.reverse if unit.direction else None
        while number < len(reverse) and wanted not in (None, reverse[number]):
            number += 1
        if number == len(reverse):
            reverse.append(bool(wanted))
        passes[unit.name] = number
    return Schedule(units, tuple(reverse or [False]), passes, output)


def _units(model: PackedModel) -> tuple[dict[str, Unit], tuple[str, ...]]:
    units: dict[str, Unit] = {}
    outputs: dict[str, tuple[str, ...]] = {INPUT: (INPUT,)}  # layer -> the units that make it up
    for layer in model.layers:
        sources = tuple(outputs[name] for name in layer.inputs)
        if isinstance(layer, Combine) and layer.function == "concatenate":
            outputs[layer.name] = tuple(unit for source in sources for unit in source)
        elif isinstance(layer, Recurrent):
            for unit in _stack_units(layer, sources[0]):
                units[unit.name] = unit
            top = layer.stack.num_layers - 1
            outputs[layer.name] = tuple(
                u.name
                for u in units.values()
                if u.layer is layer and u.direction and u.direction.layer == top
            )
        else:
            signal = layer.output([model.signals[name] for name in layer.inputs])
            assert signal is not None
            units[layer.name] = Unit(layer.name, layer, sources, signal.size)
            outputs[layer.name] = (layer.name,)
    needed = set(outputs[model.output])
    for unit in reversed(units.values()):
        if unit.name in needed or unit.direction:
            needed.update(s for source in unit.sources for s in source)
            needed.add(unit.name)
    return {n: u for n, u in units.items() if n in needed}, outputs[model.output]


def _stack_units(layer: Recurrent, source: tuple[str, ...]) -> list[Unit]:
    units: list[Unit] = []
    below: tuple[str, ...] = source
    for direction in layer.stack.directions():
        if units and units[-1].direction and units[-1].direction.layer < direction.layer:
            below = tuple(u.name for u in units[-layer.stack.num_directions :])
        name = f"{layer.name}/{direction.suffix[1:]}"
        units.append(Unit(name, layer, (below,), layer.stack.direction_size, direction))
    return units
