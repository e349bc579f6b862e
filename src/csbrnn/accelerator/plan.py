"""From a program to the stages of a step, still without numbers: what is computed from what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from csbrnn.accelerator.element_wise import COVERED, cover
from csbrnn.accelerator.plan_problems import plan_problems
from csbrnn.accelerator.step import StepOutput, VectorOp
from csbrnn.compiler import (
    Copy,
    Elementwise,
    Instruction,
    Lookup,
    MatVec,
    MicroOp,
    Program,
    Slice,
    Softmax,
)
from csbrnn.compiler.access import overlap
from csbrnn.errors import UnsupportedModelError

__all__ = ["Plan", "PlanProduct", "plan"]


@dataclass(frozen=True)
class PlanProduct:
    """``sum += matrix[rows, columns] @ source[first ..]``."""

    sum: str
    source: Slice
    first: int
    matrix: str
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass
class PlanStage:
    """Products, then vector operations."""

    products: list[PlanProduct] = field(default_factory=list)
    operations: list[VectorOp] = field(default_factory=list)


@dataclass
class Plan:
    """A step without numbers.

    Attributes:
        stages: In order.
        input: The vector that the host fills.
        table: Name of the table in which the host looks tokens up, or "".
        outputs: Parts of the output.
        softmax: What the host does to the output.
        numbers: Vector of constants -> the number it is filled with.
    """

    input: Slice
    stages: list[PlanStage] = field(default_factory=list)
    table: str = ""
    outputs: list[StepOutput] = field(default_factory=list)
    softmax: Literal["", "softmax", "log_softmax"] = ""
    numbers: dict[Slice, float] = field(default_factory=dict)


def plan(program: Program) -> Plan:
    """Return the stages of a program's step.

    Args:
        program: Lowered with ``fuse=False``.

    Raises:
        UnsupportedModelError: The accelerator can't run it; with all reasons.
    """
    return _Planner(program).run()


class _Planner:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._vectors = program.vectors
        self._reasons: list[str] = []
        self._plan = Plan(Slice("input", 0, 0))
        self._pending: dict[Slice, Slice | None] = {}  # slices of sums, not drained
        self._aliases: dict[str, list[tuple[int, Slice]]] = {}  # concatenations: (offset, part)
        self._written: set[Slice] = set()
        self._fresh = 0

    def run(self) -> Plan:
        if not self._program.causal:
            self._refuse("it is bidirectional: the accelerator runs forward in time, step by step")
            self._check()
        (only,) = self._program.passes
        self._input(only.reads)
        self._cuts = self._cut_sums()
        for number, code in enumerate(only.instructions):
            self._instruction(code, only.instructions[number + 1 :])
        self._finish_stage()
        for source, _, offset in only.writes:
            self._output(source, offset)
        self._check()
        self._reasons += plan_problems(self._plan, self._program)
        self._check()
        return self._plan

    def _refuse(self, reason: str) -> None:
        if reason not in self._reasons:
            self._reasons.append(reason)

    def _check(self) -> None:
        if self._reasons:
            raise UnsupportedModelError("the accelerator can't run this model", self._reasons)

    # Inputs, outputs, slices.

    def _input(self, reads: tuple[tuple[str, int, str], ...]) -> None:
        vectors = [vector for _, _, vector in reads]
        if len(vectors) > 1:
            self._refuse(f"it reads its input in {len(vectors)} pieces; one is possible")
        if vectors and self._program.streams["input"].dtype != "int32":
            self._plan.input = self._whole(vectors[0])

    def _whole(self, name: str) -> Slice:
        return Slice(name, 0, self._vectors[name].length)

    def _cut_sums(self) -> dict[str, list[Slice]]:
        """The slices at which each sum is read: they must not overlap."""
        (only,) = self._program.passes
        sums = {c.destination for c in only.instructions if isinstance(c, MatVec)}
        cuts: dict[str, set[Slice]] = {name: set() for name in sums}
        for code in only.instructions:
            for part in _loads(code):
                if part.vector in cuts:
                    cuts[part.vector].add(part)
        for part, _, _ in only.writes:
            if part.vector in cuts:
                cuts[part.vector].add(part)
        for name, parts in cuts.items():
            at = 0
            for part in sorted(parts, key=lambda p: (p.start, p.length)):
                if part.start < at:
                    self._refuse(f"parts of {name!r} that are read overlap")
                elif part.start > at:
                    cuts[name] = cuts[name] | {Slice(name, at, part.start - at)}
                at = max(at, part.start + part.length)
            length = self._vectors[name].length
            if at < length:
                cuts[name] = cuts[name] | {Slice(name, at, length - at)}
        return {name: sorted(parts, key=lambda p: p.start) for name, parts in cuts.items()}

    def _output(self, source: Slice, offset: int) -> None:
        for part, first, length in self._pieces(source, "the output"):
            if part == self._plan.input:
                self._refuse("a part of its output is its input; the engine gives what it computes")
            self._plan.outputs.append(StepOutput(part, first, length, offset))
            offset += length

    def _pieces(self, source: Slice, reader: str) -> list[tuple[Slice, int, int]]:
        """(vector as written, first element, length) of what makes a slice up."""
        if source.vector in self._aliases:
            found: list[tuple[Slice, int, int]] = []
            for offset, part in self._aliases[source.vector]:
                low = max(source.start, offset)
                high = min(source.start + source.length, offset + part.length)
                if low < high:
                    inner = Slice(part.vector, part.start + low - offset, high - low)
                    found += self._pieces(inner, reader)
            return found
        if source.vector == self._plan.input.vector:
            return [(self._plan.input, source.start, source.length)]
        candidates = [*self._cuts.get(source.vector, []), *self._written, *self._state_slices()]
        of_it = [part for part in candidates if part.vector == source.vector]
        at, end = source.start, source.start + source.length
        pieces: list[tuple[Slice, int, int]] = []
        while at < end:
            here = [p for p in of_it if p.start <= at < p.start + p.length]
            if not here:
                self._refuse(f"{reader} reads {source.vector!r} where nothing is written")
                return []
            part = max(here, key=lambda p: p.start + p.length)
            length = min(end, part.start + part.length) - at
            pieces.append((part, at - part.start, length))
            at += length
        return pieces

    def _state_slices(self) -> list[Slice]:
        return [self._whole(v.name) for v in self._vectors.values() if v.kind == "state"]

    # Instructions.

    def _instruction(self, code: Instruction, rest: tuple[Instruction, ...]) -> None:
        match code:
            case Lookup():
                self._lookup(code)
            case MatVec():
                self._mat_vec(code, rest)
            case Elementwise():
                self._element_wise(code, rest)
            case Copy():
                self._copy(code, rest)
            case Softmax():
                self._softmax(code)
            case _:
                self._refuse(f"{type(code).__name__}: lower the model with fuse=False")

    def _lookup(self, code: Lookup) -> None:
        if self._plan.table or self._plan.stages:
            self._refuse("it looks tokens up in more than one table")
        self._plan.table, self._plan.input = code.table, code.destination
        if code.destination != self._whole(code.destination.vector):
            self._refuse("an embedding fills a part of a vector")

    def _stage(self) -> PlanStage:
        if not self._plan.stages:
            self._plan.stages.append(PlanStage())
        return self._plan.stages[-1]

    def _mat_vec(self, code: MatVec, rest: tuple[Instruction, ...]) -> None:
        if not code.accumulate:
            # What any product of the sum reads must be there before the sum's stage.
            for term in (code, *_further_terms(code, rest)):
                for part, _, _ in self._pieces(term.source, f"a product with {term.matrix}"):
                    self._drain(part)
            if self._stage().operations:
                self._finish_stage()
                self._plan.stages.append(PlanStage())
            for part in self._cuts[code.destination]:
                bias = None if code.bias is None else Slice(code.bias, part.start, part.length)
                self._pending[part] = bias
        column = 0
        made = {o.d for o in self._stage().operations}
        for part, first, length in self._pieces(code.source, f"a product with {code.matrix}"):
            if part in made or part in self._pending:
                self._refuse(
                    f"{part.vector!r} is computed in the same stage as a sum that reads it"
                )
            self._stage().products.append(
                PlanProduct(
                    sum=code.destination,
                    source=part,
                    first=first,
                    matrix=code.matrix,
                    rows=(code.row_start, code.row_stop),
                    columns=(column, column + length),
                )
            )
            column += length

    def _drain(self, part: Slice) -> None:
        """Gives a pending slice of a sum its value as a vector."""
        if part in self._pending:
            self._stage().operations.append(VectorOp(part, sum=part, v=self._pending.pop(part)))
            self._written.add(part)

    def _finish_stage(self) -> None:
        for part in list(self._pending):
            self._drain(part)

    def _element_wise(self, code: Elementwise, rest: tuple[Instruction, ...]) -> None:
        unknown = sorted({o.op for o in code.operations} - set(COVERED))
        if unknown:
            self._refuse(f"the vector engine has no {', '.join(unknown)}")
        loads = [o.slice for o in code.operations if o.op == "load" and o.slice]
        if any(part.vector == self._plan.input.vector for part in loads):
            self._refuse("its input is used element-wise; the engine only multiplies with it")
        if any(part.vector in self._aliases for part in loads):
            self._refuse("a concatenation is used element-wise; the engine only multiplies with it")
        if not self._stage().products:
            self._refuse("it computes element-wise before any product")
        if self._reasons:
            # What follows is looked at as if this had been done, or its reasons would be untrue.
            self._written.update(o.slice for o in code.operations if o.op == "store" and o.slice)
            return
        later = [*self._later(rest), *(part for a in self._aliases.values() for _, part in a)]
        for part in loads:
            state = self._vectors[part.vector].kind == "state"  # the next step reads it, too
            if part in self._pending and (state or any(overlap(part, o) for o in later)):
                self._drain(part)  # or the operation below would be the only one to see it
        for piece in self._cut(code, loads):
            # Sums that are read in parts were cut before.
            operations = cover(piece, self._pending, self._number, self._scratch)
            self._stage().operations += operations
            self._written.update(o.d for o in operations)

    def _later(self, rest: tuple[Instruction, ...]) -> list[Slice]:
        """What is read after an instruction."""
        (only,) = self._program.passes
        return [*(part for code in rest for part in _loads(code)), *(s for s, _, _ in only.writes)]

    def _cut(self, code: Elementwise, loads: list[Slice]) -> list[Elementwise]:
        """The instruction cut where a vector that it reads was written in parts."""
        bounds = {0, code.length}
        for load in loads:
            for part in (*self._pending, *self._written):
                if overlap(part, load):
                    bounds |= {
                        min(max(end - load.start, 0), code.length)
                        for end in (part.start, part.start + part.length)
                    }
        ends = sorted(bounds)
        return [
            Elementwise(
                last - first, tuple(_narrowed(o, first, last - first) for o in code.operations)
            )
            for first, last in pairwise(ends)
        ]

    def _copy(self, code: Copy, rest: tuple[Instruction, ...]) -> None:
        target, source = code.destination, code.source
        kind = self._vectors[target.vector].kind
        only_read_by_products = not any(
            isinstance(c, Elementwise)
            and any(o.slice and o.slice.vector == target.vector for o in c.operations)
            for c in rest
        )
        if kind == "scratch" and only_read_by_products:
            self._aliases.setdefault(target.vector, []).append((target.start, source))
            return
        load, store = MicroOp("load", slice=source), MicroOp("store", (0,), target)
        self._element_wise(Elementwise(target.length, (load, store)), rest)

    def _softmax(self, code: Softmax) -> None:
        (only,) = self._program.passes
        users = [s for s, _, _ in only.writes if s == code.destination]
        if code is not only.instructions[-1] or len(only.writes) != 1 or not users:
            self._refuse("softmax is computed by the host, and only at the end of a model")
        self._plan.softmax = "log_softmax" if code.log else "softmax"
        self._aliases[code.destination.vector] = [(code.destination.start, code.source)]

    # New vectors. No vector of a program has a "/" in its name, as no layer has.

    def _number(self, value: float, length: int) -> Slice:
        place = Slice(f"number/{value!r}/{length}", 0, length)
        self._plan.numbers[place] = value
        return place

    def _scratch(self, length: int) -> Slice:
        self._fresh += 1
        return Slice(f"scratch/{self._fresh}", 0, length)


def _loads(code: Instruction) -> list[Slice]:
    """The slices that an instruction reads; biases are none."""
    match code:
        case Elementwise():
            return [o.slice for o in code.operations if o.op == "load" and o.slice]
        case Copy() | Softmax() | MatVec():
            return [code.source]
    return []


def _further_terms(code: MatVec, rest: tuple[Instruction, ...]) -> Iterator[MatVec]:
    """The products that are added to the sum which an instruction begins."""
    for other in rest:
        if isinstance(other, MatVec) and other.destination == code.destination:
            if not other.accumulate:
                return
            yield other


def _narrowed(operation: MicroOp, first: int, length: int) -> MicroOp:
    """An operation on some of its instruction's elements."""
    if operation.slice is None:
        return operation
    start = operation.slice.start + first
    return replace(operation, slice=Slice(operation.slice.vector, start, length))
