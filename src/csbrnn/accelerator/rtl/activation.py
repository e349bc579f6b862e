"""`Activation`: none, sigmoid, tanh, relu, from one table of tanh."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.isa import ACTS, Vop
from csbrnn.accelerator.rtl.pipeline import delay
from csbrnn.numerics import MAGNITUDE_BITS, tanh_table

__all__ = ["ACTIVATION_CYCLES", "Activation"]

ACTIVATION_CYCLES = 8
"""From operand to result."""

_BASE_BITS = 16
_SLOPE_BITS = 15


class Activation(wiring.Component):
    """``act(pre)``, a result a cycle, `ACTIVATION_CYCLES` later; docs/spec/accelerator.md, Numbers.

    Members:
        pre: In signed(vector_bits).
        act: In 2. Position in `csbrnn.accelerator.isa.ACTS`; comes with ``pre``.
        result: Out signed(vector_bits).
    """

    pre: Signal
    act: Signal
    result: Signal

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        shape = signed(arch.vector_bits)
        super().__init__(
            {"pre": In(shape), "act": In(Vop.FIELDS["act"].width), "result": Out(shape)}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        sigmoid, tanh, relu = (ACTS.index(name) for name in ("sigmoid", "tanh", "relu"))

        magnitude_1 = Signal(arch.vector_bits, reset_less=True)
        m.d.sync += magnitude_1.eq(Mux(self.pre[-1], -self.pre, self.pre))
        act_1 = delay(m, self.act, 1, "act")
        doubled_1 = Signal(arch.vector_bits + 1)
        m.d.comb += doubled_1.eq(Mux(act_1 == tanh, Cat(Const(0, 1), magnitude_1), magnitude_1))
        argument_2 = Signal(MAGNITUDE_BITS, reset_less=True)
        too_large_1 = doubled_1[MAGNITUDE_BITS:].any()
        m.d.sync += argument_2.eq(
            doubled_1[:MAGNITUDE_BITS] | too_large_1.replicate(MAGNITUDE_BITS)
        )

        values = tanh_table(arch.segments)
        entries = [int(b) | int(s) << _BASE_BITS for b, s in zip(*values, strict=True)]
        m.submodules.table = table = Memory(
            shape=_BASE_BITS + _SLOPE_BITS, depth=arch.segments, init=entries
        )
        read = table.read_port()
        fraction_bits = values.fraction_bits
        m.d.comb += read.addr.eq(argument_2[fraction_bits:])
        entry_4 = Signal(_BASE_BITS + _SLOPE_BITS, reset_less=True)
        m.d.sync += entry_4.eq(read.data)
        fraction_4 = delay(m, argument_2[:fraction_bits], 2, "fraction")
        product_5 = Signal(_SLOPE_BITS + fraction_bits, reset_less=True)
        m.d.sync += product_5.eq(entry_4[_BASE_BITS:] * fraction_4)
        base_5 = delay(m, entry_4[:_BASE_BITS], 1, "base")
        t_6 = Signal(_BASE_BITS + 1, reset_less=True)
        # The rounding's half stands below the base: one adder.
        m.d.sync += t_6.eq((Cat(Const(1 << 14, 15), base_5) + product_5) >> 15)

        pre_6 = delay(m, self.pre, 6, "pre")
        act_6 = delay(m, act_1, 5, "act_late")
        odd_7 = Signal(signed(arch.vector_bits), reset_less=True)
        negative_6 = pre_6[-1]
        offset_6 = Mux(act_6 == sigmoid, (1 << 15) + 1, 0) + negative_6
        flipped_6 = Cat(t_6, Const(0, 1)) ^ negative_6.replicate(len(t_6) + 1)
        m.d.sync += odd_7.eq(offset_6 + flipped_6.as_signed())
        pre_7, act_7 = delay(m, pre_6, 1, "pre_last"), delay(m, act_6, 1, "act_last")
        with m.Switch(act_7):
            with m.Case(sigmoid):
                m.d.sync += self.result.eq(odd_7 >> 1)
            with m.Case(tanh):
                m.d.sync += self.result.eq(odd_7)
            with m.Case(relu):
                m.d.sync += self.result.eq(Mux(pre_7[-1], 0, pre_7))
            with m.Default():
                m.d.sync += self.result.eq(pre_7)
        return m
