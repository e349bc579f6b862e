"""Removes copies into states where the value can be computed in its place at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from csbrnn.compiler.access import reads, rename_pass, writes
from csbrnn.compiler.program import Copy, Elementwise, Pass, Program, Slice

__all__ = ["remove_copies"]


def remove_copies(program: Program) -> Program:
    """The program without the copies from scratch to state that are provably not needed.

    ``state <- scratch`` goes, and the scratch vector becomes the state, when both are whole
    vectors, and nothing looks at the old state once the scratch vector is first written, nor
    changes either after the copy. Scratch vectors that nothing uses are dropped.
    """
    passes = [_CopyRemoval(program, part).run() for part in program.passes]
    used = {s.vector for part in passes for s in _slices(program, part)}
    vectors = {n: v for n, v in program.vectors.items() if v.kind != "scratch" or n in used}
    return replace(program, vectors=vectors, passes=tuple(passes))


@dataclass(frozen=True)
class _Access:
    """An instruction that touches a vector."""

    index: int
    reads: bool
    writes: bool


class _CopyRemoval:
    """Goes through one pass; its work grows with the pass, not with its square."""

    def __init__(self, program: Program, part: Pass) -> None:
        self._program, self._part = program, part
        self._accesses: dict[str, list[_Access]] = {}
        for index, instruction in enumerate(part.instructions):
            read = {s.vector for s in reads(instruction, program.vectors)}
            written = {s.vector for s in writes(instruction, program.vectors)}
            for name in read | written:
                access = _Access(index, name in read, name in written)
                self._accesses.setdefault(name, []).append(access)

    def run(self) -> Pass:
        names: dict[str, str] = {}  # scratch vector -> the state that it becomes
        removed: set[int] = set()
        for index, copy in enumerate(self._part.instructions):
            if not isinstance(copy, Copy) or not self._removable(index, copy):
                continue
            state, scratch = copy.destination.vector, copy.source.vector
            names[scratch] = state
            removed.add(index)
            both = self._accesses.pop(scratch) + self._accesses[state]
            self._accesses[state] = [access for access in both if access.index != index]
        kept = tuple(i for k, i in enumerate(self._part.instructions) if k not in removed)
        return rename_pass(replace(self._part, instructions=kept), names)

    def _removable(self, index: int, copy: Copy) -> bool:
        for whole, kind in ((copy.destination, "state"), (copy.source, "scratch")):
            vector = self._program.vectors[whole.vector]
            if vector.kind != kind or whole != Slice(vector.name, 0, vector.length):
                return False
        if copy.source.vector not in self._accesses:  # it has become another state
            return False
        of_scratch = self._accesses[copy.source.vector]
        first = min(a.index for a in of_scratch if a.writes)
        # An element-wise instruction reads each element before it writes it: it may work in place.
        in_place = first if isinstance(self._part.instructions[first], Elementwise) else None
        if any(a.writes and a.index > index for a in of_scratch):
            return False
        return not any(
            a.writes or (a.index < index and a.index != in_place)
            for a in self._accesses[copy.destination.vector]
            if a.index >= first and a.index != index
        )


def _slices(program: Program, part: Pass) -> list[Slice]:
    found = [s for s, _, _ in part.writes]
    for instruction in part.instructions:
        found += reads(instruction, program.vectors) + writes(instruction, program.vectors)
    return found
