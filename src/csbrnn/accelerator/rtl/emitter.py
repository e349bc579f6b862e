"""`Emitter`: h of all groups, W a cycle, to the copies of x and to the output."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import X_BITS, Arch, clog2
from csbrnn.accelerator.rtl.interfaces import Beat, XWrite
from csbrnn.accelerator.rtl.issue import Emission

__all__ = ["Emitter"]

_PIPELINE_BEATS = 40
"""Beats between a slot's issue and the return of its room, less the levels of the drain's adders:
27 stages of the vector engine, 6 of registers on the way, the queue's own; rounded up."""


class Emitter(wiring.Component):
    """Takes G values of h at once and sends them on as G / W beats.

    Room in the output queue is booked when a slot is issued (``booked``) and given back when a beat
    is taken, so nothing in between can ever need to stop.

    Members:
        h: In 16 G. Group 0 lowest; shown with ``emission``.
        emission: In, `Emission`. At most one in G / W cycles.
        write: In, `XWrite`. From input or load stream; never while h values are on their way.
        booked: In 1. A slot with ``out`` was issued.
        room: Out 1. Two more slots can be issued.
        x_write: Out, `XWrite`, one cycle later.
        output: Out, stream of `Beat`.
    """

    h: Signal
    emission: Any
    write: Any
    booked: Signal
    room: Signal
    x_write: Any
    output: Any

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        super().__init__(
            {
                "h": In(X_BITS * arch.groups),
                "emission": In(Emission(arch)),
                "write": In(XWrite(arch)),
                "booked": In(1),
                "room": Out(1),
                "x_write": Out(XWrite(arch)),
                "output": Out(stream.Signature(Beat(arch))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, arch = Module(), self._arch
        cadence, width = arch.cadence, X_BITS * arch.x_write
        depth = 1 << clog2(_PIPELINE_BEATS + arch.levels + 4 * cadence)
        m.submodules.queue = queue = SyncFIFOBuffered(width=width + 1, depth=depth)

        emission = self.emission
        left = Signal(range(cadence + 1))
        rest = Signal(X_BITS * arch.groups, reset_less=True)
        rest_x = Signal.like(emission.x, reset_less=True)
        to_x, to_out, last = Signal(), Signal(), Signal(reset_less=True)
        out_valid, out_last = Signal(), Signal(reset_less=True)
        out_data = Signal(width, reset_less=True)

        m.d.sync += [
            self.x_write.enable.eq(self.write.enable),
            self.x_write.address.eq(self.write.address),
            self.x_write.data.eq(self.write.data),
            out_valid.eq(0),
        ]
        with m.If(emission.x_enable | emission.out):
            m.d.sync += [
                self.x_write.enable.eq(emission.x_enable),
                self.x_write.address.eq(emission.x),
                self.x_write.data.eq(self.h[:width]),
                out_valid.eq(emission.out),
                out_last.eq(emission.last & (cadence == 1)),
                out_data.eq(self.h[:width]),
                rest.eq(self.h >> width),
                rest_x.eq(emission.x + 1),
                left.eq(cadence - 1),
                to_x.eq(emission.x_enable),
                to_out.eq(emission.out),
                last.eq(emission.last),
            ]
        with m.Elif(left != 0):
            m.d.sync += [
                self.x_write.enable.eq(to_x),
                self.x_write.address.eq(rest_x),
                self.x_write.data.eq(rest[:width]),
                out_valid.eq(to_out),
                out_last.eq(last & (left == 1)),
                out_data.eq(rest[:width]),
                rest.eq(rest >> width),
                rest_x.eq(rest_x + 1),
                left.eq(left - 1),
            ]

        beat, taken = self.output.payload, Signal()
        m.d.comb += [
            queue.w_en.eq(out_valid),
            queue.w_data.eq(out_data | (out_last << width)),
            self.output.valid.eq(queue.r_rdy),
            beat.data.eq(queue.r_data[:width]),
            beat.last.eq(queue.r_data[width]),
            taken.eq(self.output.valid & self.output.ready),
            queue.r_en.eq(taken),
        ]
        room = Signal(range(depth + 1), init=depth)
        m.d.sync += [
            room.eq(room + taken - Mux(self.booked, cadence, 0)),
            # Up to two slots may be on their way here when the sequencer reads this.
            self.room.eq(room >= 3 * cadence),
        ]
        return m
