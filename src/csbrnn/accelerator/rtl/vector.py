"""`VectorEngine`: a group's element-wise pipeline and its vector memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import VECTOR_FRAC, X_BITS, Arch
from csbrnn.accelerator.isa import Combine
from csbrnn.accelerator.rtl.activation import ACTIVATION_CYCLES, Activation
from csbrnn.accelerator.rtl.interfaces import MemoryWrite, Slot
from csbrnn.accelerator.rtl.pipeline import delay, saturate, shift_right

__all__ = ["Stages", "VectorEngine"]


@dataclass(frozen=True)
class Stages:
    """When, in cycles after a slot's `Drain`, the pipeline needs each member of `Slot`.

    An operand's address comes three cycles before the operand, its enable one.

    Attributes:
        total: The drained row is summed over the group.
        h: h is ready.
    """

    total: int
    drain_shift: int
    drain_enable: int
    v_address: int
    v_enable: int
    act: int
    a_address: int
    a_enable: int
    e_address: int
    e_enable: int
    combine: int
    d_address: int
    d_enable: int
    x_shift: int
    h: int

    @classmethod
    def of(cls, arch: Arch) -> Stages:
        """The pipeline of one arch."""
        total = 3 + arch.levels
        drained = total + 4  # two shifts, round, saturate
        pre = drained + 2  # add, saturate
        a = pre + ACTIVATION_CYCLES
        product = a + 5  # operands, four parts, two sums, round
        d = product + 2  # add, saturate
        return cls(
            total=total,
            drain_shift=total,
            drain_enable=drained - 1,
            v_address=drained - 3,
            v_enable=drained - 1,
            act=pre,
            a_address=a - 3,
            a_enable=product - 1,
            e_address=product - 3,
            e_enable=product - 1,
            combine=product,
            d_address=d,
            d_enable=d,
            x_shift=d,
            h=d + 3,  # shift, round, saturate
        )


class VectorEngine(wiring.Component):
    """``D = combine(A * act(drain + V), E)``, a slot a cycle; docs/spec/accelerator.md, VOP.

    Members:
        slot: In, `Slot`; its ``drain`` is not used here.
        write: In. Loads the vector memory, while no slot is under way.
        total: In signed(acc_bits). Sum of the drained row over all banks.
        h: Out signed(16).
    """

    slot: Any
    write: Any
    total: Signal
    h: Signal

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "slot": In(Slot(arch)),
                "write": In(MemoryWrite(arch.vector_bits, arch.vector)),
                "total": In(signed(arch.acc_bits)),
                "h": Out(signed(X_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, slot = Module(), self.slot
        bits = self._arch.vector_bits
        m.submodules.memory = memory = Memory(shape=signed(bits), depth=self._arch.vector, init=[])

        v = _operand(m, memory, slot.v_address, slot.v_enable, "v")
        a = _operand(m, memory, slot.a_address, None, "a")
        e = _operand(m, memory, slot.e_address, slot.e_enable, "e")

        drained = self._drain(m)
        wide = Signal(signed(bits + 1), reset_less=True)
        pre = Signal(signed(bits), reset_less=True)
        m.d.sync += [wide.eq(drained + v), pre.eq(saturate(wide, bits))]
        m.submodules.activation = activation = Activation(self._arch)
        m.d.comb += [activation.pre.eq(pre), activation.act.eq(slot.act)]

        exact = _multiply(m, a, activation.result, bits)
        act_4 = delay(m, activation.result, 4, "act")
        product = Signal(signed(2 * bits - VECTOR_FRAC + 1), reset_less=True)
        m.d.sync += product.eq(
            Mux(slot.a_enable, (exact + (1 << (VECTOR_FRAC - 1))) >> VECTOR_FRAC, act_4)
        )

        combined = Signal(signed(len(product) + 1), reset_less=True)
        with m.Switch(slot.combine):
            with m.Case(Combine.PRODUCT):
                m.d.sync += combined.eq(product)
            with m.Case(Combine.ADD):
                m.d.sync += combined.eq(product + e)
            with m.Case(Combine.SUB):
                m.d.sync += combined.eq(product - e)
            with m.Default():
                m.d.sync += combined.eq(e - product)
        d = Signal(signed(bits), reset_less=True)
        m.d.sync += d.eq(saturate(combined, bits))

        write = memory.write_port()
        m.d.comb += [
            write.en.eq(slot.d_enable | self.write.enable),
            write.addr.eq(Mux(slot.d_enable, slot.d_address, self.write.address)),
            write.data.eq(Mux(slot.d_enable, d, self.write.data)),
        ]

        # round(d, s) is (2 d >> s) + 1 >> 1, for s = 0, too.
        shifted = Signal(signed(bits + 1), reset_less=True)
        rounded = Signal(signed(bits + 1), reset_less=True)
        m.d.sync += [
            shifted.eq(shift_right(Cat(Const(0, 1), d).as_signed(), slot.x_shift)),
            rounded.eq((shifted + 1) >> 1),
            self.h.eq(saturate(rounded, X_BITS)),
        ]
        return m

    def _drain(self, m: Module) -> Signal:
        """Return the total, rounded, saturated, and 0 without a drain: four cycles later."""
        slot, bits = self.slot, self._arch.vector_bits
        fine = Signal(signed(self._arch.acc_bits + 1), reset_less=True)
        coarse, rounded = Signal.like(fine), Signal.like(fine)
        drained = Signal(signed(bits), reset_less=True)
        shift_1 = delay(m, slot.drain_shift[2:], 1, "coarse_shift")
        doubled = Cat(Const(0, 1), self.total).as_signed()
        m.d.sync += [
            fine.eq(shift_right(doubled, slot.drain_shift[:2])),
            coarse.eq(shift_right(fine, Cat(Const(0, 2), shift_1))),
            rounded.eq((coarse + 1) >> 1),
            drained.eq(Mux(slot.drain_enable, saturate(rounded, bits), 0)),
        ]
        return drained


def _operand(m: Module, memory: Memory, address: Value, enable: Value | None, name: str) -> Signal:
    """Read the vector memory; the operand comes three cycles later, 0 if not enabled."""
    read = memory.read_port()
    shown = delay(m, read.data, 1, f"{name}_shown")
    operand = Signal(read.data.shape(), name=name, reset_less=True)
    m.d.comb += read.addr.eq(address)
    m.d.sync += operand.eq(shown if enable is None else Mux(enable, shown, 0))
    return operand


def _multiply(m: Module, left: Signal, right: Signal, bits: int) -> Signal:
    """Return the exact product, four cycles later, of four multipliers of half the width.

    A multiplier of 20 x 20 bits takes four of an FPGA's anyway; apart, each result is registered.
    So are the operands: a multiplier alone takes most of a cycle, and stands far from both.
    """
    left, right = delay(m, left, 1, "left"), delay(m, right, 1, "right")
    low = bits // 2 + bits % 2
    left_low, left_high = left[:low], left[low:].as_signed()
    right_low, right_high = right[:low], right[low:].as_signed()
    names = ("low_low", "low_high", "high_low", "high_high")
    pairs = (
        (left_low, right_low),
        (left_low, right_high),
        (left_high, right_low),
        (left_high, right_high),
    )
    parts = []
    for name, (x, y) in zip(names, pairs, strict=True):
        full = x * y
        part = Signal(full.shape(), name=name, reset_less=True)
        m.d.sync += part.eq(full)
        parts.append(part)
    middle = Signal(signed(len(parts[1]) + 1), reset_less=True)
    outer = Signal(signed(2 * bits), reset_less=True)
    exact = Signal(signed(2 * bits), reset_less=True)
    m.d.sync += [
        middle.eq(parts[1] + parts[2]),
        outer.eq(Cat(parts[0], parts[3])),  # low_low fills exactly 2 * low bits, unsigned
        exact.eq(outer + (middle << low)),
    ]
    return exact
