"""Registers behind block RAMs and multipliers: absorbed where that changes nothing."""

import copy

import pytest

pytest.importorskip("amaranth")

from csbrnn.accelerator.rtl.output_registers import absorb_output_registers, count_cells

CLOCK, ENABLE = 1, 2


def ram(width=18):
    outputs = {"DOB0": [10], "DOB1": [11]} if width < 36 else {"DOA0": [11], "DOB0": [10]}
    wires = {"CLKB": [CLOCK], "OCEB": ["1"], **outputs}
    return {
        "type": "DP16KD",
        "parameters": {"DATA_WIDTH_B": f"{width:032b}", "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
        "connections": wires,
        "port_directions": {port: "output" if port[:2] == "DO" else "input" for port in wires},
    }


def register(data, output, **change):
    wires = {"CLK": [CLOCK], "CE": [ENABLE], "LSR": ["0"], "DI": [data], "Q": [output]} | change
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"},
        "connections": wires,
        "port_directions": {port: "output" if port == "Q" else "input" for port in wires},
    }


def module(width=18, first=None):
    cells = {"ram": ram(width), "low": first or register(10, 20), "high": register(11, 21)}
    return {"cells": cells, "ports": {"out": {"bits": [20, 21]}}}


def test_a_narrow_memory_takes_its_registers():
    found = module()
    assert absorb_output_registers(found) == 2
    assert count_cells(found) == {"DP16KD": 1}
    cell = found["cells"]["ram"]
    assert cell["connections"]["DOB0"] + cell["connections"]["DOB1"] == [20, 21]
    assert cell["connections"]["OCEB"] == [ENABLE]
    assert cell["parameters"]["REGMODE_B"] == "OUTREG"
    assert cell["parameters"]["REGMODE_A"] == "NOREG"


def test_a_wide_memory_reads_at_both_sides():
    found = module(width=36)
    assert absorb_output_registers(found) == 2
    cell = found["cells"]["ram"]
    assert (cell["connections"]["DOA0"], cell["connections"]["DOB0"]) == ([21], [20])
    assert {cell["parameters"][f"REGMODE_{side}"] for side in "AB"} == {"OUTREG"}


def always_enabled(cell):
    cell["parameters"]["CEMUX"] = "1 "
    return cell


def at_falling_edge(cell):
    cell["parameters"]["CLKMUX"] = "INV"
    return cell


@pytest.mark.parametrize(
    "first",
    [
        register(10, 20, LSR=[7]),
        register(10, 20, CLK=[7]),
        register(10, 20, CE=[7]),
        at_falling_edge(register(10, 20)),
        always_enabled(register(10, 20)),
        register(11, 20),
    ],
    ids=["reset", "clock", "enable", "edge", "mixed enables", "a bit read twice"],
)
def test_what_would_change_something_stays(first):
    found = module(first=first)
    before = copy.deepcopy(found)
    assert absorb_output_registers(found) == 0
    assert found == before


def test_registers_that_are_always_enabled():
    found = module(first=always_enabled(register(10, 20)))
    always_enabled(found["cells"]["high"])
    assert absorb_output_registers(found) == 2
    assert found["cells"]["ram"]["connections"]["OCEB"] == ["1"]


def test_an_output_of_the_whole_design_stays():
    found = module()
    found["ports"]["out"]["bits"] = [10]
    assert absorb_output_registers(found) == 0


def test_a_multiplier_takes_its_registers():
    found = module()
    found["cells"]["ram"] = {
        "type": "MULT18X18D",
        "parameters": {},
        "connections": {"P0": [10], "P1": [11], "P2": [12]},
        "port_directions": {"P0": "output", "P1": "output", "P2": "output"},
    }
    assert absorb_output_registers(found) == 2
    cell = found["cells"]["ram"]
    assert cell["connections"]["P0"] + cell["connections"]["P1"] == [20, 21]
    assert (cell["connections"]["CLK0"], cell["connections"]["CE0"]) == ([CLOCK], [ENABLE])
    assert cell["parameters"] == {
        "REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0",
    }  # fmt: skip


def test_a_memory_with_another_clock_stays():
    found = module()
    found["cells"]["ram"]["connections"]["CLKB"] = [7]
    assert absorb_output_registers(found) == 0
