"""Lowers a packed model to a program."""

from __future__ import annotations

from itertools import accumulate, chain

from csbrnn.cells import Direction
from csbrnn.compiler.builder import ProgramBuilder
from csbrnn.compiler.cell_lowering import CellContext, lower_cell
from csbrnn.compiler.copies import remove_copies
from csbrnn.compiler.fuse import fuse_gates
from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    Instruction,
    Lookup,
    MatVec,
    MicroOp,
    Pass,
    Program,
    Slice,
    Softmax,
    Stream,
)
from csbrnn.compiler.schedule import INPUT, Schedule, Unit, schedule
from csbrnn.compiler.verify import verify_program
from csbrnn.model import (
    Activation,
    Combine,
    Embedding,
    Linear,
    PackedModel,
    Recurrent,
    Tokens,
    verify,
)

__all__ = ["lower"]


def lower(model: PackedModel, *, fuse: bool = True) -> Program:
    """Compiles a packed model to a verified program.

    Sums of parameter vectors (an LSTM's two biases) are folded: added in float64, rounded once.

    Args:
        model: The model.
        fuse: Whether to use `LSTMGates` and `GRUGates` where they fit.

    Raises:
        UnsupportedModelError: The model is not valid; with all reasons.
    """
    verify(model)
    program = remove_copies(_ModelLowering(model, schedule(model)).run())
    if fuse:
        program = fuse_gates(program)
    verify_program(program)
    return program


class _PassLowering:
    """One pass being written."""

    def __init__(self, reverse: bool) -> None:
        self.reverse = reverse
        self.reads: dict[str, tuple[str, int]] = {}  # vector -> (stream, offset)
        self.writes: list[tuple[Slice, str, int]] = []
        self.code: list[Instruction] = []
        self.known: dict[tuple[str, ...], Slice] = {}  # concatenated units -> their values here

    def finish(self) -> Pass:
        reads = tuple((stream, offset, vector) for vector, (stream, offset) in self.reads.items())
        return Pass(self.reverse, reads, tuple(self.writes), tuple(self.code))


class _ModelLowering:
    def __init__(self, model: PackedModel, plan: Schedule) -> None:
        self._model, self._plan = model, plan
        self._builder = ProgramBuilder()
        self._passes = [_PassLowering(reverse) for reverse in plan.reverse]
        self._inputs: dict[tuple[str, int, int], Slice] = {}  # (stream, offset, length) -> vector
        self._streamed: dict[str, tuple[str, int]] = {}  # unit -> (stream, offset)
        self._states: dict[str, dict[str, Slice]] = {}  # unit -> its states

    def run(self) -> Program:
        self._add_streams()
        self._add_states()
        for unit in self._plan.units.values():
            if unit.name in self._plan.passes:
                here = self._passes[self._plan.passes[unit.name]]
                here.known[(unit.name,)] = self._unit(unit, here)
                if unit.name in self._streamed:
                    here.writes.append((here.known[(unit.name,)], *self._streamed[unit.name]))
        offset = 0
        for name in self._plan.output:
            here = self._passes[self._plan.passes.get(name, 0)]
            here.writes.append((self._gather((name,), here), "output", offset))
            offset += self._length(name)
        return self._builder.finish([p.finish() for p in self._passes])

    # Streams and states.

    def _add_streams(self) -> None:
        signal = self._model.input
        if isinstance(signal, Tokens):
            self._builder.stream(Stream(INPUT, 1, "int32", signal.vocabulary))
        else:
            self._builder.stream(Stream(INPUT, signal.size))
        self._builder.stream(Stream("output", self._model.output_size))
        last_use: dict[str, int] = {}
        for user in self._plan.units.values():
            for name in chain.from_iterable(user.sources):
                here = self._plan.passes.get(user.name, 0)
                last_use[name] = max(here, last_use.get(name, 0))
        levels: dict[str, list[str]] = {}
        for name, here in self._plan.passes.items():
            if last_use.get(name, 0) > here:
                levels.setdefault(self._plan.units[name].level, []).append(name)
        for level, names in levels.items():
            offsets = [0, *accumulate(map(self._length, names))]
            stream = self._builder.stream(Stream(level, offsets[-1]))
            for name, offset in zip(names, offsets, strict=False):
                self._streamed[name] = (stream, offset)

    def _add_states(self) -> None:
        for layer in self._model.layers:
            if not isinstance(layer, Recurrent):
                continue
            units = [u for u in self._plan.units.values() if u.layer is layer]
            for state, dimension in layer.stack.cell.states.items():
                vectors = []
                for unit in units:
                    assert unit.direction is not None
                    name = f"{layer.name}.{state}{unit.direction.suffix}"
                    length = unit.direction.sizes[dimension]
                    vectors.append(self._builder.vector(name, length, "state"))
                    self._states.setdefault(unit.name, {})[state] = vectors[-1]
                self._builder.state(f"{layer.name}.{state}", vectors)

    # Where values are found.

    def _length(self, name: str) -> int:
        if name != INPUT:
            return self._plan.units[name].length
        return 1 if isinstance(self._model.input, Tokens) else self._model.input.size

    def _gather(self, names: tuple[str, ...], here: _PassLowering) -> Slice:
        """The concatenated values of units in one place: in place if possible, else copied."""
        if names not in here.known:
            pieces = self._pieces(names, here)
            if len(pieces) == 1:
                here.known[names] = pieces[0]
            else:
                total = sum(p.length for p in pieces)
                whole = self._builder.vector("+".join(names)[:64], total, "scratch")
                offset = 0
                for piece in pieces:
                    place = Slice(whole.vector, offset, piece.length)
                    here.code.append(Copy(place, piece))
                    offset += piece.length
                here.known[names] = whole
        return here.known[names]

    def _pieces(self, names: tuple[str, ...], here: _PassLowering) -> list[Slice]:
        """Values of units; what lies side by side in a stream is one piece."""
        pieces: list[Slice] = []
        run: tuple[str, int, int] | None = None  # (stream, offset, length) not yet read
        for name in (*names, None):
            place = None if name is None else self._stream_place(name, here)
            if run and place and (place[0], place[1]) == (run[0], run[1] + run[2]):
                run = (run[0], run[1], run[2] + place[2])
                continue
            if run:
                pieces.append(self._read(*run, here))
            run = place
            if name is not None and place is None:
                pieces.append(self._local(name, here))
        return pieces

    def _stream_place(self, name: str, here: _PassLowering) -> tuple[str, int, int] | None:
        """(stream, offset, length) of a unit's value, unless it is computed in this pass."""
        if (name,) in here.known:
            return None
        if name == INPUT:
            return INPUT, 0, self._length(name)
        if name in self._streamed:
            return *self._streamed[name], self._length(name)
        return None

    def _local(self, name: str, here: _PassLowering) -> Slice:
        if (name,) not in here.known:  # an embedding: looked up in each pass that needs it
            unit = self._plan.units[name]
            assert isinstance(unit.layer, Embedding)
            here.known[(name,)] = self._unit(unit, here)
        return here.known[(name,)]

    def _read(self, stream: str, offset: int, length: int, here: _PassLowering) -> Slice:
        key = (stream, offset, length)
        if key not in self._inputs:
            self._inputs[key] = self._builder.vector(stream, length, "input")
        vector = self._inputs[key]
        here.reads[vector.vector] = (stream, offset)
        return vector

    # Units.

    def _unit(self, unit: Unit, here: _PassLowering) -> Slice:
        sources = [self._gather(names, here) for names in unit.sources]
        if isinstance(unit.layer, Recurrent):
            assert unit.direction is not None
            return self._recurrent(unit, unit.layer, unit.direction, sources[0], here)
        place = self._builder.vector(unit.name, unit.length, "scratch")
        match unit.layer:
            case Embedding(weight=weight):
                table = self._builder.table(f"{unit.name}.weight", weight)
                here.code.append(Lookup(place, sources[0].vector, table))
            case Linear(weight=weight, bias=bias):
                matrix = self._builder.matrix(f"{unit.name}.weight", weight)
                constant = (
                    None
                    if bias is None
                    else self._builder.constant(f"{unit.name}.bias", bias).vector
                )
                scale = self._model.activation_scales.get(f"{unit.layer.name}/weight")
                here.code.append(
                    MatVec(
                        place.vector,
                        sources[0],
                        matrix,
                        0,
                        unit.length,
                        constant,
                        activation_scale=scale,
                    )
                )
            case Activation(function=("softmax" | "log_softmax") as function):
                here.code.append(Softmax(place, sources[0], log=function == "log_softmax"))
            case Activation(function=function):
                here.code.append(_element_wise(function, sources, place))
            case Combine(function=function):
                op = {"add": "add", "multiply": "mul"}[function]
                here.code.append(_element_wise(op, sources, place))
            case layer:
                raise AssertionError(f"no lowering for layers of kind {layer.KIND!r}")
        return place

    def _recurrent(
        self, unit: Unit, layer: Recurrent, direction: Direction, x: Slice, here: _PassLowering
    ) -> Slice:
        cell, suffix = layer.stack.cell, direction.suffix
        context = CellContext(
            cell=cell,
            sizes=direction.sizes,
            parameters={
                p.name: layer.parameters[p.name + suffix]
                for p in cell.parameters
                if p.name + suffix in layer.parameters
            },
            x=x,
            states=self._states[unit.name],
            name=lambda short: f"{layer.name}.{short}{suffix}",
            activation_scales={
                p.name: self._model.activation_scales[key]
                for p in cell.parameters
                if (key := f"{layer.name}/{p.name}{suffix}") in self._model.activation_scales
            },
        )
        here.code += lower_cell(self._builder, context)
        return self._states[unit.name][cell.output]


def _element_wise(op: str, sources: list[Slice], place: Slice) -> Elementwise:
    """``op`` of one vector, or of several taken from left to right."""
    operations = [MicroOp("load", slice=source) for source in sources]
    value = 0
    if len(sources) == 1:
        operations.append(MicroOp(op, (0,)))
        value = 1
    for k in range(1, len(sources)):
        operations.append(MicroOp(op, (value, k)))
        value = len(operations) - 1
    operations.append(MicroOp("store", (value,), place))
    return Elementwise(place.length, tuple(operations))
