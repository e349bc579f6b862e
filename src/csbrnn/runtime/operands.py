"""Operands in int8: where they lie, and when they are made.

A part quantizes what it multiplies itself, into memory of its own: that takes a fraction of what
waiting for another thread would. Products of one source and one scale share an operand for as long
as the source does not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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

    Attributes:
        stop: First free float behind them.
    """

    def __init__(
        self,
        program: Program,
        addresses: Mapping[str, int],
        start: int,
        parts: int,
        pending: Iterable[Sequence[MatVec]] = (),
    ) -> None:
        self._program, self._addresses, self._parts = program, addresses, parts
        self._places: dict[_Key, int] = {}
        self._valid: set[_Key] = set()
        self._pending: dict[int, int] = {}
        sums_floats = 0
        for group in pending:
            floats = 0
            for code in group:
                self._pending[id(code)] = floats
                floats += _sums_floats(code)
            sums_floats = max(sums_floats, floats)
        terms = [
            code
            for part in program.passes
            for code in part.instructions
            if isinstance(code, MatVec) and self.needs(code)
        ]
        self._scaled_at = sums_floats
        scaled = [code for code in terms if id(code) not in self._pending]
        self._sums_stride = sums_floats + max(map(_sums_floats, scaled), default=0)
        self._sums = start
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
        """Where a part adds up a product's rows; zero when it begins."""
        place = self._pending.get(id(code), self._scaled_at)
        return self._sums + part * self._sums_stride + place

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
