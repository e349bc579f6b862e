"""`Unsummed`: gates that take the integer sums of their products, which then write no vector.

An int8 product ends by scaling its sums and adding them to a vector, which gates read once. Where
nothing else reads it, the gates do the scaling: see ``c/kernels_gates.h``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import GRUGates, Instruction, LSTMGates, MatVec, Program
from csbrnn.compiler.access import reads
from csbrnn.formats import CSBMatrix
from csbrnn.runtime.barriers import join_sums
from csbrnn.runtime.layout import STRIP

__all__ = ["Unsummed", "gate_lines"]


def gate_lines(rows: NDArray[np.float32], units: int) -> NDArray[np.float32]:
    """Order constants of a vector's rows as gates need them, 16 units at a time.

    Args:
        rows: Constants of each row; rows are one gate's units after another's.
        units: Of a gate.

    Shape:
        rows: (gates * units, constants)
        returns: (units / 16, gates * constants, 16)
    """
    constants = rows.shape[1]
    by_gate = rows.reshape(-1, units, constants)
    by_gate = np.pad(by_gate, ((0, 0), (0, -units % STRIP), (0, 0)))
    lines = by_gate.reshape(len(by_gate), -1, STRIP, constants).transpose(1, 0, 3, 2)
    return lines.reshape(lines.shape[0], -1, STRIP)


class Unsummed:
    """The gates of a program that scale their products' sums themselves.

    With several parts, each has whole lines of units, and all gates of them. Where gates begin
    between lines, that cuts the rows of matrices between strips of 16, which blocks with free rows
    don't allow.

    Args:
        program: The program.
        parts: Shares.
    """

    def __init__(self, program: Program, parts: int) -> None:
        self._vectors: dict[int, tuple[tuple[MatVec, ...], ...]] = {}
        self._gates: dict[int, LSTMGates | GRUGates] = {}  # of a product, and of the gates
        sums = [sum_ for part in program.passes for sum_ in join_sums(part.instructions)]
        readers = _readers(program)
        for code in (code for part in program.passes for code in part.instructions):
            if not isinstance(code, LSTMGates | GRUGates):
                continue
            of = [_terms(program, sums, *vector, readers) for vector in _read_by(code)]
            vectors = tuple(terms for terms in of if terms is not None)
            if parts > 1 and code.length % STRIP and _any_blocks(program, vectors):
                continue
            if len(vectors) == len(of):
                self._vectors[id(code)] = vectors
                self._gates |= {id(each): code for terms in vectors for each in terms}
                self._gates[id(code)] = code

    @property
    def pending(self) -> list[list[MatVec]]:
        """For each instruction of gates that take sums, the products whose sums they are."""
        return [[term for terms in of for term in terms] for of in self._vectors.values()]

    def gates(self, code: Instruction) -> LSTMGates | GRUGates | None:
        """The gates that take the sums of a product; gates that take some, themselves."""
        return self._gates.get(id(code))

    @property
    def unwritten(self) -> dict[str, MatVec]:
        """Vectors that are not written any more -> the first of the products that would."""
        return {of[0].destination: of[0] for vectors in self._vectors.values() for of in vectors}

    @property
    def unread(self) -> set[str]:
        """Biases that gates have among their own constants."""
        return {of[0].bias for vectors in self._vectors.values() for of in vectors if of[0].bias}

    def vectors(self, code: LSTMGates | GRUGates) -> tuple[tuple[MatVec, ...], ...]:
        """The terms of each vector that gates would read."""
        return self._vectors[id(code)]


def _any_blocks(program: Program, vectors: Sequence[Sequence[MatVec]]) -> bool:
    """Whether a matrix has rows that are kept block by block."""
    matrices = [program.matrices[term.matrix] for terms in vectors for term in terms]
    return any(isinstance(m, CSBMatrix) and m.block[0] != m.row_group for m in matrices)


def _readers(program: Program) -> Counter[str]:
    """How often a program reads each vector."""
    readers: Counter[str] = Counter()
    for part in program.passes:
        for code in part.instructions:
            readers.update({s.vector for s in reads(code, program.vectors)})
        readers.update(source.vector for source, *_ in part.writes)
    return readers


def _terms(
    program: Program,
    sums: Sequence[Sequence[Instruction]],
    vector: str,
    rows: int,
    count: int,
    readers: Counter[str],
) -> tuple[MatVec, ...] | None:
    """The products whose sum a vector is, if only they write it and only gates read it."""
    # An accumulating product reads its destination, too.
    into = [s for s in sums if isinstance(s[0], MatVec) and s[0].destination == vector]
    if len(into) != 1 or readers[vector] != count:
        return None
    terms = tuple(code for code in into[0] if isinstance(code, MatVec))
    fits = (
        len(terms) == count == len(into[0])
        and not terms[0].accumulate
        and all(t.row_stop - t.row_start == rows for t in terms)
        and all(program.matrices[t.matrix].precision.rounds_operand for t in terms)
    )
    return terms if fits else None


def _read_by(code: LSTMGates | GRUGates) -> tuple[tuple[str, int, int], ...]:
    """Names of the vectors that gates read, their rows, and terms that kernels have for each."""
    match code:
        case LSTMGates(gates=gates, length=length):
            return ((gates, 4 * length, 2),)
        case GRUGates(gates=gates, length=length):
            return (
                (gates, 2 * length, 2),
                (code.input_candidate, length, 1),
                (code.hidden_candidate, length, 1),
            )
