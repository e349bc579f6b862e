"""`Products`: the sections and spans of an image: what products multiply, part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import GRUGates, LSTMGates, MatVec, Program
from csbrnn.formats import CSBMatrix
from csbrnn.numerics import BF16, FP32
from csbrnn.runtime import layout
from csbrnn.runtime.operands import Operands
from csbrnn.runtime.tiling import Section, balance, tile_matrix
from csbrnn.runtime.tiling_int8 import (
    COSTS,
    DEFAULT_COSTS,
    Int8Section,
    scale_section,
    tile_int8_matrix,
)
from csbrnn.runtime.unsummed import Unsummed, gate_lines

__all__ = ["Products"]

_NO_ROWS: Final = Int8Section("scale", layout.STRIP, (0, 0), np.zeros(0, np.float32), 0)
"""Says where sums and operand are, and nothing else."""


class Products:
    """Tiles the products of a program and shares them out.

    Args:
        program: The program.
        parts: Shares.
        addresses: Vector -> address.
        unsummed: Gates that take the sums of their products.
        operands: Operands in int8.
        records: Tables of the image; spans and sections are added.
        add_array: Adds an array to the image and returns its place.
        isa: Instruction set to choose tiles for; None if any may run them.
    """

    def __init__(
        self,
        program: Program,
        parts: int,
        addresses: Mapping[str, int],
        unsummed: Unsummed,
        operands: Operands,
        records: Mapping[str, list[Any]],
        add_array: Callable[[NDArray[Any]], int],
        isa: str | None = None,
    ) -> None:
        self._program, self._parts, self._addresses = program, parts, addresses
        self._spans, self._sections = records["spans"], records["sections"]
        self._add_array, self._isa = add_array, isa
        self._matrices = program.matrices
        self._dense: dict[str, NDArray[Any]] = {}
        self._shares: dict[int, list[tuple[int, ...]]] = {}  # of a product -> a span a part
        self._cuts: dict[int, NDArray[np.int64]] = {}  # of gates -> units
        self._unsummed, self._operands = unsummed, operands

    def add(self, terms: list[MatVec]) -> dict[str, int]:
        """Tile a sum of products; returns its record."""
        gates = self._unsummed.gates(terms[0])
        self._shares |= {id(term): [] for term in terms}
        if gates is None:
            self._scaled(terms)
        else:
            self._pending(terms, gates)
        return self.sum(terms)

    def sum(self, terms: list[MatVec]) -> dict[str, int]:
        """Return the record of a sum, or of neighbouring terms of one, which have been tiled."""
        first, pending = terms[0], self._unsummed.gates(terms[0]) is not None
        flags = (layout.ACCUMULATE if first.accumulate else 0) | (layout.SUMS if pending else 0)
        record = {
            "opcode": layout.OPCODES["product"],
            "flags": flags,
            "length": first.row_stop - first.row_start,
            "a": self._addresses[first.destination],
            "b": layout.NONE if first.bias is None or pending else self._addresses[first.bias],
            "first": len(self._spans),
        }
        for shares in zip(*(self._shares[id(term)] for term in terms), strict=True):
            self._spans.append((*shares[0][:3], sum(count for *_, count in shares)))
        return record

    def gates(self, code: LSTMGates | GRUGates) -> dict[str, int]:
        """Return what is different of gates that take sums; nothing for others."""
        if self._unsummed.gates(code) is None:
            return {}
        vectors, cuts = self._unsummed.vectors(code), self._unit_cuts(code)
        terms = [term for of in vectors for term in of]
        first = len(self._spans)
        for part in range(self._parts):
            place = _place(int(cuts[part]), int(cuts[part + 1]))
            self._spans.append((*place, len(self._sections), len(terms)))
            self._sections += [self._int8_section(term, _NO_ROWS, part) for term in terms]
        lines = [gate_lines(self._row_constants(of), code.length) for of in vectors]
        offset = self._add_array(np.concatenate(lines, axis=1))
        return {"flags": layout.SUMS, "first": first, "offset": offset}

    def _scaled(self, terms: list[MatVec]) -> None:
        bounds = balance([self._row_loads(term) for term in terms], self._parts)
        tiled = [self._tiled(term, bounds) for term in terms]
        sections = self._sections
        for share in range(self._parts):
            start, stop = int(bounds[share]), int(bounds[share + 1])
            for term, shares in zip(terms, tiled, strict=True):
                mine = [self._section(term, section, share) for section in shares[share]]
                place = _place(start, stop)
                self._shares[id(term)].append((*place, len(sections), len(mine)))
                sections += mine

    def _pending(self, terms: list[MatVec], code: LSTMGates | GRUGates) -> None:
        """Add a sum that gates take: each part has all gates of its units."""
        cuts = self._unit_cuts(code)
        sections, rows = self._sections, terms[0].row_stop - terms[0].row_start
        # For one part, all gates' rows are one run.
        gates = rows // int(cuts[-1]) if self._parts > 1 else 1
        runs = cuts if self._parts > 1 else np.array([0, rows])
        bounds = np.append((np.arange(gates)[:, None] * runs[-1] + runs[:-1]).reshape(-1), rows)
        tiled = [self._tiled(term, bounds) for term in terms]
        for part in range(self._parts):
            start, stop = int(runs[part]), int(runs[part + 1])
            for term, shares in zip(terms, tiled, strict=True):
                mine = []
                for gate, share in enumerate(shares[part :: self._parts]):
                    for section in share:
                        assert isinstance(section, Int8Section)
                        if section.kind != "scale":
                            record = self._int8_section(term, section, part)
                            mine.append(record | {"sums": record["sums"] + gate * (stop - start)})
                place = _place(start, stop)
                self._shares[id(term)].append((*place, len(sections), len(mine)))
                sections += mine

    def _unit_cuts(self, code: LSTMGates | GRUGates) -> NDArray[np.int64]:
        """Return the units at which gates are cut into parts, with about equal loads."""
        if id(code) not in self._cuts:
            terms = (term for of in self._unsummed.vectors(code) for term in of)
            loads = (self._row_loads(term).reshape(-1, code.length) for term in terms)
            self._cuts[id(code)] = balance([load.sum(axis=0) for load in loads], self._parts)
        return self._cuts[id(code)]

    def _row_constants(self, terms: tuple[MatVec, ...]) -> NDArray[np.float32]:
        """Return each row's bias and, for each product, its offset (as bits) and its scale."""
        bias, rows = terms[0].bias, terms[0].row_stop - terms[0].row_start
        constants = [np.zeros(rows, np.float32) if bias is None else self._program.constants[bias]]
        for term in terms:
            matrix, mine = self._matrices[term.matrix], slice(term.row_start, term.row_stop)
            assert matrix.scales is not None
            scale = scale_section(self._weights(term.matrix)[mine], matrix.scales[mine])
            assert scale.heads is not None
            constants += [scale.heads[:rows].view(np.float32), scale.values[:rows]]
        return np.stack(constants, axis=1)

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
    ) -> Sequence[Sequence[Section | Int8Section]]:
        matrix, weights = self._matrices[term.matrix], self._weights(term.matrix)
        rows = (term.row_start, term.row_stop)
        if matrix.precision.rounds_operand:
            fixed = COSTS.get(self._isa or "", DEFAULT_COSTS)
            return tile_int8_matrix(matrix, weights, rows, bounds, fixed)
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
        values = self._add_array(stored)
        return {
            # Fixed point runs on the fp32 kernels: its weights are fp32 numbers, exactly.
            "dtype": layout.DTYPES.get(precision.name, layout.DTYPES[FP32.name]),
            "kind": layout.SECTION_KINDS[section.kind],
            "group": section.group,
            "windows": section.windows,
            "count": section.count,
            "columns": stop - start if section.kind == "dense" else 0,
            "row": section.row,
            "source": self._addresses[term.source.vector] + term.source.start + start,
            "source_length": stop - start,
            "heads": 0 if section.heads is None else self._add_array(section.heads),
            "indices": 0 if section.indices is None else self._add_array(section.indices),
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
            "sums": self._operands.sums(term, share),
            "column": start,
            "heads": 0 if section.heads is None else self._add_array(section.heads),
            "indices": 0 if section.indices is None else self._add_array(section.indices),
            "values": self._add_array(section.values),
            "values_nbytes": section.values.nbytes,
        }


def _place(start: int, stop: int) -> tuple[int, int]:
    """First and number of a share's rows: an empty one, behind the last row, is at 0."""
    return (start if stop > start else 0, stop - start)
