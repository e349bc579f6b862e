"""The emitted Verilog under cocotb; run as a program: ``cocotb_bench.py FOLDER``.

FOLDER holds what `csbrnn.accelerator.rtl.testbench.write_testbench` wrote.
"""

import os
import sys
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

FOLDER = "CSBRNN_FOLDER"


def lines(name):
    return [int(line, 16) for line in (Path(os.environ[FOLDER]) / name).read_text().split()]


async def send(dut, prefix, beats, tlast):
    """Offer beats, one after the other."""
    data, valid, ready = (getattr(dut, f"{prefix}_{end}") for end in ("tdata", "tvalid", "tready"))
    for beat in beats:
        data.value = beat & (1 << len(data)) - 1
        if tlast:
            getattr(dut, f"{prefix}_tlast").value = beat >> len(data)
        valid.value = 1
        await ReadOnly()
        while not ready.value:
            await FallingEdge(dut.clk)
            await ReadOnly()
        await FallingEdge(dut.clk)
    valid.value = 0


async def collect(dut, found):
    data, last = dut.m_axis_output_tdata, dut.m_axis_output_tlast
    while True:
        await RisingEdge(dut.clk)
        if dut.m_axis_output_tvalid.value:
            found.append(int(data.value) | int(last.value) << len(data))


@cocotb.test()
async def a_run_is_right_to_the_bit(dut):
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for name in ("start", "s_axis_load_tvalid", "s_axis_input_tvalid", "s_axis_input_tlast"):
        getattr(dut, name).value = 0
    dut.m_axis_output_tready.value = 1
    dut.steps.value = int(os.environ["CSBRNN_STEPS"])
    dut.rst.value = 1
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await send(dut, "s_axis_load", lines("load.hex"), tlast=False)
    for _ in range(8):
        await FallingEdge(dut.clk)
    while not dut.ready.value:
        await FallingEdge(dut.clk)
    found = []
    cocotb.start_soon(collect(dut, found))
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    cocotb.start_soon(send(dut, "s_axis_input", lines("input.hex"), tlast=True))
    for _ in range(4):
        await FallingEdge(dut.clk)
    for _ in range(20_000):
        if int(dut.state.value) != 1:
            break
        await FallingEdge(dut.clk)
    for _ in range(160):
        await FallingEdge(dut.clk)
    assert int(dut.state.value) == 2, f"state {dut.state.value}, code {dut.code.value}"
    assert found == lines("expected.hex")
    assert int(dut.cycles.value) == int(os.environ["CSBRNN_CYCLES"])


def main():
    from cocotb_tools.runner import get_runner

    folder = Path(sys.argv[1])
    os.environ.update(
        {FOLDER: str(folder), "CSBRNN_STEPS": sys.argv[2], "CSBRNN_CYCLES": sys.argv[3]}
    )
    here = Path(__file__)
    sys.path.insert(0, str(here.parent))
    runner = get_runner("icarus")
    build = folder / "cocotb"
    runner.build(
        sources=[folder / "csbrnn.v"], hdl_toplevel="csbrnn_accelerator", build_dir=build,
        timescale=("1ns", "1ps"),
    )  # fmt: skip
    os.environ["PYTHONPATH"] = str(here.parent)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # cocotb would choose other names
    runner.test(
        hdl_toplevel="csbrnn_accelerator",
        test_module=here.stem,
        build_dir=build,
        results_xml=str(build / "results.xml"),
    )


if __name__ == "__main__":
    main()
