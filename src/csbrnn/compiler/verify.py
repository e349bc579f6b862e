"""Checks programs: an executable statement of what the instruction set's words demand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from csbrnn.cells import BINARY, UNARY
from csbrnn.compiler.access import overlap, reads, writes
from csbrnn.compiler.declarations import declaration_problems
from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    MicroOp,
    Pass,
    Program,
    Slice,
    Softmax,
)
from csbrnn.errors import UnsupportedModelError
from csbrnn.numerics import is_scale

__all__ = ["program_problems", "verify_program"]


def verify_program(program: Program) -> None:
    """Refuses a program that a target could not run as it stands.

    Raises:
        UnsupportedModelError: With every problem found.
    """
    if found := program_problems(program):
        raise UnsupportedModelError("not a valid program", found)


def program_problems(program: Program) -> list[str]:
    """Everything that is wrong with a program, each line naming its place."""
    found = declaration_problems(program)
    if not program.passes:
        found.append("a program must have at least one pass")
    if found:  # the checks below look names up
        return found
    written = {name: np.zeros(s.width, np.bool_) for name, s in program.streams.items()}
    written["input"][:] = True
    state_owner: dict[str, int] = {}
    for number, part in enumerate(program.passes):
        found += _PassChecker(program, number, part, written, state_owner).run()
    found += [
        f"stream {name!r}: elements {_ranges(~done)} are never written"
        for name, done in written.items()
        if not done.all()
    ]
    return found


def _ranges(mask: npt.NDArray[np.bool_]) -> str:
    where = np.flatnonzero(mask)
    return f"{where[0]}..{where[-1]}"


class _PassChecker:
    """Walks through one pass with a record of which elements are defined."""

    def __init__(
        self,
        program: Program,
        number: int,
        part: Pass,
        written: dict[str, npt.NDArray[np.bool_]],
        state_owner: dict[str, int],
    ) -> None:
        self._program, self._number, self._part = program, number, part
        self._written, self._state_owner = written, state_owner
        self._vectors = program.vectors
        self._masks: dict[str, npt.NDArray[np.bool_]] = {}
        self._tokens: dict[str, int] = {}  # vector of a token -> bound
        self._last_writer: dict[str, Instruction] = {}
        self._found: list[str] = []
        self._place = f"pass {number}"

    def run(self) -> list[str]:
        for stream, offset, vector in self._part.reads:
            self._read(stream, offset, vector)
        for k, instruction in enumerate(self._part.instructions):
            self._place = f"pass {self._number}, instruction {k} ({type(instruction).__name__})"
            if self._slices_exist(instruction):
                self._instruction(instruction)
        for source, stream, offset in self._part.writes:
            self._write(source, stream, offset)
        return self._found

    def _need(self, holds: bool, message: str) -> bool:
        if not holds:
            self._found.append(f"{self._place}: {message}")
        return holds

    def _defined(self, name: str) -> npt.NDArray[np.bool_]:
        """Which elements of a vector have a value by now."""
        if name not in self._masks:
            vector = self._vectors[name]
            self._masks[name] = np.full(vector.length, vector.kind in ("state", "constant"))
        return self._masks[name]

    # Streams.

    def _read(self, stream: str, offset: int, name: str) -> None:
        self._place = f"pass {self._number}, read of {stream!r}"
        if not self._need(stream in self._program.streams and stream != "output", "no such stream"):
            return
        if not self._need(name in self._vectors, f"no vector {name!r}"):
            return
        vector, width = self._vectors[name], self._program.streams[stream].width
        self._need(vector.kind == "input", f"{name!r} must be an input, is {vector.kind}")
        self._need(not self._defined(name).any(), f"{name!r} is filled twice")
        if self._need(
            offset >= 0 and offset + vector.length <= width,
            f"elements {offset}..{offset + vector.length - 1} exceed the width {width}",
        ):
            ready = self._written[stream][offset : offset + vector.length].all()
            self._need(bool(ready), "not written by an earlier pass")
        if self._program.streams[stream].dtype == "int32":
            self._tokens[name] = self._program.streams[stream].bound
        self._defined(name)[:] = True

    def _write(self, source: Slice, stream: str, offset: int) -> None:
        self._place = f"pass {self._number}, write to {stream!r}"
        known = stream in self._program.streams and stream != "input"
        if not self._need(known, "no such stream") or not self._slice_exists(source):
            return
        self._readable(source)
        done = self._written[stream]
        if self._need(
            offset >= 0 and offset + source.length <= len(done),
            f"elements {offset}..{offset + source.length - 1} exceed the width {len(done)}",
        ):
            self._need(not done[offset : offset + source.length].any(), "written twice")
            done[offset : offset + source.length] = True

    # Slices.

    def _slices_exist(self, instruction: Instruction) -> bool:
        match instruction:
            case Lookup(token=token):
                names = [token]
            case MatVec(destination=destination, bias=bias):
                names = [destination] if bias is None else [destination, bias]
            case LSTMGates(gates=gates):
                names = [gates]
            case GRUGates():
                names = [
                    instruction.gates,
                    instruction.input_candidate,
                    instruction.hidden_candidate,
                ]
            case _:
                names = []
        checks = [self._need(name in self._vectors, f"no vector {name!r}") for name in names]
        if not all(checks):
            return False
        accessed = {*reads(instruction, self._vectors), *writes(instruction, self._vectors)}
        results = [self._slice_exists(s) for s in sorted(accessed, key=repr)]
        return all(results)

    def _slice_exists(self, part: Slice) -> bool:
        if not self._need(part.vector in self._vectors, f"no vector {part.vector!r}"):
            return False
        length = self._vectors[part.vector].length
        return self._need(
            part.start >= 0 and part.length >= 1 and part.start + part.length <= length,
            f"elements {part.start}..{part.start + part.length - 1} exceed {part.vector!r}, "
            f"which has {length}",
        )

    def _readable(self, part: Slice, *, token: bool = False) -> None:
        name, kind = part.vector, self._vectors[part.vector].kind
        defined = self._defined(name)[part.start : part.start + part.length]
        self._need(bool(defined.all()), f"{name!r} is read before it is defined")
        expected = "a token" if token else "numbers"
        self._need((name in self._tokens) == token, f"{name!r} must hold {expected}")
        if kind == "state":
            self._own(name)

    def _writable(self, part: Slice) -> None:
        kind = self._vectors[part.vector].kind
        self._need(kind in ("state", "scratch"), f"{part.vector!r} is {kind} and can't be written")
        self._defined(part.vector)[part.start : part.start + part.length] = True
        if kind == "state":
            self._own(part.vector)

    def _own(self, name: str) -> None:
        owner = self._state_owner.setdefault(name, self._number)
        self._need(owner == self._number, f"state {name!r} is also used by pass {owner}")

    # Instructions, whose slices exist.

    def _instruction(self, instruction: Instruction) -> None:
        for part in reads(instruction, self._vectors):
            self._readable(part, token=isinstance(instruction, Lookup))
        match instruction:
            case Lookup():
                self._lookup(instruction)
            case MatVec():
                self._mat_vec(instruction)
            case Elementwise():
                self._element_wise(instruction)
            case LSTMGates(cell=cell, hidden=hidden, length=length):
                self._whole(instruction.gates, 4 * length)
                self._need(cell.length == hidden.length == length, f"lengths must be {length}")
                self._disjoint(instruction.gates, cell, hidden)
            case GRUGates(hidden=hidden, length=length):
                self._whole(instruction.gates, 2 * length)
                self._whole(instruction.input_candidate, length)
                self._whole(instruction.hidden_candidate, length)
                self._need(hidden.length == length, f"lengths must be {length}")
                self._disjoint(
                    instruction.gates,
                    instruction.input_candidate,
                    instruction.hidden_candidate,
                    hidden,
                )
            case Softmax(destination=destination, source=source):
                self._need(destination.length == source.length, "lengths must agree")
                same = destination == source
                self._need(same or not overlap(destination, source), "slices overlap in part")
            case Copy(destination=destination, source=source):
                self._need(destination.length == source.length, "lengths must agree")
                self._need(not overlap(destination, source), "slices overlap")
        for part in writes(instruction, self._vectors):
            self._writable(part)
            self._last_writer[part.vector] = instruction

    def _whole(self, name: str, length: int) -> None:
        got = self._vectors[name].length
        self._need(got == length, f"{name!r} must have length {length}, has {got}")

    def _disjoint(self, *places: str | Slice) -> None:
        slices = [Slice(p, 0, self._vectors[p].length) if isinstance(p, str) else p for p in places]
        for k, a in enumerate(slices):
            for b in slices[k + 1 :]:
                self._need(not overlap(a, b), f"operands in {a.vector!r} overlap")

    def _lookup(self, code: Lookup) -> None:
        if not self._need(code.table in self._program.tables, f"no table {code.table!r}"):
            return
        rows, columns = self._program.tables[code.table].shape
        bound = self._tokens.get(code.token, 0)
        self._need(rows == bound, f"the table has {rows} rows for {bound} tokens")
        length = code.destination.length
        self._need(length == columns, f"the table's {columns} columns don't fit {length} elements")

    def _mat_vec(self, code: MatVec) -> None:
        if not self._need(code.matrix in self._program.matrices, f"no matrix {code.matrix!r}"):
            return
        matrix, scale = self._program.matrices[code.matrix], code.activation_scale
        if scale is not None:
            self._need(
                matrix.precision.rounds_operand, f"{matrix.dtype} products have no activation_scale"
            )
            self._need(
                bool(is_scale(scale)) and scale > 0, f"{scale} is not a scale; scale_of() makes one"
            )
        rows, columns = matrix.shape
        start, stop = code.row_start, code.row_stop
        self._need(0 <= start < stop <= rows, f"rows {start}:{stop} are not among the {rows}")
        self._whole(code.destination, stop - start)
        self._need(
            code.source.length == columns,
            f"a source of {code.source.length} elements doesn't fit {columns} columns",
        )
        self._need(code.source.vector != code.destination, "source and destination are one vector")
        kind = self._vectors[code.source.vector].kind
        self._need(kind != "constant", "the source must not be constant: products read memory")
        if code.bias is not None:
            self._whole(code.bias, stop - start)
            self._need(self._vectors[code.bias].kind == "constant", "the bias must be constant")
        if code.accumulate:
            self._need(code.bias is None, "only the first product of a sum may have a bias")
            self._need(
                isinstance(self._last_writer.get(code.destination), MatVec),
                f"accumulates on {code.destination!r}, which holds no sum of products",
            )

    def _element_wise(self, code: Elementwise) -> None:
        loads = [o.slice for o in code.operations if o.op == "load" and o.slice]
        stores = [o.slice for o in code.operations if o.op == "store" and o.slice]
        self._need(bool(stores), "stores nothing")
        for part in loads + stores:
            self._need(part.length == code.length, f"slices must have length {code.length}: {part}")
        for k, part in enumerate(stores):
            self._need(not any(overlap(part, s) for s in stores[:k]), f"stores twice to {part}")
            aligned = all(part == load or not overlap(part, load) for load in loads)
            self._need(aligned, f"the store to {part} overlaps a load in part")
        for k, operation in enumerate(code.operations):
            self._micro_op(code, k, operation)

    def _micro_op(self, code: Elementwise, k: int, operation: MicroOp) -> None:
        op = operation.op
        arity = {"load": 0, "constant": 0, "store": 1}
        arity |= dict.fromkeys(UNARY, 1) | dict.fromkeys(BINARY, 2)
        if not self._need(op in arity, f"operation {k}: unknown {op!r}"):
            return
        self._need(
            len(operation.args) == arity[op]
            and all(0 <= a < k and code.operations[a].op != "store" for a in operation.args),
            f"operation {k}: {op} needs {arity[op]} earlier value(s), got {operation.args}",
        )
        placed = operation.slice is not None
        self._need(placed == (op in ("load", "store")), f"operation {k}: {op} and its slice")
        self._need(math.isfinite(operation.value), f"operation {k}: numbers must be finite")
