"""Where threads wait for one another, and when they say that they have come."""

from __future__ import annotations

import numpy as np
import pytest

from csbrnn.compiler import lower
from csbrnn.model import quantize
from csbrnn.runtime import layout
from csbrnn.runtime.barriers import Accesses, arrive_early, place_barriers
from csbrnn.runtime.image import build_image

from . import models


def code(read: str = "", written: str = "") -> Accesses:
    """An instruction that reads and writes vectors of one letter each."""
    return Accesses({}, set(read), set(written))


def marks(flags: int) -> str:
    """B where threads wait, A where they say that they have come, or a dot."""
    return ".BAX"[bool(flags & layout.BARRIER) + 2 * bool(flags & layout.ARRIVE)]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], ""),
        ([code("x", "a"), code("y", "b")], ".."),
        ([code("x", "a"), code("a", "b")], ".B"),  # reads what was written
        ([code("a", "b"), code("x", "a")], ".B"),  # writes what was read
        ([code("x", "a"), code("y", "a")], ".B"),  # writes what was written
        ([code("x", "a"), code("y", "b"), code("a", "c")], ".AB"),
        # Behind the barrier, nothing may need what is done between the two.
        ([code("x", "a"), code("y", "b"), code("a", "c"), code("b", "d")], "..B."),
        ([code("x", "a"), code("y", "b"), code(), code("a", "c"), code("b", "d")], "..AB."),
        # A barrier is for all that lies before it, so the next is only for what follows.
        ([code("x", "a"), code("a", "b"), code("x", "c"), code("b", "d")], ".BAB"),
        ([code("x", "a"), code(), code("a", "b"), code(), code("b", "c")], ".ABAB"),
    ],
)
def test_places(codes, expected):
    arrive_early(codes, place_barriers(codes))
    assert "".join(marks(c.record.get("flags", 0)) for c in codes) == expected


def test_threads_have_work_until_they_meet():
    """Between a layer's gates and what reads their states lies the next layer's product of its."""
    packed = models.model(np.random.default_rng(0), hidden_size=64, num_layers=2)
    program = lower(quantize(packed, "int8"))
    image = build_image(program, 2).data
    place = image[: layout.HEADER.itemsize].view(layout.HEADER)[0]["instructions"]
    start = int(place["offset"])
    records = image[start : start + int(place["count"]) * layout.INSTRUCTION.itemsize]
    records = records.view(layout.INSTRUCTION)
    names = {number: name for name, number in layout.OPCODES.items()}
    assert [f"{marks(int(r['flags']))} {names[int(r['opcode'])]}" for r in records] == [
        ". quantize",  # h of both layers, before gates change it,
        "A quantize",
        ". quantize",  # x
        ". product",
        ". product",
        "B lstm",
        "A product",  # of h, second layer
        "B quantize",  # h of the first, which is the second's input
        ". product",
        ". lstm",
    ]
