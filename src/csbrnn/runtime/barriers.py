"""Which instructions form one sum, and where threads must wait for one another."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

from csbrnn.compiler import Instruction, MatVec, Program
from csbrnn.compiler.access import reads, writes
from csbrnn.runtime.layout import ARRIVE, BARRIER

__all__ = ["Accesses", "arrive_early", "join_sums", "place_barriers", "sum_accesses"]


class Accesses(NamedTuple):
    """An instruction's record, and the vectors by which it depends on other threads' work."""

    record: dict[str, int]
    read: Set[str] = frozenset()
    written: Set[str] = frozenset()

    def mark(self, flag: int) -> None:
        """Set a flag of the record."""
        self.record["flags"] = self.record.get("flags", 0) | flag


def sum_accesses(record: dict[str, int], sum_: list[Instruction], program: Program) -> Accesses:
    """What a sum of products, or another instruction, reads and writes."""
    read = {s.vector for code in sum_ for s in reads(code, program.vectors)}
    written = {s.vector for code in sum_ for s in writes(code, program.vectors)}
    # Rows of a sum are added up by the thread that owns them.
    read -= {code.destination for code in sum_[1:] if isinstance(code, MatVec)}
    return Accesses(record, read, written)


def place_barriers(instructions: Sequence[Accesses]) -> list[int]:
    """Have threads wait for one another before what depends on something since the last barrier.

    Returns:
        Where they wait.
    """
    places: list[int] = []
    for place, code in enumerate(instructions):
        since = instructions[places[-1] if places else 0 : place]
        if any(_depends(code, earlier) for earlier in since):
            places.append(place)
            code.mark(BARRIER)
    return places


def arrive_early(instructions: Sequence[Accesses], places: Sequence[int]) -> None:
    """Mark where a thread announces that it has done all that others will wait for.

    What it still does before it waits itself hides that one thread is later than another, and the
    time that an announcement takes.

    Args:
        instructions: All of them.
        places: Where they wait, as `place_barriers` returns it.
    """
    for last, place, following in zip(
        [0, *places], places, [*places[1:], len(instructions)], strict=False
    ):
        behind, arrive = instructions[place:following], place
        while arrive > last and not any(
            _depends(code, instructions[arrive - 1]) for code in behind
        ):
            arrive -= 1
        if arrive < place:
            instructions[arrive].mark(ARRIVE)


def _depends(later: Accesses, earlier: Accesses) -> bool:
    """Whether all threads must have finished ``earlier`` before any begins ``later``."""
    return bool(later.written & (earlier.read | earlier.written) or later.read & earlier.written)


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
