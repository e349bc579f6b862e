"""`Loader`: the load stream, taken apart into writes of memory entries."""

from __future__ import annotations

from typing import Any, Final

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.isa import INSTRUCTION_BITS, LOAD_BITS, Space
from csbrnn.accelerator.rtl.interfaces import LoadBus, load_bits

__all__ = ["Loader", "spaces"]

_INDEX_VALUES: Final = 8
"""Beats that an entry's counter has room for at least. Ours: enough for the presets, whose netlists
it is part of; an x entry of 32 or 64 values takes more."""


def spaces(arch: Arch) -> dict[int, tuple[int, int]]:
    """Space -> (bits of an entry, entries)."""
    return {
        Space.PROGRAM: (INSTRUCTION_BITS, arch.program),
        Space.WORDS: (arch.word_bits, arch.words),
        Space.STRIPS: (arch.strip_bits, arch.strips),
        Space.VECTOR: (arch.vector_bits, arch.vector),
        Space.X: (X_BITS * arch.x_write, arch.x // arch.x_write),
    }


class Loader(wiring.Component):
    """Reads packets: three beats of header, then the entries.

    Header: space [3:0], group [15:8], stream [23:16]; address [19:0]; count [31:0]. An entry takes
    as many beats as it needs, the low bits first. docs/spec/accelerator.md, Host interface.

    Members:
        enable: In 1. Beats are taken.
        load: In, stream of 32.
        idle: Out 1. Between packets.
        fault: Out 1. A header named what doesn't exist; stays, and what follows is dropped.
        bus: Out, `LoadBus`.
    """

    enable: Signal
    load: Any
    idle: Signal
    fault: Signal
    bus: Any

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "enable": In(1),
                "load": In(stream.Signature(LOAD_BITS)),
                "idle": Out(1),
                "fault": Out(1),
                "bus": Out(LoadBus(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch, bus = Module(), self._arch, self.bus
        beat = self.load.payload
        taken, checking = Signal(), Signal()
        m.d.comb += [
            self.load.ready.eq(self.enable & ~checking),
            taken.eq(self.load.ready & self.load.valid),
        ]
        depth = Signal(21)
        most = load_bits(arch) // LOAD_BITS
        beats, index = Signal(range(most + 1)), Signal(range(max(most, _INDEX_VALUES)))
        address, count = Signal(20), Signal(LOAD_BITS)
        end = Signal(LOAD_BITS + 1)
        m.d.sync += bus.enable.eq(0)

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.idle.eq(1)
                known = Signal()
                with m.Switch(beat[:4]):
                    for space, (bits, entries) in spaces(arch).items():
                        with m.Case(space):
                            m.d.comb += known.eq(1)
                            with m.If(taken):
                                m.d.sync += [depth.eq(entries), beats.eq(-(-bits // LOAD_BITS))]
                with m.If(taken):
                    m.d.sync += [
                        bus.space.eq(beat[:4]),
                        bus.group.eq(beat[8:16]),
                        bus.stream.eq(beat[16:24]),
                        index.eq(0),
                    ]
                    m.next = "ADDRESS"
                    exists = (beat[8:16] < arch.groups) & (beat[16:24] < arch.streams)
                    with m.If(~known | ~exists):
                        m.next = "FAULT"
            with m.State("ADDRESS"), m.If(taken):
                m.d.sync += address.eq(beat[:20])
                m.next = "COUNT"
            with m.State("COUNT"), m.If(taken):
                m.d.sync += [count.eq(beat), end.eq(address + beat)]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += checking.eq(1)
                m.next = "ENTRY"
                with m.If(count == 0):
                    m.next = "HEADER"
                with m.Elif(end > depth):
                    m.next = "FAULT"
            with m.State("ENTRY"), m.If(taken):
                m.d.sync += [
                    bus.data.word_select(index, LOAD_BITS).eq(beat),
                    index.eq(index + 1),
                ]
                with m.If(index + 1 == beats):
                    m.d.sync += [
                        index.eq(0),
                        bus.enable.eq(1),
                        bus.address.eq(address),
                        address.eq(address + 1),
                        count.eq(count - 1),
                    ]
                    with m.If(count == 1):
                        m.next = "HEADER"
            with m.State("FAULT"):
                m.d.comb += self.fault.eq(1)
        return m
