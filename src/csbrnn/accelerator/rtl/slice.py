"""`RegisterSlice`: cuts every combinational path of a stream, at full throughput."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterSlice"]


class RegisterSlice(wiring.Component):
    """Passes payloads on, one a cycle, one cycle later; keeps one more when the output stops.

    Args:
        payload: Shape of the payload.

    Members:
        input: In, stream; its ``ready`` is a register.
        output: Out, stream; its ``valid`` and payload are registers.
    """

    input: Any
    output: Any

    def __init__(self, payload: Any) -> None:
        super().__init__(
            {"input": In(stream.Signature(payload)), "output": Out(stream.Signature(payload))}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m = Module()
        arriving = Value.cast(self.input.payload)
        kept = Signal(len(arriving), reset_less=True)
        shown = Signal(len(arriving), reset_less=True)
        valid, full = Signal(), Signal()
        m.d.comb += [
            self.input.ready.eq(~full),
            self.output.valid.eq(valid),
            Value.cast(self.output.payload).eq(shown),
        ]
        moves = ~valid | self.output.ready
        with m.If(moves):
            m.d.sync += [
                valid.eq(full | self.input.valid),
                shown.eq(arriving),
                full.eq(0),
            ]
            with m.If(full):
                m.d.sync += shown.eq(kept)
        with m.Elif(self.input.valid & ~full):
            m.d.sync += full.eq(1)
        with m.If(~full):
            m.d.sync += kept.eq(arriving)
        return m
