"""`Engine`: the whole accelerator."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.isa import LOAD_BITS, Space
from csbrnn.accelerator.rtl.blackbox import part
from csbrnn.accelerator.rtl.emitter import Emitter
from csbrnn.accelerator.rtl.group import PEGroup
from csbrnn.accelerator.rtl.interfaces import Beat
from csbrnn.accelerator.rtl.issue import Distribution
from csbrnn.accelerator.rtl.loader import Loader
from csbrnn.accelerator.rtl.pipeline import any_of
from csbrnn.accelerator.rtl.sequencer import PC_BITS, STEP_BITS, Sequencer
from csbrnn.accelerator.rtl.status import CODE_BITS, STATE_BITS, Code, State

__all__ = ["Engine", "control_ports"]


def control_ports() -> dict[str, wiring.Member]:
    """Return what starts the engine and tells how it is; `Engine` says what each is."""
    return {
        "start": In(1),
        "steps": In(STEP_BITS),
        "ready": Out(1),
        "state": Out(STATE_BITS),
        "code": Out(CODE_BITS),
        "pc": Out(PC_BITS),
        "cycles": Out(STEP_BITS),
    }


class Engine(wiring.Component):
    """G groups under one sequencer; docs/spec/accelerator.md.

    Args:
        arch: The sizes.
        group_module: Name of a module that stands for every group, emitted elsewhere; None puts the
            groups themselves in, as Amaranth's simulator needs.

    Members:
        start: In 1. Begins a run of ``steps`` steps, in a cycle with ``ready``.
        steps: In 32.
        ready: Out 1.
        state: Out 2. `State`.
        code: Out 4. `Code`.
        pc: Out 12. Of the instruction that executes, or stopped the engine.
        cycles: Out 32. Of this run: 0 is the cycle of ``start``.
        load: In, stream of 32. Program and memories; taken while no run is on.
        input: In, stream of `Beat`.
        output: Out, stream of `Beat`.
    """

    start: Signal
    steps: Signal
    ready: Signal
    state: Signal
    code: Signal
    pc: Signal
    cycles: Signal
    load: Any
    input: Any
    output: Any

    def __init__(self, arch: Arch, group_module: str | None = None) -> None:
        self._arch, self._group_module = arch, group_module
        super().__init__(
            {
                **control_ports(),
                "load": In(stream.Signature(LOAD_BITS)),
                "input": In(stream.Signature(Beat(arch))),
                "output": Out(stream.Signature(Beat(arch))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        m.submodules.sequencer = sequencer = Sequencer(arch)
        m.submodules.distribution = distribution = Distribution(arch)
        m.submodules.emitter = emitter = Emitter(arch)
        m.submodules.loader = loader = Loader(arch)

        wiring.connect(m, wiring.flipped(self.load), loader.load)
        wiring.connect(m, wiring.flipped(self.input), sequencer.input)
        wiring.connect(m, emitter.output, wiring.flipped(self.output))
        wiring.connect(m, sequencer.issue, distribution.issue)
        wiring.connect(m, distribution.emission, emitter.emission)

        idle = Signal()
        m.d.sync += idle.eq(loader.idle)
        bus = loader.bus
        to_x = bus.enable & (bus.space == Space.X)
        m.d.comb += [
            loader.enable.eq(self.state != State.RUNNING),
            sequencer.write.enable.eq(bus.enable & (bus.space == Space.PROGRAM)),
            sequencer.write.address.eq(bus.address),
            sequencer.write.data.eq(bus.data),
            emitter.write.enable.eq(to_x | sequencer.x_write.enable),
            emitter.write.address.eq(Mux(to_x, bus.address, sequencer.x_write.address)),
            emitter.write.data.eq(Mux(to_x, bus.data, sequencer.x_write.data)),
            emitter.booked.eq(sequencer.issue.valid & sequencer.issue.out),
            sequencer.room.eq(emitter.room),
            sequencer.start.eq(self.start & idle),
            sequencer.steps.eq(self.steps),
            self.ready.eq(sequencer.ready & idle),
        ]
        for name in ("state", "code", "pc", "cycles"):
            m.d.comb += getattr(self, name).eq(getattr(sequencer, name))

        groups = []
        for g in range(arch.groups):
            m.submodules[f"group{g}"] = group = part(PEGroup, arch, self._group_module)
            groups.append(group)
            wiring.connect(m, bus, group.load)
            wiring.connect(m, sequencer.post, group.post)
            wiring.connect(m, distribution.slot, group.slot)
            wiring.connect(m, emitter.x_write, group.x_write)
            m.d.comb += [group.index.eq(g), group.restart.eq(sequencer.restart)]
        m.d.comb += emitter.h.eq(Cat(group.h for group in groups))

        overrun, conflict = Signal(), Signal()
        m.d.sync += [
            sequencer.busy.eq(any_of(group.busy for group in groups)),
            overrun.eq(any_of(group.overrun for group in groups)),
            conflict.eq(any_of(group.conflict for group in groups)),
        ]
        with m.If(loader.fault):
            m.d.comb += sequencer.fault.eq(Code.LOAD)
        with m.Elif(self.state == State.RUNNING):
            with m.If(overrun):
                m.d.comb += sequencer.fault.eq(Code.STREAM_OVERRUN)
            with m.Elif(conflict):
                m.d.comb += sequencer.fault.eq(Code.Y_CONFLICT)
        return m
