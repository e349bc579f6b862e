"""Which formats fit a pattern: what `pack` tries on a weight whose pattern it knows."""

from __future__ import annotations

import math

from csbrnn.formats import (
    BSRCandidate,
    Candidate,
    CirculantCandidate,
    CSBCandidate,
    CSRCandidate,
    SparseBanksCandidate,
)
from csbrnn.patterns import (
    CSB,
    NM,
    BankBalanced,
    Block,
    BlockCirculant,
    Pattern,
    RowBalanced,
    RowColumn,
    Unstructured,
)

__all__ = ["fitting_candidates"]


def fitting_candidates(
    pattern: Pattern, shape: tuple[int, int], gates: int = 1
) -> list[Candidate] | None:
    """Returns the formats made for a pattern; None for a pattern that is not the library's.

    Args:
        pattern: What the weight was projected onto.
        shape: ``(outputs, inputs)`` of the weight.
        gates: In how many equal parts, from top to bottom, it was projected.
    """
    width = max(shape[1], 1)
    match pattern:
        case Unstructured():
            return [CSRCandidate()]
        case RowBalanced():
            return [CSRCandidate(), SparseBanksCandidate(width)]
        case BankBalanced(bank_size=size):
            return [SparseBanksCandidate(size)]
        case NM(m=size):
            # Below n of m, banks have slots that nothing is in.
            return [SparseBanksCandidate(size), CSRCandidate()]
        case Block(block=block):
            return [
                BSRCandidate(cut) for cut, _ in _cuts(block, block[0] or shape[0], shape, gates)
            ]
        case CSB(block=block, row_group=group):
            return [CSBCandidate(cut, run) for cut, run in _cuts(block, group, shape, gates)]
        case RowColumn():
            return [CSBCandidate(cut) for cut, _ in _cuts((None, None), 1, shape, gates)]
        case BlockCirculant(block=size):
            return [CirculantCandidate(size)]
        case _:
            return None


def _cuts(
    block: tuple[int | None, int | None], group: int, shape: tuple[int, int], gates: int
) -> list[tuple[tuple[int, int], int]]:
    """Blocks and row groups that hold what was cut gate by gate."""
    height = max(shape[0] // gates, 1)
    rows, cols = block[0] or height, block[1] or max(shape[1], 1)
    cuts = [((-(-rows // group) * group, cols), group)]
    if gates > 1 and height % rows:
        # Gates were cut apart, and their ends are no ends of blocks: only smaller blocks fit.
        rows = math.gcd(rows, height)
        cuts.append(((rows, cols), math.gcd(rows, group)))
    return cuts
