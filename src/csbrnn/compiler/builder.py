"""`ProgramBuilder`: collects a program's named things while the instructions are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from csbrnn.compiler.program import Pass, Program, Slice, Stream, Vector, VectorKind
from csbrnn.formats import Matrix

__all__ = ["ProgramBuilder"]

Float32 = npt.NDArray[np.float32]


class ProgramBuilder:
    """The vectors, streams, constants, matrices and tables of a program under construction.

    Whatever is added gets a name of its own: the one asked for, or that with a number.
    """

    def __init__(self) -> None:
        self._vectors: dict[str, Vector] = {}
        self._streams: dict[str, Stream] = {}
        self._constants: dict[str, Float32] = {}
        self._matrices: dict[str, Matrix] = {}
        self._tables: dict[str, Float32] = {}
        self._matrix_names: dict[Matrix, str] = {}  # matrices are equal only if they are the same
        self._table_names: dict[Matrix, str] = {}
        self._states: dict[str, tuple[str, ...]] = {}

    def vector(self, name: str, length: int, kind: VectorKind) -> Slice:
        """Adds a vector and returns all of it."""
        name = _unused(name, self._vectors)
        self._vectors[name] = Vector(name, length, kind)
        return Slice(name, 0, length)

    def constant(self, name: str, values: npt.ArrayLike) -> Slice:
        """Adds a constant vector and returns all of it."""
        array = np.array(values, np.float32)
        array.flags.writeable = False
        added = self.vector(name, len(array), "constant")
        self._constants[added.vector] = array
        return added

    def matrix(self, name: str, matrix: Matrix) -> str:
        """Adds a weight matrix, unless it is there already, and returns its name."""
        if matrix not in self._matrix_names:
            self._matrix_names[matrix] = _unused(name, self._matrices)
            self._matrices[self._matrix_names[matrix]] = matrix
        return self._matrix_names[matrix]

    def table(self, name: str, matrix: Matrix) -> str:
        """Adds an embedding table, unless it is there already, and returns its name."""
        if matrix not in self._table_names:
            self._table_names[matrix] = _unused(name, self._tables)
            self._tables[self._table_names[matrix]] = matrix.to_dense()
        return self._table_names[matrix]

    def stream(self, stream: Stream) -> str:
        """Adds a stream and returns its name."""
        name = _unused(stream.name, self._streams)
        self._streams[name] = replace(stream, name=name)
        return name

    def state(self, name: str, vectors: Sequence[Slice]) -> None:
        """Gives a public name to state vectors."""
        self._states[name] = tuple(v.vector for v in vectors)

    def finish(self, passes: Sequence[Pass]) -> Program:
        """The program."""
        return Program(
            vectors=self._vectors,
            streams=self._streams,
            passes=tuple(passes),
            constants=self._constants,
            matrices=self._matrices,
            tables=self._tables,
            states=self._states,
        )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}.{number}" in taken:
        number += 1
    return f"{name}.{number}"
