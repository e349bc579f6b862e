"""From a program to an image: the bytes that the C library executes.

docs/spec/program.md describes them, `csbrnn.runtime.layout` and ``c/image.h`` are their records.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    Pass,
    Program,
    Slice,
    Softmax,
)
from csbrnn.compiler.access import writes
from csbrnn.runtime import layout
from csbrnn.runtime.barriers import (
    Accesses,
    arrive_early,
    join_sums,
    place_barriers,
    sum_accesses,
)
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.chunks import Group, chunk_order
from csbrnn.runtime.elementwise import lower_elementwise
from csbrnn.runtime.layout import padded
from csbrnn.runtime.memory import StateLayout, constant_values, state_layout, vector_addresses
from csbrnn.runtime.operands import Operands
from csbrnn.runtime.products import Products
from csbrnn.runtime.tilings import Tilings
from csbrnn.runtime.unsummed import Unsummed

__all__ = ["Image", "build_image"]

CHUNK_WEIGHTS: Final = 4096
"""Fewest weights that are worth a chunk's moves, about 30 ns a step. Measured on Zen 5: an LSTM of
16 units (1024 weights) loses 30%, one of 64 (16384) gains 15%."""

CHUNK_WEIGHTS_INT8: Final = 1_000_000
"""The same in int8, for each thread. Only weights that do not fit a core's own cache are worth it:
the sums of products that go ahead are scaled and stored, not taken by gates. Measured on Sapphire
Rapids (2 MB of L2): of 0.98 million weights, 0.36 of which go ahead, a step takes 29 us for 22; of
3 million (1.5) 107 for 226, of 13 million (4.8) 665 for 1050."""


@dataclass(frozen=True)
class Image:
    """An image and what Python must know beside it.

    Attributes:
        data: The image, aligned to 64 bytes and read-only.
        states: Where the states are.
        clears: Whether a stream's memory must be zero before its first step, states apart.
    """

    data: NDArray[np.uint8]
    states: StateLayout
    clears: bool


def build_image(program: Program, parts: int = 1, isa: str | None = None) -> Image:
    """Lay a program out for the C library.

    Args:
        program: A verified program.
        parts: Shares that the work is cut into: the threads that will run it.
        isa: Instruction set for which it should be fast; any can run it.

    Raises:
        UnsupportedModelError: An element-wise part is too large.
    """
    return _ImageBuilder(program, parts, isa).build()


class _ImageBuilder:
    """Fills the tables and the arrays which they point to."""

    def __init__(self, program: Program, parts: int, isa: str | None) -> None:
        self._program, self._parts = program, parts
        self._matrices = program.matrices
        self._records: dict[str, list[Any]] = {name: [] for name in layout.TABLES}
        self._arrays: list[NDArray[Any]] = []  # what follows the tables
        self._size = 0  # bytes of `_arrays`, each rounded up to a line
        self._tables: dict[str, int] = {}
        self._made: dict[int, dict[str, int]] = {}  # id of an instruction -> its record
        self._numbers = {name: number for number, name in enumerate(_stream_order(program))}
        self._unsummed = Unsummed(program, parts)
        self._address, self._state_floats, self._memory_floats = vector_addresses(
            program, self._unsummed.unwritten.keys() | self._unsummed.unread
        )
        self._constants = constant_values(program, self._address)
        tilings = Tilings(program, parts, self._unsummed, isa)
        self._clears = tilings.any_adds
        self._operands = Operands(
            program,
            self._address,
            self._memory_floats,
            parts,
            self._unsummed.pending,
            tilings.adds,
        )
        self._memory_floats = self._operands.stop
        # Where a vector would be that is not written are the sums of its first product.
        for name, term in self._unsummed.unwritten.items():
            self._address[name] = self._operands.sums(term, 0)
        self._products = Products(
            program,
            parts,
            self._address,
            self._unsummed,
            tilings,
            self._operands,
            self._records,
            self._array,
        )

    def build(self) -> Image:
        column = 0
        for number, name in enumerate(self._numbers):
            stream = self._program.streams[name]
            between = number > 1
            token = int(stream.dtype == "int32")
            record = (stream.width, token, stream.bound, column if between else 0)
            self._records["streams"].append(record)
            column += stream.width if between else 0
        for part in self._program.passes:
            self._pass(part)
        return self._assemble()

    # Passes and instructions.

    def _pass(self, part: Pass) -> None:
        moves, instructions = self._records["moves"], self._records["instructions"]
        first_move, first_instruction = len(moves), len(instructions)
        vectors = self._program.vectors
        for stream, offset, vector in part.reads:
            place = self._address[vector]
            moves.append((self._numbers[stream], offset, place, vectors[vector].length))
        for source, stream, offset in part.writes:
            moves.append((self._numbers[stream], offset, self._at(source), source.length))
        self._operands.begin_pass()
        sums = join_sums(part.instructions)
        for sum_ in sums:
            self._products.add([code for code in sum_ if isinstance(code, MatVec)])
        if self._parts > 1:
            sums = self._apart(sums)
        codes: list[Accesses] = []
        # Before any part's gates change a state, all parts must have read it.
        for sum_ in sums:
            codes += self._quantize([code for code in sum_ if self._is_recurrent(code)])
        for sum_ in sums:
            codes += self._quantize(sum_)
            record = self._instruction(sum_)
            self._made[id(sum_[0])] = dict(record)  # without barriers
            if isinstance(sum_[0], MatVec) and self._unsummed.gates(sum_[0]):
                codes.append(Accesses(record))  # its operands and its sums are a part's own
            else:
                codes.append(sum_accesses(record, sum_, self._program))
            self._operands.changed(sum_)
        arrive_early(codes, place_barriers(codes))
        instructions += [code.record for code in codes]
        first_chunk = len(instructions)
        self._chunk(part)
        self._records["passes"].append(
            (
                int(part.reverse),
                *(first_move, len(part.reads), len(part.writes)),
                *(first_instruction, first_chunk - first_instruction),
                *(first_chunk, len(instructions) - first_chunk),
            )
        )

    def _apart(self, sums: list[list[Instruction]]) -> list[list[Instruction]]:
        """Take sums that gates take apart, and put last the products that may have to wait.

        Those of a layer's states need nothing from the layer below: while they are computed, the
        last of the threads that compute that one may finish.
        """
        ordered: list[list[Instruction]] = []
        written: set[str] = set()
        for gates, group in groupby(sums, lambda sum_: self._unsummed.gates(sum_[0])):
            codes = list(group)
            if gates is not None:
                codes = [[code] for sum_ in codes for code in sum_]
                codes.sort(key=lambda sum_: _waits(sum_[0], written))
            ordered += codes
            for sum_ in codes:
                written |= {s.vector for code in sum_ for s in writes(code, self._program.vectors)}
        return ordered

    def _is_recurrent(self, code: Instruction) -> bool:
        """Whether it is a product of a state, which gates take."""
        if not isinstance(code, MatVec) or self._unsummed.gates(code) is None:
            return False
        return self._program.vectors[code.source.vector].kind == "state"

    def _quantize(self, sum_: list[Instruction]) -> list[Accesses]:
        """Return what makes the operands that products lack, each part its own."""
        return [
            Accesses(record, {code.source.vector})
            for code in sum_
            if isinstance(code, MatVec)
            for record in self._operands.make([code])
        ]

    def _chunk(self, part: Pass) -> None:
        """Add the pass's instructions again, in the order for chunks of steps."""
        groups = chunk_order(self._program, part)
        if not self._worth_chunks(groups):
            return
        codes: list[Accesses] = []
        for group in groups:
            self._operands.begin_pass()
            for name in group.states:
                place, length = self._address[name], self._program.vectors[name].length
                record = {"opcode": layout.OPCODES["carry"], "length": length, "a": place}
                codes.append(Accesses(record))
            for sum_ in group.sums:
                terms = [code for code in sum_ if isinstance(code, MatVec)]
                record = self._products.sum(terms) if terms else dict(self._made[id(sum_[0])])
                added = self._quantize(list(sum_))
                added.append(sum_accesses(record, list(sum_), self._program))
                for code in added if not group.states else ():
                    code.mark(layout.EVERY)
                codes += added
                self._operands.changed(sum_)
        place_barriers(codes)
        self._records["instructions"] += [code.record for code in codes]

    def _worth_chunks(self, groups: tuple[Group, ...]) -> bool:
        """Whether a chunk reads enough weights once instead of once a step."""
        terms = (c for g in groups if not g.states for sum_ in g.sums for c in sum_)
        rows = {(c.matrix, c.row_start, c.row_stop) for c in terms if isinstance(c, MatVec)}
        spared = {False: 0, True: 0}  # in int8
        for name, start, stop in rows:
            matrix = self._matrices[name]
            weights = int(matrix.multiplied) * (stop - start) // matrix.shape[0]
            spared[matrix.precision.rounds_operand] += weights
        cached = CHUNK_WEIGHTS_INT8 * self._parts  # each core has its own part in its own cache
        return spared[False] >= CHUNK_WEIGHTS or spared[True] >= cached

    def _instruction(self, sum_: list[Instruction]) -> dict[str, int]:
        code, opcodes = sum_[0], layout.OPCODES
        match code:
            case MatVec():
                return self._products.sum([c for c in sum_ if isinstance(c, MatVec)])
            case LSTMGates(gates=gates, cell=cell, hidden=hidden, length=length):
                places = {"a": self._address[gates], "b": self._at(cell), "c": self._at(hidden)}
                taken = self._products.gates(code)
                return {"opcode": opcodes["lstm"], "length": length, **places, **taken}
            case GRUGates(gates=gates, hidden=hidden, length=length):
                places = {
                    "a": self._address[gates],
                    "b": self._address[code.input_candidate],
                    "c": self._address[code.hidden_candidate],
                    "d": self._at(hidden),
                }
                taken = self._products.gates(code)
                return {"opcode": opcodes["gru"], "length": length, **places, **taken}
            case Elementwise(length=length):
                operations = lower_elementwise(code, self._address)
                first = len(self._records["operations"])
                self._records["operations"] += operations.tolist()
                work = {"first": first, "count": len(operations)}
                return {"opcode": opcodes["elementwise"], "length": length, **work}
            case Softmax(destination=destination, source=source, log=log):
                places = {"a": self._at(destination), "b": self._at(source)}
                flags = layout.LOG if log else 0
                length = destination.length
                return {"opcode": opcodes["softmax"], "length": length, "flags": flags, **places}
            case Copy(destination=destination, source=source):
                places = {"a": self._at(destination), "b": self._at(source)}
                return {"opcode": opcodes["copy"], "length": destination.length, **places}
            case Lookup(destination=destination, token=token, table=name):
                table = self._program.tables[name]
                if name not in self._tables:
                    self._tables[name] = self._array(np.ascontiguousarray(table, np.float32))
                return {
                    "opcode": opcodes["lookup"],
                    "length": destination.length,
                    "a": self._at(destination),
                    "b": self._address[token],
                    "count": table.shape[0],
                    "offset": self._tables[name],
                }

    # Bytes.

    def _at(self, part: Slice) -> int:
        return self._address[part.vector] + part.start

    def _array(self, array: NDArray[Any]) -> int:
        """Add an array; returns its place among the arrays (the tables' size is added later)."""
        place = self._size
        self._arrays.append(array)
        self._size += padded(array.nbytes, layout.LINE)
        return place

    def _assemble(self) -> Image:
        dtypes = {
            "streams": layout.STREAM,
            "passes": layout.PASS,
            "moves": layout.MOVE,
            "instructions": layout.INSTRUCTION,
            "spans": layout.SPAN,
            "sections": layout.SECTION,
            "operations": layout.OPERATION,
        }
        tables = {name: _table(self._records[name], dtype) for name, dtype in dtypes.items()}
        tables["constants"] = self._constants
        header = np.zeros(1, layout.HEADER)
        offset = padded(header.nbytes, layout.LINE)
        for name, table in tables.items():
            header[name]["offset"], header[name]["count"] = offset, table.size
            offset += padded(table.nbytes, layout.LINE)
        for field in ("heads", "indices", "values"):
            tables["sections"][field] += offset
        codes = tables["instructions"]
        placed = [layout.OPCODES[name] for name in ("lookup", "lstm", "gru")]
        codes["offset"] += np.where(np.isin(codes["opcode"], placed), offset, 0).astype(np.uint64)
        data = aligned(offset + self._size)
        states = state_layout(self._program, self._address, self._state_floats)
        values = {
            "magic": layout.MAGIC,
            "version": layout.VERSION,
            "header_nbytes": header.nbytes,
            "nbytes": data.nbytes,
            "fingerprint": states.fingerprint,
            "parts": self._parts,
            "causal": int(self._program.causal),
            "state_floats": self._state_floats,
            "memory_floats": self._memory_floats,
        }
        for name, value in values.items():
            header[name] = value
        place = 0
        for array in (header, *tables.values(), *self._arrays):
            data[place : place + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).ravel()
            place += padded(array.nbytes, layout.LINE)
        data.flags.writeable = False
        return Image(data, states, self._clears)


def _waits(code: Instruction, written: Set[str]) -> int:
    """Order of what makes up a layer: products of what lay there, of what was written, gates."""
    return int(code.source.vector in written) if isinstance(code, MatVec) else 2


def _stream_order(program: Program) -> list[str]:
    return ["input", "output", *(n for n in program.streams if n not in ("input", "output"))]


def _table(records: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    table = np.zeros(len(records), dtype)
    for k, record in enumerate(records):
        if isinstance(record, dict):
            for field, value in record.items():
                table[k][field] = value
        else:
            table[k] = record
    return table
