"""`Image`: a compiled step: the program and the contents of every memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.isa import (
    Instruction,
    encode_instruction,
    encode_strips,
    encode_words,
)
from csbrnn.accelerator.strips import StreamWords
from csbrnn.numerics import Ints

__all__ = ["Image", "OutputPart"]


@dataclass(frozen=True)
class OutputPart:
    """One packet of the output stream: what one VOP gives.

    Attributes:
        count: 16-bit values of it, slot by slot, group 0 first.
        frac: Binary digits behind their point.
        take: Position in the packet of each element that is wanted.
        put: Position in the model's output of the same.
    """

    count: int
    frac: int
    take: Ints
    put: Ints


@dataclass(frozen=True, eq=False)
class Image:
    """A compiled step, ready to be loaded.

    Attributes:
        arch: What it was compiled for.
        program: Macro-instructions.
        streams: Contents of word and strip memories: ``streams[group][stream]``.
        vector: What vector memories hold before the first step. Shape: (groups, depth)
        x: What all copies of x hold before the first step. Shape: (depth,)
        input_length: Values of the input.
        outputs: The packets of a step's output, in order.
        output_size: Elements of the model's output.
        kept: Weights that a step multiplies with.
        segment_names: Of each segment of a step, for reports.
        regions: (address, length) in x of each vector there, by name; for checks and reports.
        used: How much of "x", "y" and "vector" is used.
    """

    arch: Arch
    program: tuple[Instruction, ...]
    streams: tuple[tuple[StreamWords, ...], ...]
    vector: Ints
    x: Ints
    input_length: int
    outputs: tuple[OutputPart, ...]
    output_size: int
    kept: int
    segment_names: tuple[str, ...] = ()
    regions: dict[str, tuple[int, int]] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)

    def program_words(self) -> list[int]:
        """The program's bits, one number of 128 bits an instruction."""
        return [encode_instruction(i) for i in self.program]

    @cached_property
    def words(self) -> tuple[tuple[NDArray[np.uint32], ...], ...]:
        """Word memories as limbs of 32 bits, the lowest first: ``words[group][stream]``."""
        return tuple(tuple(self._encode(s) for s in group) for group in self.streams)

    @cached_property
    def strips(self) -> tuple[tuple[NDArray[np.uint32], ...], ...]:
        """Strip memories as limbs of 32 bits, the lowest first: ``strips[group][stream]``."""
        return tuple(
            tuple(encode_strips(self.arch, s.strips) for s in group) for group in self.streams
        )

    @property
    def segment_words(self) -> Ints:
        """Words of each segment in each stream. Shape: (segments, groups, streams)."""
        counts = [[s.segment_words for s in group] for group in self.streams]
        return np.array(counts, np.int64).transpose(2, 0, 1)

    def beats(self, x: Ints) -> Ints:
        """One step's input, 16-bit integers, as beats of the input stream.

        Shape:
            x: (input_length,)
            returns: (beats, x_write)
        """
        width = self.arch.x_write
        padded = np.zeros(-(-self.input_length // width) * width, np.int64)
        padded[: self.input_length] = x
        return padded.reshape(-1, width)

    def collect(self, packets: Sequence[Ints]) -> Ints:
        """One step's output in the model's order, from the packets of the output stream.

        Shape:
            packets: (count,) each, in order
            returns: (output_size,)
        """
        output = np.zeros(self.output_size, np.int64)
        for part, packet in zip(self.outputs, packets, strict=True):
            output[part.put] = np.asarray(packet)[part.take]
        return output

    def sizes(self) -> dict[str, Any]:
        """How full the memories are: used and depth."""
        arch = self.arch
        flat = [s for group in self.streams for s in group]
        return {
            "program": (len(self.program), arch.program),
            "words": (max(len(s.x) for s in flat), arch.words),
            "strips": (max(len(s.strips) for s in flat), arch.strips),
            **{name: (used, int(getattr(arch, name))) for name, used in self.used.items()},
        }

    def _encode(self, s: StreamWords) -> NDArray[np.uint32]:
        wrap = np.zeros(len(s.end), np.bool_)
        wrap[-1] = True
        return encode_words(self.arch, s.weights, s.x, s.last, s.end, wrap)
