"""From a program to an image: the bytes that the C library executes.

docs/spec/program.md describes them, `csbrnn.runtime.layout` and ``c/image.h`` are their records.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from csbrnn.formats import CSBMatrix
from csbrnn.numerics import BF16, FP32
from csbrnn.runtime import layout
from csbrnn.runtime.barriers import Barriers, join_sums
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.chunks import Group, chunk_order
from csbrnn.runtime.elementwise import lower_elementwise
from csbrnn.runtime.layout import padded
from csbrnn.runtime.memory import StateLayout, constant_values, state_layout, vector_addresses
from csbrnn.runtime.operands import Operands
from csbrnn.runtime.tiling import Section, balance, tile_matrix
from csbrnn.runtime.tiling_int8 import Int8Section, tile_int8_matrix

__all__ = ["Image", "build_image"]

CHUNK_WEIGHTS: Final = 4096
"""Fewest weights that are worth a chunk's moves, about 30 ns a step. Measured on Zen 5: an LSTM of
16 units (1024 weights) loses 30%, one of 64 (16384) gains 15%."""


@dataclass(frozen=True)
class Image:
    """An image and what Python must know beside it.

    Attributes:
        data: The image, aligned to 64 bytes and read-only.
        states: Where the states are.
    """

    data: NDArray[np.uint8]
    states: StateLayout


def build_image(program: Program, parts: int = 1) -> Image:
    """Lay a program out for the C library.

    Args:
        program: A verified program.
        parts: Shares that the work is cut into: the threads that will run it.

    Raises:
        UnsupportedModelError: An element-wise part is too large.
    """
    return _ImageBuilder(program, parts).build()


class _ImageBuilder:
    """Fills the tables and the arrays which they point to."""

    def __init__(self, program: Program, parts: int) -> None:
        self._program, self._parts = program, parts
        self._matrices = program.matrices
        self._records: dict[str, list[Any]] = {name: [] for name in layout.TABLES}
        self._arrays: list[NDArray[Any]] = []  # what follows the tables
        self._size = 0  # bytes of `_arrays`, each rounded up to a line
        self._dense: dict[str, NDArray[Any]] = {}
        self._tables: dict[str, int] = {}
        self._made: dict[int, dict[str, int]] = {}  # id of an instruction -> its record
        self._shares: dict[int, list[tuple[int, ...]]] = {}  # of a product -> a span a part
        self._numbers = {name: number for number, name in enumerate(_stream_order(program))}
        self._address, self._state_floats, self._memory_floats = vector_addresses(program)
        self._constants = constant_values(program, self._address)
        self._operands = Operands(program, self._address, self._memory_floats, parts)
        self._memory_floats = self._operands.stop

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
        barriers = Barriers(self._program)
        self._operands.begin_pass()
        for sum_ in join_sums(part.instructions):
            operands = self._operands.make(sum_)
            record = self._instruction(sum_)
            self._made[id(sum_[0])] = dict(record)  # without barriers
            records = [*operands, record]
            flags = records[0].get("flags", 0)
            records[0]["flags"] = flags | layout.BARRIER * barriers.before(sum_)
            instructions += records
            self._operands.changed(sum_)
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

    def _chunk(self, part: Pass) -> None:
        """Add the pass's instructions again, in the order for chunks of steps."""
        instructions, barriers = self._records["instructions"], Barriers(self._program)
        groups = chunk_order(self._program, part)
        if self._gained(groups) < CHUNK_WEIGHTS:
            return
        for group in groups:
            self._operands.begin_pass()
            for name in group.states:
                place, length = self._address[name], self._program.vectors[name].length
                instructions.append(
                    {"opcode": layout.OPCODES["carry"], "length": length, "a": place}
                )
            for sum_ in group.sums:
                terms = [code for code in sum_ if isinstance(code, MatVec)]
                record = self._sum(terms) if terms else dict(self._made[id(sum_[0])])
                records = [*self._operands.make(sum_), record]
                for each in records:
                    each["flags"] = each.get("flags", 0) | (0 if group.states else layout.EVERY)
                records[0]["flags"] |= layout.BARRIER * barriers.before(list(sum_))
                instructions += records
                self._operands.changed(sum_)

    def _gained(self, groups: tuple[Group, ...]) -> int:
        """Return the weights that a chunk reads once instead of once a step."""
        terms = (c for g in groups if not g.states for sum_ in g.sums for c in sum_)
        rows = {
            (c.matrix, c.row_start, c.row_stop)
            for c in terms
            if isinstance(c, MatVec) and not self._matrices[c.matrix].precision.rounds_operand
        }
        return sum(
            int(self._matrices[name].multiplied) * (stop - start) // self._matrices[name].shape[0]
            for name, start, stop in rows
        )

    def _instruction(self, sum_: list[Instruction]) -> dict[str, int]:
        code, opcodes = sum_[0], layout.OPCODES
        match code:
            case MatVec():
                return self._product([c for c in sum_ if isinstance(c, MatVec)])
            case LSTMGates(gates=gates, cell=cell, hidden=hidden, length=length):
                places = {"a": self._address[gates], "b": self._at(cell), "c": self._at(hidden)}
                return {"opcode": opcodes["lstm"], "length": length, **places}
            case GRUGates(gates=gates, hidden=hidden, length=length):
                places = {
                    "a": self._address[gates],
                    "b": self._address[code.input_candidate],
                    "c": self._address[code.hidden_candidate],
                    "d": self._at(hidden),
                }
                return {"opcode": opcodes["gru"], "length": length, **places}
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

    def _product(self, terms: list[MatVec]) -> dict[str, int]:
        bounds = balance([self._row_loads(term) for term in terms], self._parts)
        tiled = [self._tiled(term, bounds) for term in terms]
        sections = self._records["sections"]
        self._shares |= {id(term): [] for term in terms}
        for share in range(self._parts):
            start, stop = int(bounds[share]), int(bounds[share + 1])
            # Shares begin at multiples of 16; an empty one, behind the last row, at 0.
            place = start if stop > start else 0
            for term, shares in zip(terms, tiled, strict=True):
                mine = [self._section(term, section, share) for section in shares[share]]
                self._shares[id(term)].append((place, stop - start, len(sections), len(mine)))
                sections += mine
        return self._sum(terms)

    def _sum(self, terms: list[MatVec]) -> dict[str, int]:
        """Return the record of a sum, or of neighbouring terms of one, which have been tiled."""
        first, spans = terms[0], self._records["spans"]
        record = {
            "opcode": layout.OPCODES["product"],
            "flags": layout.ACCUMULATE if first.accumulate else 0,
            "length": first.row_stop - first.row_start,
            "a": self._address[first.destination],
            "b": layout.NONE if first.bias is None else self._address[first.bias],
            "first": len(spans),
        }
        for shares in zip(*(self._shares[id(term)] for term in terms), strict=True):
            spans.append((*shares[0][:3], sum(count for *_, count in shares)))
        return record

    def _row_loads(self, term: MatVec) -> NDArray[np.float64]:
        matrix = self._matrices[term.matrix]
        if isinstance(matrix, CSBMatrix):
            counts = np.repeat(matrix.columns.counts, np.diff(matrix.row_offsets))
            loads = np.bincount(matrix.rows, counts, minlength=matrix.shape[0]).astype(np.float64)
        else:
            loads = np.count_nonzero(self._weights(term.matrix), axis=1).astype(np.float64)
        return loads[term.row_start : term.row_stop]

    def _tiled(
        self, term: MatVec, bounds: NDArray[np.int64]
    ) -> list[list[Section]] | list[list[Int8Section]]:
        matrix, weights = self._matrices[term.matrix], self._weights(term.matrix)
        rows = (term.row_start, term.row_stop)
        if matrix.precision.rounds_operand:
            return tile_int8_matrix(matrix, weights, rows, bounds)
        return tile_matrix(matrix.with_precision(FP32), weights, rows, bounds)

    def _weights(self, name: str) -> NDArray[Any]:
        # Kept for the next term that uses rows of the same matrix, then dropped.
        if name not in self._dense:
            matrix = self._matrices[name]
            integers = matrix.precision.rounds_operand
            dense = matrix.to_quantized().values if integers else matrix.to_dense()
            self._dense = {name: dense}
        return self._dense[name]

    def _section(self, term: MatVec, section: Section | Int8Section, share: int) -> dict[str, int]:
        precision = self._matrices[term.matrix].precision
        if isinstance(section, Int8Section):
            return self._int8_section(term, section, share)
        start, stop = section.columns
        stored = section.values
        if precision.name == BF16.name:  # exact but for halves of subnormal numbers
            stored = (stored.view(np.uint32) >> 16).astype(np.uint16)
        values = self._array(stored)
        return {
            # Fixed point runs on the fp32 kernels: its weights are fp32 numbers, exactly.
            "dtype": layout.DTYPES.get(precision.name, layout.DTYPES[FP32.name]),
            "kind": layout.SECTION_KINDS[section.kind],
            "group": section.group,
            "windows": section.windows,
            "count": section.count,
            "columns": stop - start if section.kind == "dense" else 0,
            "row": section.row,
            "source": self._at(term.source) + start,
            "source_length": stop - start,
            "heads": 0 if section.heads is None else self._array(section.heads),
            "indices": 0 if section.indices is None else self._array(section.indices),
            "values": values,
            "values_nbytes": stored.nbytes,
        }

    def _int8_section(self, term: MatVec, section: Int8Section, share: int) -> dict[str, int]:
        start, stop = section.columns
        return {
            "dtype": layout.DTYPES["int8"],
            "kind": layout.SECTION_KINDS[section.kind],
            "group": section.group,
            "windows": section.windows,
            "count": section.count,
            "columns": section.lines,
            "row": section.row,
            "source": self._operands.address(term, share),
            "source_length": stop - start,
            "sums": self._operands.sums(share),
            "column": start,
            "heads": 0 if section.heads is None else self._array(section.heads),
            "indices": 0 if section.indices is None else self._array(section.indices),
            "values": self._array(section.values),
            "values_nbytes": section.values.nbytes,
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
        lookups = tables["instructions"]["opcode"] == layout.OPCODES["lookup"]
        tables["instructions"]["offset"] += np.where(lookups, offset, 0).astype(np.uint64)
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
        return Image(data, states)


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
