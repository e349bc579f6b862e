"""Which instructions form one sum, and where threads must wait for one another."""

from __future__ import annotations

from csbrnn.compiler import Instruction, MatVec, Program, Slice
from csbrnn.compiler.access import reads, writes

__all__ = ["Barriers", "join_sums"]


class Barriers:
    """Tells which instructions must wait until the threads have finished the earlier ones."""

    def __init__(self, program: Program) -> None:
        self._vectors = program.vectors
        self._read: set[str] = set()
        self._written: set[str] = set()

    def before(self, sum_: list[Instruction]) -> bool:
        """Whether the next sum (or other instruction) depends on one since the last barrier."""
        read = {s.vector for code in sum_ for s in reads(code, self._vectors)}
        written = {s.vector for code in sum_ for s in writes(code, self._vectors)}
        # Rows of a sum are added up by the thread that owns them.
        read -= {c.destination for c in sum_[1:] if isinstance(c, MatVec)}
        return self._before(read, written)

    def before_reading(self, source: Slice) -> bool:
        """Whether something that only reads a vector depends on one since the last barrier."""
        return self._before({source.vector}, set())

    def _before(self, read: set[str], written: set[str]) -> bool:
        needed = bool(written & (self._read | self._written) or read & self._written)
        if needed:
            self._read, self._written = set(), set()
        self._read |= read
        self._written |= written
        return needed


def join_sums(instructions: tuple[Instruction, ...]) -> list[list[Instruction]]:
    """Join consecutive products with one destination, of which only the first may overwrite it."""
    sums: list[list[Instruction]] = []
    for code in instructions:
        previous = sums[-1][0] if sums else None
        joins = (
            isinstance(code, MatVec)
            and code.accumulate
            and isinstance(previous, MatVec)
            and previous.destination == code.destination
        )
        if joins:
            sums[-1].append(code)
        else:
            sums.append([code])
    return sums
