"""Removes copies into states where the value can be computed in its place at once."""

from __future__ import annotations

from dataclasses import replace

from csbrnn.compiler.access import overlap, reads, rename_pass, writes
from csbrnn.compiler.program import Copy, Elementwise, Instruction, Pass, Program, Slice

__all__ = ["remove_copies"]


def remove_copies(program: Program) -> Program:
    """The program without the copies from scratch to state that are provably not needed.

    ``state <- scratch`` goes, and the scratch vector becomes the state, when both are whole
    vectors, and nothing looks at the old state once the scratch vector is first written, nor
    changes either after the copy. Scratch vectors that nothing uses are dropped.
    """
    passes = [_without_copies(program, part) for part in program.passes]
    used = {s.vector for part in passes for s in _slices(program, part)}
    used |= {vector for part in passes for _, _, vector in part.reads}
    vectors = {n: v for n, v in program.vectors.items() if v.kind != "scratch" or n in used}
    return replace(program, vectors=vectors, passes=tuple(passes))


def _without_copies(program: Program, part: Pass) -> Pass:
    index = 0
    while index < len(part.instructions):
        copy = part.instructions[index]
        if isinstance(copy, Copy) and _removable(program, part.instructions, index, copy):
            kept = part.instructions[:index] + part.instructions[index + 1 :]
            names = {copy.source.vector: copy.destination.vector}
            part = rename_pass(replace(part, instructions=kept), names)
        else:
            index += 1
    return part


def _removable(program: Program, code: tuple[Instruction, ...], index: int, copy: Copy) -> bool:
    state, scratch = copy.destination, copy.source
    for whole, kind in ((state, "state"), (scratch, "scratch")):
        vector = program.vectors[whole.vector]
        if vector.kind != kind or whole != Slice(vector.name, 0, vector.length):
            return False
    vectors = program.vectors
    first = next(
        k for k, i in enumerate(code) if any(overlap(w, scratch) for w in writes(i, vectors))
    )
    # An element-wise instruction reads each element before it writes it, so it may work in place.
    in_place = isinstance(code[first], Elementwise)
    for k in range(first, len(code)):
        if k == index:
            continue
        writes_state = any(overlap(w, state) for w in writes(code[k], vectors))
        reads_old = k < index and any(overlap(r, state) for r in reads(code[k], vectors))
        changes = k > index and any(overlap(w, scratch) for w in writes(code[k], vectors))
        if writes_state or changes or (reads_old and not (k == first and in_place)):
            return False
    return True


def _slices(program: Program, part: Pass) -> list[Slice]:
    found = [s for s, _, _ in part.writes]
    for instruction in part.instructions:
        found += reads(instruction, program.vectors) + writes(instruction, program.vectors)
    return found
