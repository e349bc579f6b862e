"""The instruction set: macro-instructions, stream words and strip descriptors, to and from bits.

Each layout is described once, as fields of a width at a position; encoding, decoding, the
assembly's ranges and the RTL's decoders all read that description. docs/spec/accelerator.md says
what instructions do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import Arch
from csbrnn.errors import ArgumentError

__all__ = [
    "ACTS",
    "INSTRUCTIONS",
    "INSTRUCTION_BITS",
    "LOAD_BITS",
    "Combine",
    "End",
    "Field",
    "In",
    "Instruction",
    "Jump",
    "Next",
    "Run",
    "Space",
    "Vop",
    "Wait",
    "decode_instruction",
    "decode_strips",
    "decode_words",
    "encode_instruction",
    "encode_strips",
    "encode_words",
    "word_fields",
]

INSTRUCTION_BITS: Final = 128
OPCODE_BITS: Final = 4

LOAD_BITS: Final = 32
"""Of a beat of the load stream: a limb of what it loads."""

ACTS: Final = ("none", "sigmoid", "tanh", "relu")
"""Activations of a VOP; the position is the code."""


class Combine(IntEnum):
    """How a VOP combines its product p and its addend e."""

    PRODUCT = 0
    """p"""
    ADD = 1
    """p + e"""
    SUB = 2
    """p - e"""
    RSUB = 3
    """e - p"""


class Space:
    """Memories that the load stream can name; docs/spec/accelerator.md, Host interface."""

    PROGRAM = 1
    WORDS = 2
    STRIPS = 3
    VECTOR = 4
    X = 5


class Field(NamedTuple):
    """Bits ``low .. low + width - 1`` of a word, unsigned."""

    low: int
    width: int

    @property
    def largest(self) -> int:
        """The largest value."""
        return (1 << self.width) - 1

    def put(self, value: int) -> int:
        """The value, moved to its place."""
        return int(value) << self.low

    def get(self, word: int) -> int:
        """The value out of a word."""
        return (word >> self.low) & self.largest


@dataclass(frozen=True)
class _Instruction:
    OPCODE: ClassVar[int]
    FIELDS: ClassVar[Mapping[str, Field]]


@dataclass(frozen=True)
class Run(_Instruction):
    """Posts the next segment to every stream.

    Attributes:
        half: Of y, before the parity.
        shift: Of the x operand, to the left.
    """

    OPCODE: ClassVar[int] = 1
    FIELDS: ClassVar[Mapping[str, Field]] = {"half": Field(4, 1), "shift": Field(5, 3)}
    half: int
    shift: int = 0


@dataclass(frozen=True)
class Wait(_Instruction):
    """Waits until every stream has at most ``count`` unfinished segments."""

    OPCODE: ClassVar[int] = 2
    FIELDS: ClassVar[Mapping[str, Field]] = {"count": Field(4, 4)}
    count: int


@dataclass(frozen=True)
class Vop(_Instruction):
    """One vector operation on slots 0 .. n - 1 of every group; see docs/spec/accelerator.md."""

    OPCODE: ClassVar[int] = 3
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "n": Field(4, 12),
        "row": Field(16, 12),
        "drain": Field(28, 1),
        "half": Field(29, 1),
        "drain_shift": Field(30, 5),
        "v_en": Field(36, 1),
        "v": Field(37, 12),
        "a_en": Field(49, 1),
        "a": Field(50, 12),
        "e_en": Field(62, 1),
        "e": Field(63, 12),
        "d_en": Field(75, 1),
        "d": Field(76, 12),
        "act": Field(88, 2),
        "combine": Field(90, 2),
        "x_en": Field(92, 1),
        "x": Field(93, 16),
        "x_shift": Field(109, 3),
        "out": Field(112, 1),
    }
    n: int
    row: int = 0
    drain: int = 0
    half: int = 0
    drain_shift: int = 0
    v_en: int = 0
    v: int = 0
    a_en: int = 0
    a: int = 0
    e_en: int = 0
    e: int = 0
    d_en: int = 0
    d: int = 0
    act: int = 0
    combine: int = 0
    x_en: int = 0
    x: int = 0
    x_shift: int = 0
    out: int = 0

    @property
    def emits(self) -> bool:
        """Whether it writes x or the output, and so runs at the cadence of G / W."""
        return bool(self.x_en or self.out)


@dataclass(frozen=True)
class In(_Instruction):
    """Takes ``count`` values from the input stream to ``x``."""

    OPCODE: ClassVar[int] = 4
    FIELDS: ClassVar[Mapping[str, Field]] = {"count": Field(4, 16), "x": Field(20, 16)}
    count: int
    x: int


@dataclass(frozen=True)
class Next(_Instruction):
    """Counts a step; goes to ``target`` if there are more."""

    OPCODE: ClassVar[int] = 5
    FIELDS: ClassVar[Mapping[str, Field]] = {"target": Field(4, 12)}
    target: int


@dataclass(frozen=True)
class Jump(_Instruction):
    """Goes to ``target``; with ``toggle``, the two halves of y change places."""

    OPCODE: ClassVar[int] = 6
    FIELDS: ClassVar[Mapping[str, Field]] = {"target": Field(4, 12), "toggle": Field(16, 1)}
    target: int
    toggle: int = 0


@dataclass(frozen=True)
class End(_Instruction):
    """Stops."""

    OPCODE: ClassVar[int] = 7
    FIELDS: ClassVar[Mapping[str, Field]] = {}


Instruction: TypeAlias = Run | Wait | Vop | In | Next | Jump | End

INSTRUCTIONS: Final[tuple[type[Instruction], ...]] = (Run, Wait, Vop, In, Next, Jump, End)
"""Every kind; `OPCODE` and `FIELDS` describe its bits."""

_BY_OPCODE: Final = {kind.OPCODE: kind for kind in INSTRUCTIONS}
_OPCODE: Final = Field(0, OPCODE_BITS)


def encode_instruction(instruction: Instruction) -> int:
    """Return the 128 bits of an instruction.

    Raises:
        ArgumentError: Values don't fit their fields; all of them.
    """
    word, wrong = _OPCODE.put(instruction.OPCODE), []
    for name, field in instruction.FIELDS.items():
        value = getattr(instruction, name)
        if not 0 <= value <= field.largest:
            wrong.append(f"{name} must lie in 0..{field.largest}, not {value}")
        word |= field.put(value)
    if wrong:
        raise ArgumentError(f"{type(instruction).__name__.upper()}: " + "; ".join(wrong))
    return word


def decode_instruction(word: int) -> Instruction:
    """Return the instruction that 128 bits stand for.

    Raises:
        ArgumentError: The opcode is illegal, or bits without a meaning are set.
    """
    opcode = _OPCODE.get(word)
    if opcode not in _BY_OPCODE:
        raise ArgumentError(
            f"an opcode must be one of {', '.join(map(str, _BY_OPCODE))}, not {opcode}"
        )
    kind = _BY_OPCODE[opcode]
    instruction = kind(**{name: field.get(word) for name, field in kind.FIELDS.items()})
    if encode_instruction(instruction) != word:
        raise ArgumentError(f"{kind.__name__.upper()}: bits without a meaning are set in {word:#x}")
    return instruction


# Stream words and strip descriptors, as arrays of 32-bit limbs, the lowest first.


def word_fields(arch: Arch) -> dict[str, Field]:
    """Fields of a stream word: ``w0`` .. ``w<Q-1>``, ``x``, ``last``, ``end``, ``wrap``."""
    fields = {f"w{q}": Field(q * arch.weight_bits, arch.weight_bits) for q in range(arch.lanes)}
    low = arch.lanes * arch.weight_bits
    fields["x"] = Field(low, arch.x_addr_bits)
    for k, name in enumerate(("last", "end", "wrap")):
        fields[name] = Field(low + arch.x_addr_bits + k, 1)
    return fields


def _strip_fields(arch: Arch) -> dict[str, Field]:
    bits = arch.y_addr_bits
    return {f"y{q}": Field(q * bits, bits) for q in range(arch.lanes)}


def encode_words(
    arch: Arch,
    weights: NDArray[np.int64],
    x: NDArray[np.int64],
    last: NDArray[np.bool_],
    end: NDArray[np.bool_],
    wrap: NDArray[np.bool_],
) -> NDArray[np.uint32]:
    """Return stream words as limbs.

    Shape:
        weights: (words, lanes)
        x, last, end, wrap: (words,)
        returns: (words, ceil(word_bits / 32)), the lowest limb first
    """
    values: dict[str, NDArray[Any]] = {f"w{q}": weights[:, q] for q in range(arch.lanes)}
    values |= {"x": x, "last": last, "end": end, "wrap": wrap}
    return _pack(word_fields(arch), values, arch.word_bits)


def decode_words(arch: Arch, limbs: NDArray[np.uint32]) -> dict[str, NDArray[np.int64]]:
    """Return ``weights`` (words, lanes), ``x``, ``last``, ``end`` and ``wrap`` of stream words."""
    values = _unpack(word_fields(arch), limbs)
    half = 1 << (arch.weight_bits - 1)
    weights = np.stack([values.pop(f"w{q}") for q in range(arch.lanes)], axis=1)
    return {"weights": (weights ^ half) - half, **values}


def encode_strips(arch: Arch, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return strip descriptors as limbs.

    Shape:
        rows: (strips, lanes)
        returns: (strips, ceil(strip_bits / 32)), the lowest limb first
    """
    values = {f"y{q}": rows[:, q] for q in range(arch.lanes)}
    return _pack(_strip_fields(arch), values, arch.strip_bits)


def decode_strips(arch: Arch, limbs: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the y addresses of strip descriptors. Shape: (strips, lanes)."""
    return np.stack(list(_unpack(_strip_fields(arch), limbs).values()), axis=1)


def _pack(
    fields: Mapping[str, Field], values: Mapping[str, NDArray[Any]], bits: int
) -> NDArray[np.uint32]:
    count = len(next(iter(values.values())))
    limbs = np.zeros((count, -(-bits // 32) + 1), np.uint64)  # one more takes what spills over
    for name, field in fields.items():
        value = values[name].astype(np.int64).astype(np.uint64) & np.uint64(field.largest)
        limb, low = divmod(field.low, 32)
        moved = value << np.uint64(low)  # width <= 31 and low <= 31: fits 64 bits
        limbs[:, limb] |= moved & np.uint64(0xFFFFFFFF)
        limbs[:, limb + 1] |= moved >> np.uint64(32)
    return limbs[:, :-1].astype(np.uint32)


def _unpack(fields: Mapping[str, Field], limbs: NDArray[np.uint32]) -> dict[str, NDArray[np.int64]]:
    wide = np.concatenate([limbs, np.zeros((len(limbs), 1), np.uint32)], axis=1).astype(np.uint64)
    values = {}
    for name, field in fields.items():
        limb, low = divmod(field.low, 32)
        both = wide[:, limb] | (wide[:, limb + 1] << np.uint64(32))
        value = (both >> np.uint64(low)) & np.uint64(field.largest)
        values[name] = value.astype(np.int64)
    return values
