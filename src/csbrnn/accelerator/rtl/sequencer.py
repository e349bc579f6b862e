"""`Sequencer`: fetches macro-instructions and carries them out, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import TIMING, Arch, clog2
from csbrnn.accelerator.isa import (
    INSTRUCTION_BITS,
    OPCODE_BITS,
    End,
    Jump,
    Next,
    Run,
    Vop,
    Wait,
)
from csbrnn.accelerator.isa import In as InputInstruction
from csbrnn.accelerator.rtl.interfaces import Beat, MemoryWrite, Post, XWrite
from csbrnn.accelerator.rtl.issue import Issue
from csbrnn.accelerator.rtl.pipeline import part_of
from csbrnn.accelerator.rtl.slots import Slots
from csbrnn.accelerator.rtl.status import CODE_BITS, STATE_BITS, Code, State

__all__ = ["PC_BITS", "STEP_BITS", "Sequencer"]

PC_BITS = Next.FIELDS["target"].width
STEP_BITS = 32

_NARROW = max(
    field.low + field.width
    for kind in (Run, Wait, InputInstruction, Next, Jump)
    for field in kind.FIELDS.values()
)
"""Bits of an instruction that isn't a VOP."""


class _Control(NamedTuple):
    """Registers and wires that states share.

    Attributes:
        last: Address of the last instruction that was loaded.
        fetched: What the program memory showed, one cycle ago.
        ir: The instruction that executes; not of a VOP.
        nothing: It is a VOP or an IN of nothing.
        remaining: Steps, this one included.
        last_step: This is the last one.
        parity: Exchanges the halves of y.
        quiet: A RUN may post what reads any h that was issued.
        settle: Cycles until RUN, WAIT and END see the last RUN's effect.
        settled: They do.
        final: The next beat of an IN must have TLAST.
        failed: What this cycle finds wrong, a `Code`.
        fault: What stops the engine.
        slots: Issues the slots of a VOP.
        field: Of the instruction that executes, by kind and name.
        stop_on_fault: Makes a state end in STOPPED, whatever came next otherwise.
    """

    last: Signal
    fetched: Signal
    ir: Signal
    nothing: Signal
    remaining: Signal
    last_step: Signal
    parity: Signal
    quiet: Signal
    settle: Signal
    settled: Signal
    final: Signal
    failed: Signal
    fault: Signal
    slots: Slots
    field: Callable[[Any, str], Any]
    stop_on_fault: Callable[[], None]


class Sequencer(wiring.Component):
    """Program memory, macro-instructions, steps, status.

    An instruction is fetched in three cycles and then executes until its condition holds; the next
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
        m = Module()
        c = self._control(m)
        with m.FSM(init="CLEAR"):
            self._wait_for_start(m, c)
            self._fetch(m, c)
            self._execute(m, c)
            self._take_input(m, c)
        with m.If((c.fault != 0) & (self.state != State.ERROR)):
            m.d.sync += [self.state.eq(State.ERROR), self.code.eq(c.fault)]
        return m

    def _control(self, m: Module) -> _Control:
        """All that goes on in every state."""
        arch = self._arch
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

        # The memory alone takes most of a cycle, and counters take over what it shows.
        fetched, ir = Signal(INSTRUCTION_BITS, reset_less=True), Signal(_NARROW)
        m.d.sync += fetched.eq(read.data)
        remaining, parity = Signal(STEP_BITS), Signal()
        settle = Signal(range(TIMING.settle))
        # From a slot's issue until a RUN may post what reads its h.
        drain_cycles = TIMING.vector + arch.levels
        vector_wait = Signal(range(drain_cycles + arch.cadence))
        nothing, final = Signal(), Signal()
        failed, fault = Signal(CODE_BITS), Signal(CODE_BITS)
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
        with m.Elif(self.start & self.ready):
            m.d.sync += self.cycles.eq(0)
        m.d.sync += self.post.valid.eq(0)
        m.d.comb += self.restart.eq(self.state != State.RUNNING)

        m.submodules.slots = slots = Slots(arch)
        wiring.connect(m, slots.issue, wiring.flipped(self.issue))
        m.d.comb += [
            slots.instruction.eq(fetched),
            slots.parity.eq(parity),
            slots.room.eq(self.room),
            slots.stop.eq(fault != 0),
        ]
        with m.If(slots.issued):
            more = Mux(slots.emits, arch.cadence - 1, 0)
            m.d.sync += [vector_wait.eq(drain_cycles + more), quiet.eq(0)]

        def field(kind: Any, name: str) -> Any:
            return part_of(ir, kind.FIELDS[name])

        def stop_on_fault() -> None:
            with m.If(fault != 0):
                m.next = "STOPPED"

        return _Control(
            last=last,
            fetched=fetched,
            ir=ir,
            nothing=nothing,
            remaining=remaining,
            last_step=last_step,
            parity=parity,
            quiet=quiet,
            settle=settle,
            settled=settled,
            final=final,
            failed=failed,
            fault=fault,
            slots=slots,
            field=field,
            stop_on_fault=stop_on_fault,
        )

    def _wait_for_start(self, m: Module, c: _Control) -> None:
        """CLEAR and STOPPED: y is cleared, then nothing happens until ``start``."""
        with m.State("CLEAR"):
            with m.If(c.slots.cleared):
                m.next = "STOPPED"

        with m.State("STOPPED"):
            m.d.comb += self.ready.eq(self.state != State.ERROR)
            with m.If(self.start & self.ready):
                m.d.sync += [
                    self.pc.eq(0),
                    c.parity.eq(0),
                    c.remaining.eq(self.steps),
                ]
                with m.If(self.steps == 0):
                    m.d.sync += self.state.eq(State.DONE)
                with m.Else():
                    m.d.sync += self.state.eq(State.RUNNING)
                    m.next = "FETCH"

    def _fetch(self, m: Module, c: _Control) -> None:
        """FETCH, READ and DECODE: three cycles for the program memory and its register."""
        with m.State("FETCH"):
            m.next = "READ"
            with m.If(self.pc > c.last):
                m.d.comb += c.failed.eq(Code.PC_OVERRUN)
            c.stop_on_fault()

        with m.State("READ"):
            m.next = "DECODE"
            c.stop_on_fault()

        with m.State("DECODE"):
            vector, takes = (
                c.fetched[:OPCODE_BITS] == kind.OPCODE for kind in (Vop, InputInstruction)
            )
            m.d.comb += c.slots.load.eq(vector)
            m.d.sync += [
                c.ir.eq(c.fetched),
                c.nothing.eq(
                    (vector & (part_of(c.fetched, Vop.FIELDS["n"]) == 0))
                    | (takes & (part_of(c.fetched, InputInstruction.FIELDS["count"]) == 0))
                ),
            ]
            m.next = "EXECUTE"
            c.stop_on_fault()

    def _execute(self, m: Module, c: _Control) -> None:
        """EXECUTE: until the instruction's condition holds."""
        with m.State("EXECUTE"):
            done, jump = Signal(), Signal()
            with m.If(c.nothing):
                m.d.comb += c.failed.eq(Code.ZERO_COUNT)
            self._carry_out(m, c, done, jump)
            with m.If(done):
                target = c.field(Next, "target")  # JUMP's is at the same place
                m.d.sync += self.pc.eq(Mux(jump, target, self.pc + 1))
                m.next = "FETCH"
            c.stop_on_fault()

    def _carry_out(self, m: Module, c: _Control, done: Signal, jump: Signal) -> None:
        """Carry the instruction out: ``done`` at its end, and ``jump`` if its target comes next."""
        with m.Switch(c.ir[:OPCODE_BITS]):
            with m.Case(Run.OPCODE):
                with m.If(c.quiet & c.settled & ~self.busy[-1]):
                    m.d.comb += done.eq(1)
                    m.d.sync += [
                        self.post.valid.eq(1),
                        self.post.half.eq(c.field(Run, "half") ^ c.parity),
                        self.post.shift.eq(c.field(Run, "shift")),
                        c.settle.eq(TIMING.settle - 1),
                        c.settled.eq(0),
                    ]
            with m.Case(Wait.OPCODE):
                more = self.busy.bit_select(c.field(Wait, "count"), 1)
                m.d.comb += done.eq(c.quiet & c.settled & ~more)
            with m.Case(Vop.OPCODE):
                m.d.comb += done.eq(c.slots.done)
            with m.Case(InputInstruction.OPCODE):
                with m.If(c.quiet & ~c.nothing):
                    count = c.field(InputInstruction, "count")
                    m.d.sync += c.final.eq(count <= self._arch.x_write)
                    m.next = "INPUT"
            with m.Case(Next.OPCODE):
                m.d.comb += [done.eq(c.quiet), jump.eq(~c.last_step)]
                with m.If(c.quiet):
                    m.d.sync += c.remaining.eq(c.remaining - 1)
            with m.Case(Jump.OPCODE):
                m.d.comb += [done.eq(c.quiet), jump.eq(1)]
                with m.If(c.quiet):
                    m.d.sync += c.parity.eq(c.parity ^ c.field(Jump, "toggle"))
            with m.Case(End.OPCODE):
                with m.If(c.quiet & c.settled & ~self.busy[0]):
                    m.d.sync += self.state.eq(State.DONE)
                    m.next = "STOPPED"
            with m.Default():
                m.d.comb += c.failed.eq(Code.ILLEGAL_OPCODE)

    def _take_input(self, m: Module, c: _Control) -> None:
        """INPUT: the beats of an IN."""
        width = self._arch.x_write
        with m.State("INPUT"):
            count, x = (c.field(InputInstruction, name) for name in ("count", "x"))
            beat = self.input.payload
            accepted = self.input.valid & self.input.ready
            m.d.comb += [
                self.input.ready.eq(c.fault == 0),
                self.x_write.enable.eq(accepted),
                self.x_write.address.eq(x[clog2(width) :]),
                self.x_write.data.eq(beat.data),
            ]
            with m.If(accepted):
                m.d.sync += [
                    count.eq(count - width),
                    x.eq(x + width),
                    c.final.eq(count <= 2 * width),
                ]
                with m.If(beat.last != c.final):
                    m.d.comb += c.failed.eq(Code.INPUT_TLAST)
                with m.Elif(c.final):
                    m.d.sync += self.pc.eq(self.pc + 1)
                    m.next = "FETCH"
            c.stop_on_fault()
