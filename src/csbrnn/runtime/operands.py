"""Operands in int8: where they lie, and when they are made.

A part quantizes what it multiplies itself, into memory of its own: that takes a fraction of what
waiting for another thread would. Products of one source and one scale share an operand for as long
as the source does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from csbrnn.compiler import Instruction, MatVec, Program, Slice
from csbrnn.compiler.access import overlap, writes
from csbrnn.runtime import layout
from csbrnn.runtime.layout import operand_floats, padded

__all__ = ["Operands"]

_Key = tuple[Slice, float | None]


class Operands:
    """The int8 operands of a program, and the memory for sums, of each part.

    Args:
        program: The program.
        addresses: Vector -> address.
        start: First free float of the memory.
        parts: Parts.
        pending: Products whose sums stay until gates take them: groups of which one is at work at a
            time.
        adds: Whether a product adds to its sums, which must be zero before, or stores them.

    Attributes:
        stop: First free float behind them.
    """

    def __init__(
        self,
        program: Program,
        addresses: Mapping[str, int],
        start: int,
        parts: int,
        pending: Iterable[Sequence[MatVec]],
        adds: Callable[[MatVec], bool],
    ) -> None:
        self._program, self._addresses, self._parts = program, addresses, parts
        self._places: dict[_Key, int] = {}
        self._valid: set[_Key] = set()
        terms = [
            code
            for part in program.passes
            for code in part.instructions
            if isinstance(code, MatVec) and self.needs(code)
        ]
        groups = [list(group) for group in pending]
        waiting = {id(code) for group in groups for code in group}
        # Sums that are added to are zero in between, so they share no memory with those stored.
        regions: dict[tuple[bool, bool], list[list[MatVec]]] = {}
        for group in groups:
            regions.setdefault((True, any(map(adds, group))), []).append(group)
        for code in terms:
            if id(code) not in waiting:
                regions.setdefault((False, adds(code)), []).append([code])
        self._sums: dict[int, int] = {}  # of a product -> address of the first part's
        stop = start
        for region in regions.values():
            begin = stop
            for group in region:
                place = begin
                for code in group:
                    self._sums[id(code)] = place
                    place += _sums_floats(code)
                stop = max(stop, place)
        self._sums_stride = stop - start
        self.stop = start + parts * self._sums_stride
        for code in terms:
            key = (code.source, code.activation_scale)
            if key not in self._places:
                self._places[key] = self.stop
                self.stop += parts * self._stride(code.source)

    def needs(self, code: MatVec) -> bool:
        """Whether a product's operand is in int8."""
        return self._program.matrices[code.matrix].precision.rounds_operand

    def address(self, code: MatVec, part: int) -> int:
        """Where a part has the operand of a product."""
        place = self._places[code.source, code.activation_scale]
        return place + part * self._stride(code.source)

    def sums(self, code: MatVec, part: int) -> int:
        """Where a part adds up a product's rows."""
        return self._sums[id(code)] + part * self._sums_stride

    def begin_pass(self) -> None:
        """Forget all operands: each time step has others."""
        self._valid.clear()

    def make(self, sum_: Sequence[Instruction]) -> list[dict[str, int]]:
        """Return the instructions that make what a sum's operands lack."""
        records = []
        for code in sum_:
            if not isinstance(code, MatVec) or not self.needs(code):
                continue
            key = (code.source, code.activation_scale)
            if key not in self._valid:
                self._valid.add(key)
                records.append(self._record(code))
        return records

    def changed(self, sum_: Sequence[Instruction]) -> None:
        """Forget operands whose source a sum (or other instruction) has written."""
        written = [s for code in sum_ for s in writes(code, self._program.vectors)]
        self._valid = {k for k in self._valid if not any(overlap(k[0], s) for s in written)}

    def _record(self, code: MatVec) -> dict[str, int]:
        scale = code.activation_scale
        return {
            "opcode": layout.OPCODES["quantize"],
            "length": code.source.length,
            "a": self.address(code, 0),
            "b": self._addresses[code.source.vector] + code.source.start,
            "c": 0 if scale is None else int(np.float32(scale).view(np.uint32)),
            "d": self._stride(code.source),
        }

    def _stride(self, source: Slice) -> int:
        return padded(operand_floats(source.length))


def _sums_floats(code: MatVec) -> int:
    """Floats of a product's sums: its rows and one more strip, which padding may touch."""
    return padded(code.row_stop - code.row_start) + layout.STRIP
