"""`Tilings`: the products of a program, cut into parts and tiled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import GRUGates, LSTMGates, MatVec, Program
from csbrnn.formats import CSBMatrix
from csbrnn.numerics import BF16, FP32
from csbrnn.runtime.barriers import join_sums
from csbrnn.runtime.costs import COSTS
from csbrnn.runtime.strips import Section
from csbrnn.runtime.tiling import balance, tile_matrix
from csbrnn.runtime.tiling_int8 import (
    DEFAULT_COSTS,
    INT8_COSTS,
    Int8Section,
    scale_section,
    tile_int8_matrix,
)
from csbrnn.runtime.unsummed import Unsummed

__all__ = ["Tilings"]


class Tilings:
    """What each part multiplies, and which rows it adds up.

    Args:
        program: The program.
        parts: Parts.
        unsummed: Gates that take the sums of their products.
        isa: Instruction set to choose tiles in int8 for; None if any may run them.
    """

    def __init__(
        self, program: Program, parts: int, unsummed: Unsummed, isa: str | None = None
    ) -> None:
        self._program, self._parts, self._unsummed = program, parts, unsummed
        self._matrices = program.matrices
        self._costs = INT8_COSTS.get(isa or "", DEFAULT_COSTS)
        self._dense: dict[str, NDArray[Any]] = {}
        self._cuts: dict[int, NDArray[np.int64]] = {}  # of gates -> units
        self._rows: dict[int, list[tuple[int, int]]] = {}  # of a product -> a part's
        self._sections: dict[int, Sequence[Sequence[Section | Int8Section]]] = {}
        for part in program.passes:
            for sum_ in join_sums(part.instructions):
                terms = [code for code in sum_ if isinstance(code, MatVec)]
                if terms:
                    self._tile(terms)

    def rows(self, term: MatVec, part: int) -> tuple[int, int]:
        """First row of a part and how many it has; 0 and those of all gates that take its sums."""
        return self._rows[id(term)][part]

    def sections(self, term: MatVec, part: int) -> Sequence[Section | Int8Section]:
        """Tiles of a part."""
        return self._sections[id(term)][part]

    def adds(self, term: MatVec) -> bool:
        """Whether a product adds to sums that must be zero before; others store theirs."""
        scaling = (s for part in self._sections[id(term)] for s in part if s.kind == "scale")
        return any(section.windows for section in scaling)

    @property
    def any_adds(self) -> bool:
        """Whether any product adds to its sums."""
        codes = (code for part in self._program.passes for code in part.instructions)
        return any(isinstance(code, MatVec) and self.adds(code) for code in codes)

    def units(self, code: LSTMGates | GRUGates, part: int) -> tuple[int, int]:
        """First unit of a part, of gates that take sums, and how many it has."""
        cuts = self._unit_cuts(code)
        return _place(int(cuts[part]), int(cuts[part + 1]))

    def row_constants(self, terms: Sequence[MatVec]) -> NDArray[np.float32]:
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

    def _unit_cuts(self, code: LSTMGates | GRUGates) -> NDArray[np.int64]:
        """Return the units at which gates are cut into parts, with about equal loads."""
        if id(code) not in self._cuts:
            terms = (term for of in self._unsummed.vectors(code) for term in of)
            loads = (self._row_loads(term).reshape(-1, code.length) for term in terms)
            self._cuts[id(code)] = balance([load.sum(axis=0) for load in loads], self._parts)
        return self._cuts[id(code)]

    def _tile(self, terms: Sequence[MatVec]) -> None:
        """Tile a sum of products."""
        gates = self._unsummed.gates(terms[0])
        rows = terms[0].row_stop - terms[0].row_start
        if gates is None:
            bounds = balance([self._row_loads(term) for term in terms], self._parts)
            places = [_place(int(a), int(b)) for a, b in pairwise(bounds)]
        elif self._parts == 1:  # one run: strips may lie across gates
            bounds, places = np.array([0, rows]), [(0, rows)]
        else:  # each part has all gates of its units
            cuts = self._unit_cuts(gates)
            count = rows // int(cuts[-1])
            begins = np.arange(count)[:, None] * cuts[-1] + cuts[:-1]
            bounds = np.append(begins.reshape(-1), rows)
            places = [(0, count * int(units)) for units in np.diff(cuts)]
        for term in terms:
            self._rows[id(term)] = places
            self._sections[id(term)] = self._tiled(term, bounds)

    def _tiled(
        self, term: MatVec, bounds: NDArray[np.int64]
    ) -> Sequence[Sequence[Section | Int8Section]]:
        matrix, weights = self._matrices[term.matrix], self._weights(term.matrix)
        rows = (term.row_start, term.row_stop)
        if matrix.precision.rounds_operand:
            return tile_int8_matrix(matrix, weights, rows, bounds, self._parts, self._costs)
        # Fixed point runs on the fp32 kernels.
        precision = matrix.precision.name
        costs, even = COSTS.get(precision, COSTS[FP32.name]), precision == BF16.name
        return tile_matrix(matrix.with_precision(FP32), weights, rows, bounds, costs, even=even)

    def _row_loads(self, term: MatVec) -> NDArray[np.float64]:
        matrix = self._matrices[term.matrix]
        if isinstance(matrix, CSBMatrix):
            counts = np.repeat(matrix.columns.counts, np.diff(matrix.row_offsets))
            loads = np.bincount(matrix.rows, counts, minlength=matrix.shape[0]).astype(np.float64)
        else:
            loads = np.count_nonzero(self._weights(term.matrix), axis=1).astype(np.float64)
        return loads[term.row_start : term.row_stop]

    def _weights(self, name: str) -> NDArray[Any]:
        # Kept for the next term that uses rows of the same matrix, then dropped.
        if name not in self._dense:
            matrix = self._matrices[name]
            integers = matrix.precision.rounds_operand
            dense = matrix.to_quantized().values if integers else matrix.to_dense()
            self._dense = {name: dense}
        return self._dense[name]


def _place(start: int, stop: int) -> tuple[int, int]:
    """First and number of a part's rows or units: an empty one, behind the last, is at 0."""
    return (start if stop > start else 0, stop - start)
