"""`PEGroup`: P streams, their drain, and a vector engine."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.isa import Space
from csbrnn.accelerator.rtl.blackbox import part
from csbrnn.accelerator.rtl.interfaces import LoadBus, Post, Slot, XWrite
from csbrnn.accelerator.rtl.pipeline import adder_tree, any_of, delay
from csbrnn.accelerator.rtl.stream import WeightStream
from csbrnn.accelerator.rtl.vector import VectorEngine

__all__ = ["PEGroup"]


class PEGroup(wiring.Component):
    """One group. Everything that comes in is registered first, so wires may be long.

    Members:
        index: In 8. Which group this is; a constant.
        restart: In 1.
        post: In, `Post`.
        slot: In, `Slot`.
        load: In, `LoadBus`. Taken if its group is ``index``.
        x_write: In, `XWrite`.
        h: Out signed(16).
        busy: Out ``queue``. Bit k: some stream has more than k unfinished segments; one cycle late.
        overrun, conflict: Out 1 each. Some stream says so; one cycle late.
    """

    index: Signal
    restart: Signal
    post: Any
    slot: Any
    load: Any
    x_write: Any
    h: Signal
    busy: Signal
    overrun: Signal
    conflict: Signal

    def __init__(self, arch: Arch, stream_module: str | None = None) -> None:
        self._arch, self._stream_module = arch, stream_module
        super().__init__(self.ports(arch))

    @staticmethod
    def ports(arch: Arch) -> dict[str, wiring.Member]:
        """The members, for a stand-in."""
        return {
            "index": In(8),
            "restart": In(1),
            "post": In(Post()),
            "slot": In(Slot(arch)),
            "load": In(LoadBus(arch)),
            "x_write": In(XWrite(arch)),
            "h": Out(signed(X_BITS)),
            "busy": Out(arch.queue),
            "overrun": Out(1),
            "conflict": Out(1),
        }

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        restart = delay(m, self.restart, 1, "restart", control=True)
        post, slot = _registered(m, self.post, "post"), _registered(m, self.slot, "slot")
        x_write = _registered(m, self.x_write, "x_write")
        load = _registered(m, self.load, "load")
        address, data = delay(m, load.address, 1, "address"), delay(m, load.data, 1, "data")
        mine = Signal()
        m.d.comb += mine.eq(load.enable & (load.group == self.index))

        def write_of(write: Any, chosen: Any) -> None:
            """Write what the load bus had a cycle ago, where ``chosen`` was its memory."""
            enable = Signal(name="write_enable")
            m.d.sync += enable.eq(mine & chosen)
            m.d.comb += [write.enable.eq(enable), write.address.eq(address), write.data.eq(data)]

        sums, streams = [], []
        for p in range(arch.streams):
            stream = part(WeightStream, arch, self._stream_module)
            m.submodules[f"stream{p}"] = stream
            streams.append(stream)
            sums.append(stream.y)
            wiring.connect(m, post, stream.post)
            wiring.connect(m, slot.drain, stream.drain)
            wiring.connect(m, x_write, stream.x_write)
            m.d.comb += stream.restart.eq(restart)
            for space, write in (
                (Space.WORDS, stream.words_write),
                (Space.STRIPS, stream.strips_write),
            ):
                write_of(write, (load.space == space) & (load.stream == p))
        m.d.sync += [
            self.busy.eq(any_of(stream.busy for stream in streams)),
            self.overrun.eq(any_of(stream.overrun for stream in streams)),
            self.conflict.eq(any_of(stream.conflict for stream in streams)),
        ]

        m.submodules.vector = vector = VectorEngine(arch)
        wiring.connect(m, slot, vector.slot)
        write_of(vector.write, load.space == Space.VECTOR)
        m.d.comb += [
            vector.total.eq(adder_tree(m, sums, arch.acc_bits, "streams")),
            self.h.eq(vector.h),
        ]
        return m


def _registered(m: Module, interface: Any, name: str) -> Any:
    """Return an interface like the given one, one cycle late; reset clears it."""
    signature = interface.signature.flip()
    late = signature.create(path=(name,))
    for (_, _, source), (_, _, target) in zip(
        signature.flatten(interface), signature.flatten(late), strict=True
    ):
        m.d.sync += target.eq(source)
    return late
