"""The load stream, taken apart: entries of every width that an arch can have."""

from dataclasses import replace

import pytest

from csbrnn.accelerator.isa import Space

from .random_image import ARCHS

pytest.importorskip("amaranth")

from amaranth.sim import Simulator

from csbrnn.accelerator.rtl.loader import Loader


def writes_of(arch, beats, cycles):
    """(address, data) of each write on the bus, and whether the loader is between packets then."""
    loader = Loader(arch)
    found, idle = [], []

    async def bench(ctx):
        given = 0
        ctx.set(loader.enable, 1)
        for _ in range(cycles):
            ctx.set(loader.load.valid, given < len(beats))
            ctx.set(loader.load.payload, beats[given] if given < len(beats) else 0)
            given += ctx.get(loader.load.ready) and given < len(beats)
            if ctx.get(loader.bus.enable):
                found.append((ctx.get(loader.bus.address), ctx.get(loader.bus.data)))
            await ctx.tick()
        idle.append(ctx.get(loader.idle))

    simulator = Simulator(loader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, bool(idle[0])


@pytest.mark.parametrize("x_write", [1, 2, 8, 16, 32, 64])
def test_an_entry_of_x_takes_as_many_beats_as_it_needs(x_write):
    arch = replace(ARCHS["1x1x1"], groups=64, x_write=x_write, x=1024)
    limbs = max(x_write // 2, 1)
    values = [1000 + k for k in range(2 * limbs)]
    found, idle = writes_of(arch, [Space.X, 3, 2, *values], cycles=2 * limbs + 8)
    entries = [values[:limbs], values[limbs:]]
    mask = (1 << (16 * x_write)) - 1
    written = [
        (3 + k, sum(limb << (32 * i) for i, limb in enumerate(entry)) & mask)
        for k, entry in enumerate(entries)
    ]
    assert [(address, data & mask) for address, data in found] == written
    assert idle
