"""`WeightStream`: reads words, gathers x, feeds the lanes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch, clog2
from csbrnn.accelerator.isa import word_fields
from csbrnn.accelerator.rtl.interfaces import Drain, MemoryWrite, Post, XWrite
from csbrnn.accelerator.rtl.lane import Lane
from csbrnn.accelerator.rtl.memory import SequentialMemory
from csbrnn.accelerator.rtl.pipeline import adder_tree, delay, part_of

__all__ = ["WeightStream"]


class WeightStream(wiring.Component):
    """One stream: word and strip memory, a copy of x, Q lanes, and the queue of posted segments.

    A word is issued in every cycle in which a segment is queued. A lane gets its word four cycles
    later (read x, register it, select one of W, shift).

    Members:
        restart: In 1. Drops all segments; back to the first word.
        post: In, `Post`. Visible in ``busy`` in the next cycle.
        drain: In, `Drain`.
        words_write, strips_write, x_write: In. Loading; write-back of h.
        y: Out signed(acc_bits). The drained row, summed over the lanes; 3 + clog2(Q) cycles after
            `Drain`.
        busy: Out ``queue``. Bit k: more than k segments are unfinished.
        overrun: Out 1. ``wrap`` is not where the memories end, or without ``end``.
        conflict: Out 1. A strip was about to update the half being drained.
    """

    restart: Signal
    post: Any
    drain: Any
    words_write: Any
    strips_write: Any
    x_write: Any
    y: Signal
    busy: Signal
    overrun: Signal
    conflict: Signal

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(self.ports(arch))

    @staticmethod
    def ports(arch: Arch) -> dict[str, wiring.Member]:
        """The members, for a stand-in."""
        return {
            "restart": In(1),
            "post": In(Post()),
            "drain": In(Drain(arch)),
            "words_write": In(MemoryWrite(arch.word_bits, arch.words)),
            "strips_write": In(MemoryWrite(arch.strip_bits, arch.strips)),
            "x_write": In(XWrite(arch)),
            "y": Out(signed(arch.acc_bits)),
            "busy": Out(arch.queue),
            "overrun": Out(1),
            "conflict": Out(1),
        }

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        m.submodules.words = words = SequentialMemory(arch.word_bits, arch.words)
        m.submodules.strips = strips = SequentialMemory(arch.strip_bits, arch.strips)
        for memory, write in ((words, self.words_write), (strips, self.strips_write)):
            wiring.connect(m, memory.write, wiring.flipped(write))
            m.d.comb += memory.restart.eq(self.restart)

        fields = {name: part_of(words.data, field) for name, field in word_fields(arch).items()}
        valid, last, end = Signal(), Signal(), Signal()
        half, shift = self._queue(m, pop=end)
        m.d.comb += [
            # No post comes before both memories show their first entries: the sequencer fetches
            # for as long as they do.
            valid.eq(self.busy[0]),
            last.eq(valid & fields["last"]),
            end.eq(valid & fields["end"]),
            words.take.eq(valid),
            strips.take.eq(last),
        ]
        first = Signal(init=1)
        with m.If(self.restart):
            m.d.sync += first.eq(1)
        with m.Elif(valid):
            m.d.sync += first.eq(fields["last"] | fields["end"])

        expected, wrapped = Signal(init=1), Signal()
        m.d.comb += wrapped.eq(words.first)
        with m.If(self.restart):
            m.d.sync += expected.eq(1)
        with m.Elif(valid):
            m.d.sync += expected.eq(fields["wrap"])
        # Each way through the memories must end a segment, or a stream could run for ever.
        astray = (wrapped != expected) | (wrapped & ~strips.first)
        endless = fields["wrap"] & ~fields["end"]
        m.d.sync += self.overrun.eq(valid & (astray | endless) & ~self.restart)

        x_4 = self._gather(m, fields["x"], shift)
        weights = Cat(fields[f"w{q}"] for q in range(arch.lanes))
        weights_4 = delay(m, weights, 4, "weights")
        rows_4 = delay(m, strips.data, 4, "rows")
        valid_4 = delay(m, valid, 4, "valid", control=True)
        first_4, last_4 = delay(m, first, 4, "first"), delay(m, last, 4, "last", control=True)
        half_4 = delay(m, half, 4, "half")
        m.d.sync += self.conflict.eq(last_4 & self.drain.enable & (half_4 == self.drain.half))

        sums = []
        for q in range(arch.lanes):
            m.submodules[f"lane{q}"] = lane = Lane(arch)
            wiring.connect(m, lane.drain, wiring.flipped(self.drain))
            m.d.comb += [
                lane.weight.eq(weights_4[q * arch.weight_bits :][: arch.weight_bits]),
                lane.x.eq(x_4),
                lane.valid.eq(valid_4),
                lane.first.eq(first_4),
                lane.last.eq(last_4),
                lane.half.eq(half_4),
                lane.row.eq(rows_4[q * arch.y_addr_bits :][: arch.y_addr_bits]),
            ]
            sums.append(lane.y)
        m.d.comb += self.y.eq(adder_tree(m, sums, arch.acc_bits, "lanes"))
        return m

    def _queue(self, m: Module, pop: Signal) -> tuple[Signal, Signal]:
        """Queue posted segments, closing up on ``pop``; return half and shift of the oldest."""
        depth = self._arch.queue
        layout = data.StructLayout({"half": 1, "shift": len(self.post.shift)})
        busy, entries = self.busy, [Signal(layout, name=f"segment{k}") for k in range(depth)]
        posted = Signal(layout)
        m.d.comb += [posted.half.eq(self.post.half), posted.shift.eq(self.post.shift)]
        for k in range(depth):
            # What stands at k in the next cycle: what closes up, or the newly posted one.
            more = busy[k + 1] if k + 1 < depth else 0
            less = busy[k - 1] if k else 1
            with m.If(pop):
                m.d.sync += busy[k].eq(more | (busy[k] & self.post.valid))
                with m.If(more):
                    if k + 1 < depth:
                        m.d.sync += entries[k].eq(entries[k + 1])
                with m.Elif(busy[k] & self.post.valid):
                    m.d.sync += entries[k].eq(posted)
            with m.Elif(self.post.valid & ~busy[k] & less):
                m.d.sync += [busy[k].eq(1), entries[k].eq(posted)]
        with m.If(self.restart):
            m.d.sync += busy.eq(0)
        return entries[0].half, entries[0].shift

    def _gather(self, m: Module, address: Any, shift: Signal) -> Signal:
        """Return x at the address, shifted, four cycles later."""
        arch = self._arch
        ways = arch.x_write
        m.submodules.x_copy = memory = Memory(shape=X_BITS * ways, depth=arch.x // ways, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.x_write.enable),
            write.addr.eq(self.x_write.address),
            write.data.eq(self.x_write.data),
            read.addr.eq(address[clog2(ways) :]),
        ]
        several_2 = Signal(X_BITS * ways, reset_less=True)
        one_3 = Signal(signed(X_BITS), reset_less=True)
        shifted_4 = Signal(signed(X_BITS + arch.max_shift), reset_less=True)
        which_2 = delay(m, address[: clog2(ways)], 2 if ways > 1 else 0, "which")
        shift_3 = delay(m, shift, 3, "shift")
        m.d.sync += [
            several_2.eq(read.data),
            one_3.eq(several_2.word_select(which_2, X_BITS)),
            shifted_4.eq(one_3 << shift_3[: clog2(arch.max_shift + 1)]),
        ]
        return shifted_4
