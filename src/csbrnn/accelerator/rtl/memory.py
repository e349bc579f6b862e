"""`SequentialMemory`: a memory that is read in order, over and over, without ever making wait."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import address_bits
from csbrnn.accelerator.rtl.interfaces import MemoryWrite

__all__ = ["SequentialMemory"]


class SequentialMemory(wiring.Component):
    """Shows one entry after the other, the next one in the cycle after ``take``.

    The memory's output is registered once more, so an entry is fetched two cycles before it shows;
    while nothing is taken, all stages stand still. Behind the entry that was written last, reading
    goes on at address 0.

    Args:
        width: Bits of an entry.
        depth: Entries.

    Members:
        write: In, `MemoryWrite`.
        restart: In 1. Back to entry 0, which shows 3 cycles after the last cycle of ``restart``.
        take: In 1. The entry is used in this cycle; only while ``valid``.
        valid: Out 1.
        first: Out 1. The entry is the one of address 0.
        data: Out ``width``.
    """

    write: Any
    restart: Signal
    take: Signal
    valid: Signal
    first: Signal
    data: Signal

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        super().__init__(
            {
                "write": In(MemoryWrite(width, depth)),
                "restart": In(1),
                "take": In(1),
                "valid": Out(1),
                "first": Out(1),
                "data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
        ]
        # What was loaded outlives a reset, so its end does, too.
        last = Signal(address_bits(self._depth), reset_less=True)
        with m.If(self.write.enable):
            m.d.sync += last.eq(self.write.address)

        data = Signal(self._width, reset_less=True)  # as a block RAM's own output register is
        pointer = Signal.like(last)
        fetched, fetched_first = Signal(), Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(self.take | ~self.valid),
            read.en.eq(advance),
            read.addr.eq(pointer),
            self.data.eq(data),
        ]
        with m.If(advance):
            with m.If(pointer == last):
                m.d.sync += pointer.eq(0)
            with m.Else():
                m.d.sync += pointer.eq(pointer + 1)
            m.d.sync += [
                fetched.eq(1),
                fetched_first.eq(pointer == 0),
                self.valid.eq(fetched),
                self.first.eq(fetched_first),
                data.eq(read.data),
            ]
        with m.If(self.restart):
            m.d.sync += [pointer.eq(0), fetched.eq(0), self.valid.eq(0)]
        return m
