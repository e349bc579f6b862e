"""`Distribution`: from a slot, issued, to each pipeline stage's control in its own cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from csbrnn.accelerator.arch import Arch, address_bits
from csbrnn.accelerator.isa import Vop
from csbrnn.accelerator.rtl.interfaces import Slot
from csbrnn.accelerator.rtl.pipeline import delay
from csbrnn.accelerator.rtl.vector import Stages

__all__ = ["Distribution", "Emission", "Issue"]


class Issue(wiring.Signature):
    """One slot of a VOP, all its control at once.

    Members:
        valid: 1. Also gates the members that write: ``d_enable``, ``x_enable``, ``out``.
        drain: 1. Also set alone, to clear a row of y.
        half: 1. row, drain_shift 5, act 2, combine 2, x_shift 3.
        v_address, v_enable; a_address, a_enable; e_address, e_enable; d_address, d_enable.
        x_enable, out: 1 each. x: address of the first of W values, counting W values.
        last: 1. The VOP's last slot.
    """

    def __init__(self, arch: Arch) -> None:
        address = address_bits(arch.vector)
        super().__init__(
            {
                "valid": Out(1),
                "drain": Out(1),
                "half": Out(1),
                "row": Out(arch.y_addr_bits),
                **{
                    name: Out(Vop.FIELDS[name].width)
                    for name in ("drain_shift", "act", "combine", "x_shift")
                },
                **{f"{operand}_address": Out(address) for operand in "vaed"},
                **{f"{operand}_enable": Out(1) for operand in "vaed"},
                "x_enable": Out(1),
                "x": Out(address_bits(arch.x // arch.x_write)),
                "out": Out(1),
                "last": Out(1),
            }
        )


class Emission(wiring.Signature):
    """What becomes of the h values that all groups show in this cycle.

    Members:
        x_enable: 1. They go to the copies of x.
        x: Where, counting W values.
        out: 1. They go to the output.
        last: 1. With TLAST on the last beat.
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__(
            {
                "x_enable": Out(1),
                "x": Out(address_bits(arch.x // arch.x_write)),
                "out": Out(1),
                "last": Out(1),
            }
        )


class Distribution(wiring.Component):
    """Delays each member of `Issue` until its stage; one place for all groups.

    A slot's `Drain` leaves one cycle after its `Issue`; groups register it once more.

    Members:
        issue: In, `Issue`.
        slot: Out, `Slot`.
        emission: Out, `Emission`.
    """

    issue: Any
    slot: Any
    emission: Any

    def __init__(self, arch: Arch) -> None:
        self._stages = Stages.of(arch)
        super().__init__(
            {"issue": In(Issue(arch)), "slot": Out(Slot(arch)), "emission": Out(Emission(arch))}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: D102
        m, issue, slot, stages = Module(), self.issue, self.slot, self._stages

        def at(stage: int, value: Any, name: str, control: bool = False) -> Any:
            return delay(m, value, stage + 1, name, control=control)

        m.d.comb += [
            slot.drain.enable.eq(at(0, issue.drain, "drain", True)),
            slot.drain.half.eq(at(0, issue.half, "half")),
            slot.drain.row.eq(at(0, issue.row, "row")),
            slot.drain_enable.eq(at(stages.drain_enable, issue.drain, "drain_enable")),
            slot.d_enable.eq(at(stages.d_enable, issue.valid & issue.d_enable, "d_enable", True)),
        ]
        for name in (
            "drain_shift",
            "v_address",
            "v_enable",
            "act",
            "a_address",
            "a_enable",
            "e_address",
            "e_enable",
            "combine",
            "d_address",
            "x_shift",
        ):
            value = at(getattr(stages, name), getattr(issue, name), name)
            m.d.comb += getattr(slot, name).eq(value)

        emission, end = self.emission, stages.h + 1  # one more: the groups' own register
        m.d.comb += [
            emission.x_enable.eq(at(end, issue.valid & issue.x_enable, "x_enable", True)),
            emission.out.eq(at(end, issue.valid & issue.out, "out", True)),
            emission.x.eq(at(end, issue.x, "x")),
            emission.last.eq(at(end, issue.last, "last")),
        ]
        return m
