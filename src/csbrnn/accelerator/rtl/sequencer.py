"""`Sequencer`: fetches macro-instructions and carries them out, one after the other."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import TIMING, Arch
from csbrnn.accelerator.isa import (
    INSTRUCTION_BITS,
    OPCODE_BITS,
    End,
    Field,
    Jump,
    Next,
    Run,
    Vop,
    Wait,
)
from csbrnn.accelerator.isa import In as InputInstruction
from csbrnn.accelerator.rtl.interfaces import Beat, MemoryWrite, Post, XWrite
from csbrnn.accelerator.rtl.issue import Issue
from csbrnn.accelerator.rtl.pipeline import clog2
from csbrnn.accelerator.rtl.status import CODE_BITS, STATE_BITS, Code, State

__all__ = ["PC_BITS", "STEP_BITS", "Sequencer"]

PC_BITS = 12
STEP_BITS = 32


class Sequencer(wiring.Component):
    """Program memory, macro-instructions, steps, status.

    An instruction is fetched in two cycles and then executes until its condition holds; the next
    is fetched when it is done. A VOP issues its slots while it executes; whatever is not a VOP
    waits until the last slot has left the pipelines.

    Members:
        write: In. Loads the program memory.
        start: In 1. Taken while ``state`` isn't RUNNING or ERROR, and ``ready``.
        steps: In 32. With ``start``.
        fault: In 4. A `Code` that stops the engine; 0 is none.
        busy: In ``queue``. Bit k: some stream has more than k unfinished segments.
        room: In 1. The output can take two more slots.
        input: In, stream of `Beat`.
        ready: Out 1. May be started.
        state: Out 2. `State`.
        code: Out 4. `Code`.
        pc: Out 12. Of the instruction that executes.
        cycles: Out 32. From start to END's execution.
        restart: Out 1. Streams stand at their first word.
        post: Out, `Post`.
        issue: Out, `Issue`.
        x_write: Out, `XWrite`. Values of an IN.
    """

    write: Any
    start: Signal
    steps: Signal
    fault: Signal
    busy: Signal
    room: Signal
    input: Any
    ready: Signal
    state: Signal
    code: Signal
    pc: Signal
    cycles: Signal
    restart: Signal
    post: Any
    issue: Any
    x_write: Any

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "write": In(MemoryWrite(INSTRUCTION_BITS, arch.program)),
                "start": In(1),
                "steps": In(STEP_BITS),
                "fault": In(CODE_BITS),
                "busy": In(arch.queue),
                "room": In(1),
                "input": In(stream.Signature(Beat(arch))),
                "ready": Out(1),
                "state": Out(STATE_BITS),
                "code": Out(CODE_BITS),
                "pc": Out(PC_BITS),
                "cycles": Out(STEP_BITS),
                "restart": Out(1),
                "post": Out(Post()),
                "issue": Out(Issue(arch)),
                "x_write": Out(XWrite(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        m.submodules.program = program = Memory(shape=INSTRUCTION_BITS, depth=arch.program, init=[])
        write, read = program.write_port(), program.read_port()
        m.d.comb += [
            write.en.eq(self.write.enable),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
            read.addr.eq(self.pc),
        ]
        last = Signal.like(self.write.address, reset_less=True)
        with m.If(self.write.enable):
            m.d.sync += last.eq(self.write.address)

        ir = Signal(INSTRUCTION_BITS)
        remaining, parity = Signal(STEP_BITS), Signal()
        clear_row, clear_half = Signal(arch.y_addr_bits), Signal()
        settle = Signal(range(TIMING.settle))
        # From a slot's issue until a RUN may post what reads its h.
        drain_cycles = TIMING.vector + clog2(arch.streams) + clog2(arch.lanes)
        vector_wait = Signal(range(drain_cycles + arch.cadence))
        phase = Signal(range(arch.cadence + 1))
        elapsed = Signal(range(TIMING.vector_min))
        fresh, active, final = Signal(), Signal(), Signal()
        issued, failed, fault = Signal(), Signal(CODE_BITS), Signal(CODE_BITS)
        # What an instruction decides on is a register wherever it can be: here is the longest way.
        m.d.sync += fault.eq(Mux(self.fault != 0, self.fault, failed))
        last_step = Signal()
        m.d.sync += last_step.eq(remaining == 1)

        # Countdowns, unless an instruction sets them anew below.
        quiet, settled = Signal(init=1), Signal(init=1)
        m.d.sync += [quiet.eq(vector_wait <= 1), settled.eq(settle <= 1)]
        with m.If(settle != 0):
            m.d.sync += settle.eq(settle - 1)
        with m.If(vector_wait != 0):
            m.d.sync += vector_wait.eq(vector_wait - 1)

        with m.If(self.state == State.RUNNING):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        m.d.sync += [self.post.valid.eq(0), self.issue.valid.eq(0), self.issue.drain.eq(0)]
        m.d.comb += self.restart.eq(self.state != State.RUNNING)

        def stop_on_fault() -> None:
            with m.If(fault != 0):
                m.next = "STOPPED"

        def get(kind: Any, name: str) -> Any:
            return _get(ir, kind.FIELDS[name])

        with m.FSM(init="CLEAR"):
            with m.State("CLEAR"):
                # y banks hold what a reset interrupted, or what power-up left.
                m.d.sync += [
                    self.issue.drain.eq(1),
                    self.issue.row.eq(clear_row),
                    self.issue.half.eq(clear_half),
                ]
                with m.If(clear_row == arch.y - 1):
                    m.d.sync += [clear_row.eq(0), clear_half.eq(1)]
                    with m.If(clear_half):
                        m.next = "STOPPED"
                with m.Else():
                    m.d.sync += clear_row.eq(clear_row + 1)

            with m.State("STOPPED"):
                m.d.comb += self.ready.eq(self.state != State.ERROR)
                with m.If(self.start & self.ready):
                    m.d.sync += [
                        self.cycles.eq(0),
                        self.pc.eq(0),
                        parity.eq(0),
                        remaining.eq(self.steps),
                    ]
                    with m.If(self.steps == 0):
                        m.d.sync += self.state.eq(State.DONE)
                    with m.Else():
                        m.d.sync += [self.state.eq(State.RUNNING), self.cycles.eq(1)]
                        m.next = "FETCH"

            with m.State("FETCH"):
                m.next = "DECODE"
                with m.If(self.pc > last):
                    m.d.comb += failed.eq(Code.PC_OVERRUN)
                stop_on_fault()

            with m.State("DECODE"):
                m.d.sync += [
                    ir.eq(read.data),
                    phase.eq(0),
                    elapsed.eq(0),
                    fresh.eq(1),
                    active.eq(1),
                ]
                m.next = "EXECUTE"
                stop_on_fault()

            with m.State("EXECUTE"):
                done, target, jump = Signal(), Signal(PC_BITS), Signal()
                m.d.sync += fresh.eq(0)
                with m.Switch(ir[:OPCODE_BITS]):
                    with m.Case(Run.OPCODE):
                        with m.If(quiet & settled & ~self.busy[-1]):
                            m.d.comb += done.eq(1)
                            m.d.sync += [
                                self.post.valid.eq(1),
                                self.post.half.eq(get(Run, "half") ^ parity),
                                self.post.shift.eq(get(Run, "shift")),
                                settle.eq(TIMING.settle - 1),
                                settled.eq(0),
                            ]
                    with m.Case(Wait.OPCODE):
                        more = self.busy.bit_select(get(Wait, "count"), 1)
                        m.d.comb += done.eq(quiet & settled & ~more)
                    with m.Case(Vop.OPCODE):
                        self._vector(m, ir, parity, phase, elapsed, active, issued, done)
                        with m.If(issued):
                            emits = get(Vop, "x_en") | get(Vop, "out")
                            more = Mux(emits, arch.cadence - 1, 0)
                            m.d.sync += [vector_wait.eq(drain_cycles + more), quiet.eq(0)]
                        with m.If(fresh & (get(Vop, "n") == 0)):
                            m.d.comb += failed.eq(Code.ZERO_COUNT)
                    with m.Case(InputInstruction.OPCODE):
                        with m.If(get(InputInstruction, "count") == 0):
                            m.d.comb += failed.eq(Code.ZERO_COUNT)
                        with m.Elif(quiet):
                            m.d.sync += final.eq(get(InputInstruction, "count") <= arch.x_write)
                            m.next = "INPUT"
                    with m.Case(Next.OPCODE):
                        m.d.comb += [
                            done.eq(quiet),
                            jump.eq(~last_step),
                            target.eq(get(Next, "target")),
                        ]
                        with m.If(quiet):
                            m.d.sync += remaining.eq(remaining - 1)
                    with m.Case(Jump.OPCODE):
                        m.d.comb += [done.eq(quiet), jump.eq(1), target.eq(get(Jump, "target"))]
                        with m.If(quiet):
                            m.d.sync += parity.eq(parity ^ get(Jump, "toggle"))
                    with m.Case(End.OPCODE):
                        with m.If(quiet & settled & ~self.busy[0]):
                            m.d.sync += [self.state.eq(State.DONE), self.cycles.eq(self.cycles)]
                            m.next = "STOPPED"
                    with m.Default():
                        m.d.comb += failed.eq(Code.ILLEGAL_OPCODE)
                with m.If(done):
                    m.d.sync += self.pc.eq(Mux(jump, target, self.pc + 1))
                    m.next = "FETCH"
                stop_on_fault()

            with m.State("INPUT"):
                count, x = (InputInstruction.FIELDS[name] for name in ("count", "x"))
                beat = self.input.payload
                accepted = self.input.valid & self.input.ready
                m.d.comb += [
                    self.input.ready.eq(fault == 0),
                    self.x_write.enable.eq(accepted),
                    self.x_write.address.eq(_get(ir, x)[clog2(arch.x_write) :]),
                    self.x_write.data.eq(beat.data),
                ]
                with m.If(accepted):
                    m.d.sync += [
                        _get(ir, count).eq(_get(ir, count) - arch.x_write),
                        _get(ir, x).eq(_get(ir, x) + arch.x_write),
                        final.eq(_get(ir, count) <= 2 * arch.x_write),
                    ]
                    with m.If(beat.last != final):
                        m.d.comb += failed.eq(Code.INPUT_TLAST)
                    with m.Elif(final):
                        m.d.sync += self.pc.eq(self.pc + 1)
                        m.next = "FETCH"
                stop_on_fault()

        with m.If((fault != 0) & (self.state != State.ERROR)):
            m.d.sync += [self.state.eq(State.ERROR), self.code.eq(fault)]
        return m

    def _vector(
        self,
        m: Module,
        ir: Signal,
        parity: Signal,
        phase: Signal,
        elapsed: Signal,
        active: Signal,
        issued: Signal,
        done: Signal,
    ) -> None:
        """Issue a VOP's slots, counting the instruction's own fields up and ``n`` down."""
        arch, issue = self._arch, self.issue
        f = {name: _get(ir, field) for name, field in Vop.FIELDS.items()}
        emits = f["x_en"] | f["out"]
        m.d.comb += issued.eq(active & (phase == 0) & (self.room | ~f["out"]))
        final_slot = Signal()  # known from the second cycle on; a VOP has more
        m.d.sync += final_slot.eq(Mux(issued, f["n"] == 2, f["n"] == 1))
        with m.If(issued):
            m.d.sync += [f[name].eq(f[name] + 1) for name in ("row", "v", "a", "e", "d")]
            m.d.sync += [
                f["x"].eq(f["x"] + arch.groups),
                f["n"].eq(f["n"] - 1),
                active.eq(f["n"] != 1),
                phase.eq(Mux(emits, arch.cadence - 1, 0)),
                issue.valid.eq(1),
                issue.drain.eq(f["drain"]),
                issue.half.eq(f["half"] ^ parity),
                issue.d_enable.eq(f["d_en"]),
                issue.x_enable.eq(f["x_en"]),
                issue.x.eq(f["x"][clog2(arch.x_write) :]),
                issue.out.eq(f["out"]),
                issue.last.eq(f["n"] == 1),
            ]
            for target, name in (
                (issue.row, "row"),
                (issue.drain_shift, "drain_shift"),
                (issue.v_address, "v"),
                (issue.v_enable, "v_en"),
                (issue.a_address, "a"),
                (issue.a_enable, "a_en"),
                (issue.e_address, "e"),
                (issue.e_enable, "e_en"),
                (issue.d_address, "d"),
                (issue.act, "act"),
                (issue.combine, "combine"),
                (issue.x_shift, "x_shift"),
            ):
                m.d.sync += target.eq(f[name])
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(phase - 1)
        # The next VOP may read what this one writes. Its slot k comes at least k cycles after its
        # first one, so waits between this one's slots don't count.
        with m.If((issued | ~active) & (elapsed != TIMING.vector_min - 1)):
            m.d.sync += elapsed.eq(elapsed + 1)
        # This cycle is the last slot's last: of one cycle, or of a cadence of several.
        short = (arch.cadence == 1) | ~emits
        complete = Mux(active, issued & final_slot & short, phase <= 1)
        m.d.comb += done.eq(complete & (elapsed == TIMING.vector_min - 1))


def _get(word: Any, field: Field) -> Any:
    return word[field.low : field.low + field.width]
