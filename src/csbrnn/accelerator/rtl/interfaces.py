"""Signatures between the engine's parts. Directions are as seen by the part that drives."""

from __future__ import annotations

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from csbrnn.accelerator.arch import X_BITS, Arch, address_bits
from csbrnn.accelerator.isa import INSTRUCTION_BITS, LOAD_BITS, Run, Vop

__all__ = [
    "Beat",
    "Drain",
    "LoadBus",
    "MemoryWrite",
    "Post",
    "Slot",
    "XWrite",
    "load_bits",
]


class MemoryWrite(wiring.Signature):
    """A write to one memory.

    Members:
        enable: 1.
        address: clog2(depth), at least 1.
        data: ``width``.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(
            {"enable": Out(1), "address": Out(address_bits(depth)), "data": Out(width)}
        )


class XWrite(MemoryWrite):
    """A write of W neighbouring values to all copies of x; the address counts W values."""

    def __init__(self, arch: Arch) -> None:
        super().__init__(X_BITS * arch.x_write, arch.x // arch.x_write)


class Post(wiring.Signature):
    """The next segment: ``valid`` 1, ``half`` 1 (of y), ``shift`` 3 (of the x operand)."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "half": Out(1), "shift": Out(Run.FIELDS["shift"].width)})


class Drain(wiring.Signature):
    """Read and clear one row of y in all lanes: ``enable`` 1, ``half`` 1, ``row``."""

    def __init__(self, arch: Arch) -> None:
        super().__init__({"enable": Out(1), "half": Out(1), "row": Out(arch.y_addr_bits)})


def load_bits(arch: Arch) -> int:
    """Bits of the load bus: of the widest memory, in whole beats of 32."""
    narrow = (arch.word_bits, arch.strip_bits, arch.vector_bits, X_BITS * arch.x_write)
    return -(-max(INSTRUCTION_BITS, *narrow) // LOAD_BITS) * LOAD_BITS


class LoadBus(wiring.Signature):
    """One entry for one memory of one group.

    Members:
        enable: 1.
        space: 4, a constant of `Space`.
        group, stream: 8 each; where the space has them.
        address: 20.
        data: `load_bits`.
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "space": Out(4),
                "group": Out(8),
                "stream": Out(8),
                "address": Out(20),
                "data": Out(load_bits(arch)),
            }
        )


class Beat(data.StructLayout):
    """Payload of the input and output streams: W values of 16 bits, and TLAST."""

    def __init__(self, arch: Arch) -> None:
        super().__init__({"data": X_BITS * arch.x_write, "last": 1})


class Slot(wiring.Signature):
    """Control of the vector engines' pipelines, one member a use.

    Members belong to different slots at any one moment: each comes in the cycle in which the
    pipeline needs it (`csbrnn.accelerator.rtl.vector.Stages`), so groups hold no delay lines.

    Members:
        drain: `Drain`.
        drain_shift: 5.
        drain_enable: 1, whether the drained sum counts.
        v_address, v_enable; a_address, a_enable; e_address, e_enable; d_address, d_enable:
            clog2(vector) and 1.
        act: 2. combine: 2. x_shift: 3.
    """

    def __init__(self, arch: Arch) -> None:
        address = address_bits(arch.vector)
        super().__init__(
            {
                "drain": Out(Drain(arch)),
                "drain_shift": Out(Vop.FIELDS["drain_shift"].width),
                "drain_enable": Out(1),
                "v_address": Out(address),
                "v_enable": Out(1),
                "act": Out(Vop.FIELDS["act"].width),
                "a_address": Out(address),
                "a_enable": Out(1),
                "e_address": Out(address),
                "e_enable": Out(1),
                "combine": Out(Vop.FIELDS["combine"].width),
                "d_address": Out(address),
                "d_enable": Out(1),
                "x_shift": Out(Vop.FIELDS["x_shift"].width),
            }
        )
