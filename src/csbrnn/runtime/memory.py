"""Where vectors lie: states first, so that they can be saved as one piece, then the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import Program
from csbrnn.runtime.layout import CONSTANT, padded

__all__ = ["StateLayout", "constant_values", "state_layout", "vector_addresses"]


@dataclass(frozen=True)
class StateLayout:
    """Where states lie in a stream's memory.

    Attributes:
        places: Public name -> (first float of each vector, length of each).
        nbytes: Bytes of all states, at the start of the memory.
        fingerprint: Of names, lengths and places, 64 bits: equal layouts have equal fingerprints.
    """

    places: Mapping[str, tuple[tuple[int, ...], int]]
    nbytes: int
    fingerprint: int


def vector_addresses(
    program: Program, without: Container[str] = ()
) -> tuple[dict[str, int], int, int]:
    """Give each vector whole cache lines: states first, then the rest; constants apart.

    Args:
        program: The program.
        without: Vectors that need no memory.

    Returns:
        Vector -> address; floats of states; floats of memory.
    """
    address: dict[str, int] = {}
    floats = {"memory": 0, "constants": 0}
    ranks = {"state": 0, "input": 1, "scratch": 1, "constant": 2}
    needed = (v for v in program.vectors.values() if v.name not in without)
    vectors = sorted(needed, key=lambda v: ranks[v.kind])
    state_floats = 0
    for kind, group in groupby(vectors, key=lambda v: ranks[v.kind]):
        space = "constants" if kind == ranks["constant"] else "memory"
        for vector in group:
            flag = CONSTANT if space == "constants" else 0
            address[vector.name] = floats[space] | flag
            floats[space] += padded(vector.length)
        if kind == ranks["state"]:
            state_floats = floats["memory"]
    return address, state_floats, floats["memory"]


def constant_values(program: Program, address: Mapping[str, int]) -> NDArray[np.float32]:
    """Return all constants at their addresses, zero between them."""
    places = {n: a & ~CONSTANT for n, a in address.items() if a & CONSTANT}
    values = np.zeros(
        sum(padded(program.vectors[name].length) for name in places), dtype=np.float32
    )
    for name, place in places.items():
        values[place : place + program.vectors[name].length] = program.constants[name]
    return values


def state_layout(program: Program, address: Mapping[str, int], state_floats: int) -> StateLayout:
    """Describe the states of a program whose vectors lie at the given addresses."""
    vectors = program.vectors
    places = {
        name: (tuple(address[m] for m in members), vectors[members[0]].length)
        for name, members in program.states.items()
    }
    digest = hashlib.sha256(repr((list(places.items()), state_floats)).encode()).digest()
    return StateLayout(places, 4 * state_floats, int.from_bytes(digest[:8], "little"))
