"""Checks what a program declares: vectors, constants, tables, streams and states."""

from __future__ import annotations

import numpy as np

from csbrnn.compiler.program import Program

__all__ = ["declaration_problems"]


def declaration_problems(program: Program) -> list[str]:
    """Everything that is wrong with a program apart from its passes."""
    found: list[str] = []
    for key, vector in program.vectors.items():
        if key != vector.name or vector.length < 1:
            found.append(f"vector {key!r}: must have its own name and a length, got {vector}")
        if vector.kind not in ("input", "state", "scratch", "constant"):
            found.append(f"vector {key!r}: unknown kind {vector.kind!r}")
    constants = {v.name: v.length for v in program.vectors.values() if v.kind == "constant"}
    for name in sorted(constants.keys() ^ program.constants.keys()):
        found.append(f"constant {name!r}: must be both a vector and have values")
    for name, values in program.constants.items():
        if name in constants and (str(values.dtype), values.shape) != (
            "float32",
            (constants[name],),
        ):
            found.append(
                f"constant {name!r}: must be float32 of shape ({constants[name]},), "
                f"got {values.dtype} of shape {values.shape}"
            )
    for name, table in program.tables.items():
        if table.dtype != np.float32 or table.ndim != 2:
            found.append(f"table {name!r}: must be a float32 matrix, got {table.dtype}")
    return found + _stream_declarations(program) + _state_declarations(program)


def _stream_declarations(program: Program) -> list[str]:
    found = [
        f"there must be a stream {n!r}" for n in ("input", "output") if n not in program.streams
    ]
    for key, stream in program.streams.items():
        tokens = stream.dtype == "int32"
        if key != stream.name or stream.width < 1 or stream.dtype not in ("float32", "int32"):
            found.append(f"stream {key!r}: must have its own name, a width and a dtype: {stream}")
        elif tokens and (key != "input" or stream.width != 1 or stream.bound < 1):
            found.append(f"stream {key!r}: only the input has tokens, of width 1 with a bound")
    return found


def _state_declarations(program: Program) -> list[str]:
    found: list[str] = []
    listed = [v for vectors in program.states.values() for v in vectors]
    states = [v.name for v in program.vectors.values() if v.kind == "state"]
    if sorted(listed) != sorted(states):
        found.append(f"states must list each state vector once: {listed} are not {states}")
    for name, vectors in program.states.items():
        lengths = {program.vectors[v].length for v in vectors if v in program.vectors}
        if len(lengths) != 1:
            found.append(f"state {name!r}: vectors must have one length, got {sorted(lengths)}")
    return found
