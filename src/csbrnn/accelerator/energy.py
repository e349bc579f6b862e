"""`estimate_energy`: what a step costs, from counts of operations and of memory accesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from csbrnn.accelerator.arch import X_BITS
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.isa import ACTS, End, Instruction, Jump, Next, Vop

__all__ = ["SOURCE", "Energy", "estimate_energy"]

SOURCE: Final = (
    "modelled: counts of a step times energies of 45 nm at 0.9 V in M. Horowitz, Computing's energy"
    " problem, ISSCC 2014 (figure 1.1.9); an ASIC's arithmetic and memories, without clock, control"
    " and leakage; an FPGA takes several times as much"
)

_MULTIPLY_8_PJ: Final = 0.2
"""8 x 8 bits; 32 x 32 takes 3.1: the product of the widths."""

_ADD_32_PJ: Final = 0.1
"""In proportion to the width."""

_SRAM_64_BITS_PJ: Final = 10.0
"""From 8 KiB; 20 from 32 KiB, 100 from 1 MiB: about the root of the size."""

_SRAM_BYTES: Final = 8192


@dataclass(frozen=True)
class Energy:
    """Of one step, in nanojoules.

    Attributes:
        multiply_add: Multiplications and sums in the lanes.
        words: Reading weights and addresses.
        x: Gathering x, and writing h back to all copies.
        y: Updating and draining sums.
        vector: Element-wise arithmetic and its memories.
    """

    multiply_add: float
    words: float
    x: float
    y: float
    vector: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.multiply_add + self.words + self.x + self.y + self.vector

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values, in nJ."""
        return {
            "total_nj": self.total,
            "multiply_add_nj": self.multiply_add,
            "words_nj": self.words,
            "x_nj": self.x,
            "y_nj": self.y,
            "vector_nj": self.vector,
            "label": SOURCE,
        }


def estimate_energy(image: Image) -> Energy:
    """Return the energy of a step, words of padding included.

    Reference: `SOURCE`.
    """
    arch = image.arch
    words = int(image.segment_words.sum())
    strips = sum(len(s.strips) for group in image.streams for s in group)
    products = words * arch.lanes
    row_of_x = X_BITS * arch.x_write

    lane = _multiply(arch.weight_bits, X_BITS) + _add(arch.acc_bits)
    strip = _access(arch.strip_bits, arch.strips)
    update = 2 * _access(arch.acc_bits, arch.y) + _add(arch.acc_bits)
    copies = arch.groups * arch.streams
    x, y, vector = float(words) * _access(row_of_x, arch.x // arch.x_write), 0.0, 0.0
    y += strips * arch.lanes * update
    for code in _step(image):
        slots = code.n * arch.groups
        if code.drain:
            y += slots * arch.banks * (2 * _access(arch.acc_bits, arch.y) + _add(arch.acc_bits))
        accesses = code.v_en + code.a_en + code.e_en + code.d_en
        vector += slots * accesses * _access(arch.vector_bits, arch.vector)
        vector += slots * 3 * _add(arch.vector_bits)
        if code.a_en:
            vector += slots * _multiply(arch.vector_bits, arch.vector_bits)
        if ACTS[code.act] in ("sigmoid", "tanh"):
            vector += slots * (_access(31, arch.segments) + _multiply(15, 11))
        if code.x_en:
            writes = slots // arch.x_write * copies
            x += writes * _access(row_of_x, arch.x // arch.x_write)
    return Energy(
        multiply_add=products * lane / 1000,
        words=(words * _access(arch.word_bits, arch.words) + strips * strip) / 1000,
        x=x / 1000,
        y=y / 1000,
        vector=vector / 1000,
    )


def _step(image: Image) -> list[Vop]:
    """The VOPs of one step: those between NEXT's target and NEXT, or all of a single step.

    A pipelined program begins with a part of the first step and ends with a part of the last; what
    it repeats is one whole step.
    """
    program = image.program
    for at, code in enumerate(program):
        if isinstance(code, Jump) and code.target < at:
            return [c for c in _walk(image, code.target, at) if isinstance(c, Vop)]
        if isinstance(code, Next) and code.target < at:
            return [c for c in program[code.target : at] if isinstance(c, Vop)]
    return [c for c in program if isinstance(c, Vop)]


def _walk(image: Image, start: int, stop: int) -> list[Instruction]:
    """Instructions executed from ``start`` until ``stop``, taking every NEXT."""
    taken: list[Instruction] = []
    pc = start
    while pc != stop and len(taken) < len(image.program):
        code = image.program[pc]
        taken.append(code)
        pc = code.target if isinstance(code, Next | Jump) else pc + 1
        if isinstance(code, End):
            break
    return taken


def _multiply(a: int, b: int) -> float:
    return _MULTIPLY_8_PJ * a * b / 64


def _add(bits: int) -> float:
    return _ADD_32_PJ * bits / 32


def _access(bits: int, depth: int) -> float:
    """Of a memory with entries of ``bits``; small ones cost no less than one of 512 bytes."""
    size = max(bits * depth / 8 / _SRAM_BYTES, 1 / 16)
    return float(_SRAM_64_BITS_PJ * bits / 64 * size**0.5)
