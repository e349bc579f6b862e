"""The order in which a chunk of time steps is run: what needs no earlier step, for all at once.

In a sequence that is known in advance, a product with a layer's input depends on nothing recurrent:
it is computed for all steps of a chunk before the recurrent part starts, as a matrix product. With
stacked layers, the second one's input products follow when the first has gone through the chunk.

Each step of the chunk has a memory of its own; a state is carried from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from csbrnn.compiler import Instruction, Pass, Program
from csbrnn.compiler.access import reads, writes
from csbrnn.runtime.barriers import join_sums

__all__ = ["Group", "chunk_order"]


@dataclass(frozen=True)
class Group:
    """Instructions that belong together in a chunk.

    Attributes:
        states: The state vectors that it needs from the step before: it is run step by step. If
            there are none, each instruction is run for all steps at once.
        sums: Instructions; products into one vector that follow one another in the program too
            are joined.
    """

    states: tuple[str, ...]
    sums: tuple[tuple[Instruction, ...], ...]


def chunk_order(program: Program, part: Pass) -> tuple[Group, ...]:
    """Order a pass's instructions for chunks of steps.

    Instructions that form a cycle through a state stay together, and in their order. Sums of
    products are taken apart, but their terms stay in order: the bits are those of single steps.

    Returns:
        The groups in order; none if nothing can be run for several steps at once.
    """
    codes = part.instructions
    states = {v.name for v in program.vectors.values() if v.kind == "state"}
    read = [{s.vector for s in reads(code, program.vectors)} for code in codes]
    written = [{s.vector for s in writes(code, program.vectors)} for code in codes]
    later: list[set[int]] = [set() for _ in codes]  # which may not come earlier
    for b in range(len(codes)):
        for a in range(b):
            if written[a] & (read[b] | written[b]) or read[a] & written[b]:
                later[a].add(b)
            # In the next step, `a` uses the state that `b` writes in this one.
            if states & written[b] & (read[a] | written[a]):
                later[b].add(a)
    sums = join_sums(codes)
    sum_of = [number for number, sum_ in enumerate(sums) for _ in sum_]
    groups: list[tuple[tuple[str, ...], list[int]]] = []
    for cycle in _in_order(_cycles(later), later):
        mine = {v for k in cycle for v in written[k]}
        touched = {v for k in cycle for v in read[k] | written[k]} & states
        # A state that only earlier instructions write already has this step's value.
        renewed = {v for k in range(cycle[0]) for v in written[k]} - mine
        carried = tuple(sorted(touched - renewed))
        if groups and not carried and not groups[-1][0]:
            groups[-1][1].extend(cycle)
        else:
            groups.append((carried, list(cycle)))
    if all(carried for carried, _ in groups):
        return ()
    return tuple(Group(carried, _joined(codes, order, sum_of)) for carried, order in groups)


def _joined(
    codes: tuple[Instruction, ...], order: list[int], sum_of: list[int]
) -> tuple[tuple[Instruction, ...], ...]:
    sums: list[list[Instruction]] = []
    for place, k in enumerate(order):
        if place and order[place - 1] == k - 1 and sum_of[k - 1] == sum_of[k]:
            sums[-1].append(codes[k])
        else:
            sums.append([codes[k]])
    return tuple(tuple(sum_) for sum_ in sums)


def _cycles(later: list[set[int]]) -> list[tuple[int, ...]]:
    """Return the strongly connected sets, each sorted. Cubic: programs have some tens of lines."""
    count = len(later)
    reach = [then | {k} for k, then in enumerate(later)]
    for middle in range(count):
        for first in range(count):
            if middle in reach[first]:
                reach[first] |= reach[middle]
    return sorted({tuple(sorted(j for j in reach[k] if k in reach[j])) for k in range(count)})


def _in_order(cycles: list[tuple[int, ...]], later: list[set[int]]) -> list[tuple[int, ...]]:
    """Return the cycles so that each follows what it needs, single instructions first."""
    needs = [{a for a, then in enumerate(later) if then.intersection(c)} - set(c) for c in cycles]
    done: set[int] = set()
    ordered: list[tuple[int, ...]] = []
    while len(ordered) < len(cycles):
        ready = [
            cycle
            for cycle, need in zip(cycles, needs, strict=True)
            if need <= done and cycle[0] not in done
        ]
        ordered.append(min(ready, key=lambda cycle: (len(cycle) > 1, cycle)))
        done.update(ordered[-1])
    return ordered
