"""`Slots`: issues a VOP's slots, one after the other."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import TIMING, Arch, clog2
from csbrnn.accelerator.isa import INSTRUCTION_BITS, Vop
from csbrnn.accelerator.rtl.issue import Issue
from csbrnn.accelerator.rtl.pipeline import part_of

__all__ = ["Slots"]


class Slots(wiring.Component):
    """Counts a VOP's addresses up and its slots down; after a reset it first clears y.

    Whether a slot is issued depends on registers alone, as all the counters wait for it.

    Members:
        load: In 1. ``instruction`` is a VOP, whose first slot may be issued in the next cycle.
        instruction: In 128.
        parity: In 1. With ``load``.
        stop: In 1. Issue no more.
        room: In 1. The output can take two more slots.
        cleared: Out 1. All rows of y were cleared since the reset.
        emits: Out 1. The VOP writes x or the output.
        issued: Out 1. A slot is issued in this cycle; ``issue`` shows it in the next.
        done: Out 1. This is the VOP's last cycle.
        issue: Out, `Issue`.
    """

    load: Signal
    instruction: Signal
    parity: Signal
    stop: Signal
    room: Signal
    cleared: Signal
    emits: Signal
    issued: Signal
    done: Signal
    issue: Any

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "load": In(1),
                "instruction": In(INSTRUCTION_BITS),
                "parity": In(1),
                "stop": In(1),
                "room": In(1),
                "cleared": Out(1),
                "emits": Out(1),
                "issued": Out(1),
                "done": Out(1),
                "issue": Out(Issue(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        given = {name: part_of(self.instruction, field) for name, field in Vop.FIELDS.items()}
        f = {name: Signal(len(v), name=name, reset_less=True) for name, v in given.items()}
        with m.If(self.load):
            m.d.sync += [f[name].eq(value) for name, value in given.items()]
            m.d.sync += [
                f["half"].eq(given["half"] ^ self.parity),
                self.emits.eq(given["x_en"] | given["out"]),
            ]
        with m.Elif(self.issued):
            m.d.sync += [f[name].eq(f[name] + 1) for name in ("row", "v", "a", "e", "d")]
            m.d.sync += [f["x"].eq(f["x"] + arch.groups), f["n"].eq(f["n"] - 1)]

        left, last = Signal(), Signal()  # whether there are slots left, and only one
        due, phase = Signal(), Signal(range(arch.cadence + 1))
        long_cadence = self.emits if arch.cadence > 1 else 0
        m.d.comb += self.issued.eq(left & due & (self.room | ~f["out"]))
        m.d.sync += last.eq(Mux(self.issued, f["n"] == 2, f["n"] == 1))
        with m.If(self.issued):
            m.d.sync += [
                left.eq(~last),
                due.eq(~long_cadence),
                phase.eq(Mux(long_cadence, arch.cadence - 1, 0)),
            ]
        with m.Elif(~due):
            m.d.sync += [due.eq(phase <= 1), phase.eq(phase - 1)]

        # The next VOP may read what this one writes. Its slot k comes at least k cycles after its
        # first one, so waits between this one's slots don't count.
        running, long_enough, elapsed = Signal(), Signal(), Signal(range(TIMING.vector_min))
        with m.If((self.issued | ~left) & ~long_enough):
            m.d.sync += [
                elapsed.eq(elapsed + 1),
                long_enough.eq(elapsed == TIMING.vector_min - 2),
            ]
        # In the last cycle of the last slot, which takes one cycle or a whole cadence.
        complete = Mux(left, self.issued & last & ~long_cadence, phase <= 1)
        m.d.comb += self.done.eq(running & complete & long_enough)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        with m.If(self.load):
            m.d.sync += [
                left.eq(given["n"] != 0),
                last.eq(given["n"] == 1),
                due.eq(1),
                phase.eq(0),
                running.eq(1),
                long_enough.eq(0),
                elapsed.eq(0),
            ]
        with m.If(self.stop):
            m.d.sync += [left.eq(0), running.eq(0)]
        self._show(m, f)
        return m

    def _show(self, m: Module, f: dict[str, Value]) -> None:
        """Register the slot; what it holds counts only with ``valid`` or ``drain``."""
        arch, issue = self._arch, self.issue
        row, half = Signal(arch.y_addr_bits), Signal()
        with m.If(~self.cleared):
            # y banks hold what a reset interrupted, or what power-up left.
            m.d.sync += row.eq(row + 1)
            with m.If(row == arch.y - 1):
                m.d.sync += [row.eq(0), half.eq(1), self.cleared.eq(half)]
        m.d.sync += [
            issue.valid.eq(self.issued),
            issue.drain.eq(~self.cleared | (self.issued & f["drain"])),
            issue.row.eq(Mux(self.cleared, f["row"], row)),
            issue.half.eq(Mux(self.cleared, f["half"], half)),
            issue.x.eq(f["x"][clog2(arch.x_write) :]),
            issue.last.eq(f["n"] == 1),
        ]
        for target, name in (
            (issue.drain_shift, "drain_shift"),
            (issue.v_address, "v"),
            (issue.v_enable, "v_en"),
            (issue.a_address, "a"),
            (issue.a_enable, "a_en"),
            (issue.e_address, "e"),
            (issue.e_enable, "e_en"),
            (issue.d_address, "d"),
            (issue.d_enable, "d_en"),
            (issue.act, "act"),
            (issue.combine, "combine"),
            (issue.x_enable, "x_en"),
            (issue.x_shift, "x_shift"),
            (issue.out, "out"),
        ):
            m.d.sync += target.eq(f[name])
