"""`Accelerator`: the engine with the port names of AXI-Stream, as Verilog sees it."""

from __future__ import annotations

from typing import Any, Final

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.isa import LOAD_BITS
from csbrnn.accelerator.rtl.engine import Engine, control_ports
from csbrnn.accelerator.rtl.slice import RegisterSlice

__all__ = ["Accelerator"]

_STREAMS: Final = {"load": "s_axis_load", "input": "s_axis_input", "output": "m_axis_output"}


class Accelerator(wiring.Component):
    """`Engine` under flat names, with a register at every port.

    ``start`` takes effect one cycle later, and what is shown is one cycle old: while a host waits
    for ``ready`` it sees it, and after a pulse of ``start`` it looks for the state of the run two
    cycles later.

    Members:
        start, steps, ready, state, code, pc, cycles: As `Engine` has them.
        s_axis_load_tdata (32), _tvalid, _tready: Program and memories.
        s_axis_input_tdata (16 W), _tlast, _tvalid, _tready: Inputs.
        m_axis_output_tdata (16 W), _tlast, _tvalid, _tready: Outputs.
    """

    def __init__(self, arch: Arch, group_module: str | None = None) -> None:
        self._arch, self._group_module = arch, group_module
        beat = X_BITS * arch.x_write
        super().__init__(
            {
                **control_ports(),
                "s_axis_load_tdata": In(LOAD_BITS),
                "s_axis_load_tvalid": In(1),
                "s_axis_load_tready": Out(1),
                "s_axis_input_tdata": In(beat),
                "s_axis_input_tlast": In(1),
                "s_axis_input_tvalid": In(1),
                "s_axis_input_tready": Out(1),
                "m_axis_output_tdata": Out(beat),
                "m_axis_output_tlast": Out(1),
                "m_axis_output_tvalid": Out(1),
                "m_axis_output_tready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m = Module()
        m.submodules.engine = engine = Engine(self._arch, self._group_module)

        def port(name: str) -> Any:
            return getattr(self, name)

        for name in ("ready", "state", "code", "pc", "cycles"):
            m.d.sync += port(name).eq(getattr(engine, name))
        m.d.sync += [engine.start.eq(port("start")), engine.steps.eq(port("steps"))]
        for name, prefix in _STREAMS.items():
            inner = getattr(engine, name)
            m.submodules[f"{name}_slice"] = cut = RegisterSlice(inner.payload.shape())
            payload = cut.output.payload if name == "output" else cut.input.payload
            pairs = [(payload, "tdata")]
            if name != "load":
                pairs = [(payload.data, "tdata"), (payload.last, "tlast")]
            if name == "output":
                wiring.connect(m, inner, cut.input)
                m.d.comb += [port(f"{prefix}_{end}").eq(value) for value, end in pairs]
                m.d.comb += port(f"{prefix}_tvalid").eq(cut.output.valid)
                m.d.comb += cut.output.ready.eq(port(f"{prefix}_tready"))
            else:
                wiring.connect(m, cut.output, inner)
                m.d.comb += [value.eq(port(f"{prefix}_{end}")) for value, end in pairs]
                m.d.comb += cut.input.valid.eq(port(f"{prefix}_tvalid"))
                m.d.comb += port(f"{prefix}_tready").eq(cut.input.ready)
        return m
