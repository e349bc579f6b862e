"""`Lane`: a multiplier-accumulator and its two y banks."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.rtl.interfaces import Drain
from csbrnn.accelerator.rtl.pipeline import delay

__all__ = ["Lane"]


class Lane(wiring.Component):
    """Multiplies and accumulates; at a strip's last word adds the sum into a row of y.

    The word's inputs come together. Its row of y is read in the same cycle and written three cycles
    later, so two updates of a row are at least four words apart. ``y`` shows what was drained three
    cycles after `Drain`; the row is cleared in the cycle after `Drain`.

    Members:
        weight: In signed(weight_bits).
        x: In signed(16 + max_shift), shifted already.
        valid: In 1. There is a word.
        first, last: In 1 each. The strip begins, ends with this word.
        half: In 1. Which bank takes the sum.
        row: In. Where in the bank; used at ``last``.
        drain: In, `Drain`.
        y: Out signed(acc_bits).
    """

    weight: Signal
    x: Signal
    valid: Signal
    first: Signal
    last: Signal
    half: Signal
    row: Signal
    drain: Any
    y: Signal

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "weight": In(signed(arch.weight_bits)),
                "x": In(signed(X_BITS + arch.max_shift)),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "half": In(1),
                "row": In(arch.y_addr_bits),
                "drain": In(Drain(arch)),
                "y": Out(signed(arch.acc_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m = Module()
        sum_shape = signed(self._arch.acc_bits)
        product = Signal(signed(len(self.weight) + len(self.x)), reset_less=True)
        m.d.sync += product.eq(self.weight * self.x)

        valid_1 = delay(m, self.valid, 1, "valid", control=True)
        first_1 = delay(m, self.first, 1, "first")
        accumulator = Signal(sum_shape, reset_less=True)
        with m.If(valid_1):
            m.d.sync += accumulator.eq(Mux(first_1, 0, accumulator) + product)

        update = delay(m, self.valid & self.last, 2, "update", control=True)
        half_2 = delay(m, self.half, 2, "half")
        row_3 = delay(m, self.row, 3, "row")
        row_cleared = delay(m, self.drain.row, 1, "row_cleared")

        y_2 = []
        write_total, writes = Signal(sum_shape, reset_less=True), []
        for half in (0, 1):
            m.submodules[f"bank{half}"] = bank = Memory(
                shape=sum_shape, depth=self._arch.y, init=[]
            )
            read, write = bank.read_port(), bank.write_port()
            drained = self.drain.enable & (self.drain.half == half)
            m.d.comb += read.addr.eq(Mux(drained, self.drain.row, self.row))
            y = Signal(sum_shape, name=f"y{half}_2", reset_less=True)
            m.d.sync += y.eq(read.data)
            y_2.append(y)

            clear = Signal(name=f"clear{half}")
            updated = Signal(name=f"updated{half}")
            m.d.sync += [clear.eq(drained), updated.eq(update & (half_2 == half))]
            writes.append(updated)
            m.d.comb += [
                write.en.eq(updated | clear),
                write.addr.eq(Mux(clear, row_cleared, row_3)),
                write.data.eq(Mux(clear, 0, write_total)),
            ]
        m.d.sync += write_total.eq(accumulator + Mux(half_2, y_2[1], y_2[0]))

        drained_half_2 = delay(m, self.drain.half, 2, "drained_half")
        m.d.sync += self.y.eq(Mux(drained_half_2, y_2[1], y_2[0]))
        return m
