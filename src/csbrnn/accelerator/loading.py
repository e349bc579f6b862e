"""An image and its inputs as what goes over the wires: the load stream and the input stream."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.isa import INSTRUCTION_BITS, LOAD_BITS, Space
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.errors import ArgumentError
from csbrnn.numerics import Ints

__all__ = ["check_steps", "load_beats", "outcome_steps", "stimulus_of"]

Limbs = NDArray[np.uint32]

_MOST_GAPS: Final = 0.99
"""Largest share of gaps: beyond, runs would look hung. Ours."""


def load_beats(image: Image) -> Limbs:
    """Return the beats of the load stream that fill all memories.

    Shape:
        returns: (beats,)
    """
    arch = image.arch
    packets = [_packet(Space.PROGRAM, 0, 0, _limbs(image.program_words(), INSTRUCTION_BITS))]
    for g in range(arch.groups):
        for p in range(arch.streams):
            packets.append(_packet(Space.WORDS, g, p, image.words[g][p]))
            if len(image.strips[g][p]):
                packets.append(_packet(Space.STRIPS, g, p, image.strips[g][p]))
        packets.append(
            _packet(Space.VECTOR, g, 0, _limbs(image.vector[g].tolist(), arch.vector_bits))
        )
    packets.append(_packet(Space.X, 0, 0, _x_limbs(arch, image.x)))
    return np.concatenate(packets)


def check_steps(xs: Sized) -> None:
    """Refuses a run of no steps.

    Raises:
        ArgumentError: ``xs`` has none.
    """
    if not len(xs):
        raise ArgumentError("a run must have at least one step, and xs has none")


def stimulus_of(
    image: Image,
    xs: Ints,
    *,
    input_gaps: float = 0.0,
    output_gaps: float = 0.0,
    seed: int = 0,
    reset_at: int | None = None,
    limit: int = Stimulus.limit,
) -> Stimulus:
    """Return a run of the engine: everything loaded, then a step for each input.

    Args:
        image: What is loaded.
        xs: Inputs. Shape: (steps, input_length), 16-bit integers.
        input_gaps: As in `Stimulus`, and so are the others.
        output_gaps: The same.
        seed: Of the gaps.
        reset_at: Cycle of a first run in which the engine is reset.
        limit: Cycles after which the run counts as hung.

    Raises:
        ArgumentError: There is no step, the seed is no 64-bit number, or gaps leave no cycles.
    """
    for gaps in (input_gaps, output_gaps):
        if not 0 <= gaps <= _MOST_GAPS:
            raise ArgumentError(f"the share of gaps must lie in 0..{_MOST_GAPS}, not {gaps}")
    if not 0 <= seed < 1 << 64:
        raise ArgumentError(f"the seed must lie in 0..2^64 - 1, not {seed}")
    check_steps(xs)
    beats = np.stack([image.beats(x) for x in xs])
    last = np.zeros(beats.shape[:2], np.bool_)
    last[:, -1] = True
    return Stimulus(
        load=load_beats(image),
        inputs=beats.reshape(-1, image.arch.x_write),
        input_last=last.ravel(),
        steps=len(xs),
        input_gaps=input_gaps,
        output_gaps=output_gaps,
        seed=seed,
        reset_at=reset_at,
        limit=limit,
    )


def outcome_steps(image: Image, outcome: Outcome) -> Ints:
    """Return the model's outputs from what the engine put out.

    Shape:
        returns: (steps, output_size)

    Raises:
        ArgumentError: These are not whole steps, or TLAST is not where a VOP ends.
    """
    lanes = image.arch.x_write
    sizes = [part.count // lanes for part in image.outputs]
    beats = sum(sizes)
    expected = np.zeros(beats, np.bool_)
    expected[np.cumsum(sizes) - 1] = True
    steps, rest = divmod(len(outcome.outputs), beats)
    if rest or not np.array_equal(outcome.output_last, np.tile(expected, steps)):
        raise ArgumentError(
            f"outputs must come in steps of {beats} beats, with TLAST at the end of each packet;"
            f" there are {len(outcome.outputs)} beats with TLAST at"
            f" {np.flatnonzero(outcome.output_last)[:8].tolist()} .."
        )
    ends = np.cumsum([part.count for part in image.outputs])
    rows = outcome.outputs.reshape(steps, -1)
    return np.stack([image.collect(np.split(row, ends[:-1])) for row in rows])


def _packet(space: int, group: int, stream: int, entries: Limbs) -> Limbs:
    head = [space | group << 8 | stream << 16, 0, len(entries)]
    return np.concatenate([np.array(head, np.uint32), entries.ravel()])


def _limbs(values: list[int], bits: int) -> Limbs:
    """Two's complement numbers of any width, each as limbs, the lowest first."""
    count, mask = -(-bits // LOAD_BITS), (1 << bits) - 1
    limbs = [[(v & mask) >> (LOAD_BITS * k) & 0xFFFFFFFF for k in range(count)] for v in values]
    return np.array(limbs, np.uint32).reshape(len(values), count)


def _x_limbs(arch: Arch, x: Ints) -> Limbs:
    """W values an entry, the lowest address in the low bits."""
    rows = (x & ((1 << X_BITS) - 1)).astype(np.uint16).reshape(-1, arch.x_write)
    if arch.x_write == 1:
        return rows.astype(np.uint32)
    return np.ascontiguousarray(rows).view("<u4")
