"""Synthesis of a small engine."""

import json

import pytest

from csbrnn.accelerator import Arch
from csbrnn.accelerator.tools import has_tool

pytest.importorskip("amaranth")
if not has_tool("yosys"):
    pytest.skip("needs Yosys", allow_module_level=True)

from csbrnn.accelerator.rtl.emit import TOP
from csbrnn.accelerator.rtl.synthesis import synthesize

SMALL = Arch(
    "small", groups=1, streams=1, lanes=2, x_write=1, words=512, strips=512, x=512, y=512,
    vector=512, program=256, max_shift=2,
)  # fmt: skip


@pytest.mark.slow
def test_every_block_ram_and_multiplier_uses_its_output_register(tmp_path):
    resources = synthesize(SMALL, "ecp5", tmp_path / "netlist.json")
    cells = json.loads((tmp_path / "netlist.json").read_text())["modules"][TOP]["cells"].values()
    rams = [cell["parameters"] for cell in cells if cell["type"] == "DP16KD"]
    multipliers = [cell["parameters"] for cell in cells if cell["type"] == "MULT18X18D"]
    assert {ram["REGMODE_B"] for ram in rams} == {"OUTREG"}
    assert {multiplier.get("REG_OUTPUT_CLK") for multiplier in multipliers} == {"CLK0"}
    assert resources.cells["block_ram"] == len(rams) >= 12  # y 4, words 3, program 4, x, strips ..
    assert resources.cells["dsp"] == len(multipliers) >= 2 + 4 + 1  # lanes, product, table
